//! Functions of the standard library.

macro_rules! unary {
    ($($f:ident)*) => {$(
        pub(crate) fn $f(x: f64) -> f64 {
            x.$f()
        }
    )*};
}
unary!(acos asin atan cbrt exp2 log2 log10);

macro_rules! binary {
    ($($f:ident)*) => {$(
        pub(crate) fn $f(a: f64, b: f64) -> f64 {
            a.$f(b)
        }
    )*};
}
binary!(atan2 copysign hypot);

/// What is left of a/b after a whole number of b, with the sign of a; exact.
pub(crate) fn fmod(a: f64, b: f64) -> f64 {
    a % b
}
