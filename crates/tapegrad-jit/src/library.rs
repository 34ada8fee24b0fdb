//! Functions of the standard library and of the program, called lane by lane.

use crate::ir::{Elem, Function, Op};

/// `out[i] = f(a[i], b[i])` for `i < lanes`.
type Loop<T> = unsafe extern "sysv64" fn(out: *mut T, a: *const T, b: *const T, lanes: usize);

macro_rules! functions {
    ($($f:ident => |$t:ident, $a:ident, $b:ident| $body:expr),+ $(,)?) => {$(
        mod $f {
            /// # Safety
            /// The pointers must be valid for `lanes` numbers.
            pub(super) unsafe extern "sysv64" fn single(out: *mut f32, a: *const f32, b: *const f32, lanes: usize) {
                type $t = f32;
                for i in 0..lanes {
                    // SAFETY: the caller's contract.
                    let ($a, $b) = unsafe { (*a.add(i), *b.add(i)) };
                    let _ = $b;
                    // SAFETY: as above.
                    unsafe { *out.add(i) = $body };
                }
            }
            /// # Safety
            /// As above.
            pub(super) unsafe extern "sysv64" fn double(out: *mut f64, a: *const f64, b: *const f64, lanes: usize) {
                type $t = f64;
                for i in 0..lanes {
                    // SAFETY: the caller's contract.
                    let ($a, $b) = unsafe { (*a.add(i), *b.add(i)) };
                    let _ = $b;
                    // SAFETY: as above.
                    unsafe { *out.add(i) = $body };
                }
            }
        }
    )+};
}

functions! {
    exp => |T, a, b| T::exp(a),
    exp_m1 => |T, a, b| T::exp_m1(a),
    ln => |T, a, b| T::ln(a),
    ln_1p => |T, a, b| T::ln_1p(a),
    tan => |T, a, b| T::tan(a),
    tanh => |T, a, b| T::tanh(a),
    powi => |T, a, b| T::powi(a, b as i32),
}

pub(crate) fn is_binary(op: Op) -> bool {
    matches!(op, Op::Powi | Op::Call2(_) | Op::OrCall2(_))
}

/// `out[i] = function(a[i], b[i])` for `i < lanes`.
///
/// # Safety
/// The pointers must be valid for `lanes` numbers.
#[allow(improper_ctypes_definitions)] // whose code it is called from hands the pointer on as it is
unsafe extern "sysv64" fn call_single(out: *mut f32, a: *const f32, b: *const f32, lanes: usize, function: Function) {
    for i in 0..lanes {
        // SAFETY: the caller's contract.
        let (a, b) = unsafe { (f64::from(*a.add(i)), f64::from(*b.add(i))) };
        // SAFETY: as above.
        unsafe { *out.add(i) = function(a, b) as f32 };
    }
}

/// As [`call_single`], in double precision.
///
/// # Safety
/// As above.
#[allow(improper_ctypes_definitions)] // as above
unsafe extern "sysv64" fn call_double(out: *mut f64, a: *const f64, b: *const f64, lanes: usize, function: Function) {
    for i in 0..lanes {
        // SAFETY: the caller's contract.
        unsafe { *out.add(i) = function(*a.add(i), *b.add(i)) };
    }
}

/// The address of a function, to be called with (out, a, b, lanes), and the program's function where the operation names one.
pub(crate) fn address(op: Op, elem: Elem) -> u64 {
    macro_rules! of {
        ($f:ident) => {
            match elem {
                Elem::F32 => $f::single as Loop<f32> as usize,
                Elem::F64 => $f::double as Loop<f64> as usize,
            }
        };
    }
    let address = match op {
        Op::Exp => of!(exp),
        Op::ExpM1 => of!(exp_m1),
        Op::Ln => of!(ln),
        Op::Ln1p => of!(ln_1p),
        Op::Tan => of!(tan),
        Op::Tanh => of!(tanh),
        Op::Powi => of!(powi),
        Op::Call1(_) | Op::Call2(_) | Op::OrCall1(_) | Op::OrCall2(_) => match elem {
            Elem::F32 => call_single as *const () as usize,
            Elem::F64 => call_double as *const () as usize,
        },
        op => unreachable!("{op:?} is an instruction"),
    };
    address as u64
}
