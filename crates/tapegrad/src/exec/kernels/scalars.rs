//! The interpreter of elementwise code on single numbers.
//!
//! Sums and products are a list without choices ([`Decoded`]). All else is told once what to do with all that is alike.

use crate::ir::{Reading, ScalarFn};
use crate::program::{Decoded, Fused, Inst, MulAdd, Opcode, Piece};
use std::slice;

/// Fewer calls are made one by one.
const TOGETHER: usize = 4;

/// All instructions of a group of single numbers.
///
/// # Safety
/// Every place of the group and of its decoded form must be valid to read and write behind `v`.
pub(super) unsafe fn run<T: Reading>(f: &Fused<T>, v: *mut T) {
    let Some(decoded) = &f.decoded else {
        // SAFETY: the caller's contract.
        return unsafe { one_by_one(f, &f.body, v) };
    };
    for (i, constant) in Decoded::CONSTANTS.into_iter().enumerate() {
        // SAFETY: the caller's contract.
        unsafe { *v.add(decoded.constants as usize + i) = T::from_f64(constant) };
    }
    let (mut now, body) = (decoded.arithmetic.as_ptr(), f.body.as_ptr());
    for piece in &decoded.pieces {
        // SAFETY: the verifier has checked that the pieces lie in the body, and the sums before them among all; places are the
        // caller's contract.
        unsafe {
            arithmetic(slice::from_raw_parts(now, piece.arithmetic as usize), v);
            now = now.add(piece.arithmetic as usize);
            alike(f, slice::from_raw_parts(body.add(piece.start as usize), piece.len as usize), v);
        }
    }
    // SAFETY: as above.
    unsafe {
        arithmetic(slice::from_raw_parts(now, decoded.arithmetic.as_ptr_range().end.offset_from_unsigned(now)), v)
    };
}

/// Sums and products: nothing is decided.
///
/// # Safety
/// Every place must be valid to read and write behind `v`.
#[inline(always)]
unsafe fn arithmetic<T: Reading>(code: &[MulAdd], v: *mut T) {
    for &MulAdd { dst, a, b, c } in code {
        // SAFETY: the caller's contract.
        unsafe { *v.add(dst as usize) = *v.add(a as usize) * *v.add(b as usize) + *v.add(c as usize) };
    }
}

/// A piece: instructions of one kind, in order; calls, which do not depend on each other, all at a time.
///
/// # Safety
/// As [`run`].
unsafe fn alike<T: Reading>(f: &Fused<T>, code: &[Inst], v: *mut T) {
    macro_rules! each {
        ($($op:ident)*) => {
            match code[0].op {
                $(Opcode::$op => {
                    for inst in code {
                        // SAFETY: the caller's contract.
                        unsafe {
                            let (a, b) = (*v.add(inst.a as usize), *v.add(inst.b as usize));
                            *v.add(inst.dst as usize) = apply(Opcode::$op, a, b);
                        }
                    }
                })*
                // SAFETY: the caller's contract.
                Opcode::Call => unsafe {
                    match code.len() {
                        2 if code[0].aux != code[1].aux => twins(f, &code[0], &code[1], v),
                        1 => call(f.calls[code[0].aux as usize].scalar, &code[0], v),
                        0..TOGETHER => one_after_the_other(f.calls[code[0].aux as usize].scalar, code, v),
                        TOGETHER..=FEW => calls::<T, FEW>(f, code, v),
                        _ => calls::<T, { Piece::MOST_CALLS }>(f, code, v),
                    }
                },
                // SAFETY: the caller's contract.
                _ => unsafe { one_by_one(f, code, v) },
            }
        };
    }
    each!(Add Sub Mul Neg Square Copy Div Recip Sqrt Abs Min Max Less LessEqual Equal);
}

/// A call of a function of at most two operands.
///
/// # Safety
/// As [`run`].
#[inline(always)]
unsafe fn call<T: Reading>(function: ScalarFn<T>, inst: &Inst, v: *mut T) {
    // SAFETY: the caller's contract.
    unsafe {
        let (a, b) = (*v.add(inst.a as usize), *v.add(inst.b as usize));
        *v.add(inst.dst as usize) = function(a, b, a);
    }
}

/// Two functions of one number.
///
/// # Safety
/// As [`run`].
#[inline(always)]
unsafe fn twins<T: Reading>(f: &Fused<T>, first: &Inst, second: &Inst, v: *mut T) {
    let twin = f.calls[first.aux as usize].twin.expect("the verifier has checked that they are computed together");
    // SAFETY: the caller's contract.
    unsafe { (*v.add(first.dst as usize), *v.add(second.dst as usize)) = (twin.both)(*v.add(first.a as usize)) };
}

/// A few calls of one function of at most two operands.
///
/// # Safety
/// As [`run`].
#[inline(always)]
unsafe fn one_after_the_other<T: Reading>(function: ScalarFn<T>, code: &[Inst], v: *mut T) {
    for inst in code {
        // SAFETY: the caller's contract.
        unsafe { call(function, inst, v) };
    }
}

/// So many calls are made together in a small buffer.
const FEW: usize = 8;

/// At most `N` calls of one function, on operands brought side by side.
///
/// # Safety
/// As [`run`].
unsafe fn calls<T: Reading, const N: usize>(f: &Fused<T>, code: &[Inst], v: *mut T) {
    let (mut a, mut b, mut out) = ([T::ZERO; N], [T::ZERO; N], [T::ZERO; N]);
    for ((inst, a), b) in code.iter().zip(&mut a).zip(&mut b) {
        // SAFETY: the caller's contract.
        (*a, *b) = unsafe { (*v.add(inst.a as usize), *v.add(inst.b as usize)) };
    }
    let len = code.len();
    (f.calls[code[0].aux as usize].tile)(&mut out[..len], [&a[..len], &b[..len], &a[..len]]);
    for (inst, out) in code.iter().zip(&out) {
        // SAFETY: the caller's contract.
        unsafe { *v.add(inst.dst as usize) = *out };
    }
}

/// Instructions on single numbers, each by itself.
///
/// # Safety
/// As [`run`].
unsafe fn one_by_one<T: Reading>(f: &Fused<T>, code: &[Inst], v: *mut T) {
    let mut third = T::ZERO;
    for inst in code {
        // SAFETY: the caller's contract.
        let (a, b) = unsafe { (*v.add(inst.a as usize), *v.add(inst.b as usize)) };
        let result = match inst.op {
            Opcode::More => {
                third = a;
                continue;
            }
            Opcode::Call => (f.calls[inst.aux as usize].scalar)(a, b, third),
            Opcode::Select => {
                if a != T::ZERO {
                    b
                } else {
                    third
                }
            }
            Opcode::Load => unreachable!("scalars are read where they are"),
            op => apply(op, a, b),
        };
        // SAFETY: the caller's contract.
        unsafe { *v.add(inst.dst as usize) = result };
    }
}

/// An instruction of one or two operands on numbers.
#[inline(always)]
pub(super) fn apply<T: Reading>(op: Opcode, a: T, b: T) -> T {
    let one_if = |condition: bool| if condition { T::ONE } else { T::ZERO };
    match op {
        Opcode::Add => a + b,
        Opcode::Sub => a - b,
        Opcode::Mul => a * b,
        Opcode::Div => a / b,
        Opcode::Neg => -a,
        Opcode::Recip => T::ONE / a,
        Opcode::Square => a * a,
        Opcode::Sqrt => a.sqrt(),
        Opcode::Abs => a.abs(),
        Opcode::Min => a.min(b),
        Opcode::Max => a.max(b),
        Opcode::Less => one_if(a < b),
        Opcode::LessEqual => one_if(a <= b),
        Opcode::Equal => one_if(a == b),
        Opcode::Copy | Opcode::More | Opcode::Select | Opcode::Call | Opcode::Load => a,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::exec::Element;
    use crate::ir::{Tape, Var};
    use crate::program::{CompileOptions, Program, Step};

    const NUMBERS: [f64; 12] =
        [0.0, -0.0, 1.0, -1.5, 0.1, 1e-310, -5e-324, 1e300, -1.7e308, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];

    /// Everything that is arithmetic, in long runs and in short ones, and what interrupts it.
    fn results(x: Var, y: Var) -> Vec<Var> {
        let mut all = vec![x + y, x - y, x * y, -x, x.square(), x * y + x, y + x.square(), x * y - y, x * y + x * x];
        all.extend([x.exp() * y, x.less(y).select(-(x + y), x * 3.0), (x / y).square() + y, (x + y) * (x - y) - x]);
        // Read twice, and read by nothing but the sum.
        let (twice, once) = (x * 0.3, y * 0.7);
        all.extend([twice + x, twice - y, once + y]);
        // Twins, in either order, far apart, and of a number that is large.
        all.extend([x.sin() * x.cos(), (x + y).cos() - (x + y).sin(), (x * 1e9).cos(), (x * 1e9).sin() + y]);
        all.extend([x.tanh() + x.dtanh(), (x + y).dsigmoid() * (x + y).sigmoid()]);
        all.extend((0..40).map(|i| x * f64::from(i + 2)));
        all.extend((0..40).map(|i| (y + f64::from(i)) * 0.5));
        all.extend((0..5).map(|i| (x * f64::from(i)).softplus()));
        all
    }

    /// Compiled for the interpreter.
    fn program<T: Element>(results: fn(Var, Var) -> Vec<Var>) -> Program<T> {
        let tape = Tape::new();
        let (x, y) = (tape.input(0.0), tape.input(0.0));
        tape.compile_with(&results(x, y), &CompileOptions::default().machine_code(false)).unwrap()
    }

    fn group<T>(program: &Program<T>) -> &Fused<T> {
        let [Step::Fused(group)] = &program.0.steps[..] else { panic!("one group") };
        group
    }

    /// How many twins are computed together.
    fn pairs<T>(f: &Fused<T>) -> usize {
        let pieces = &f.decoded.as_ref().expect("it is long enough").pieces;
        let twins = |code: &[Inst]| code[0].op == Opcode::Call && code.iter().any(|inst| inst.aux != code[0].aux);
        pieces.iter().filter(|piece| twins(&f.body[piece.range()])).count()
    }

    fn check<T: Element>() {
        let program = program::<T>(results);
        let (f, end) = (group(&program), program.0.scratch);
        assert_eq!(pairs(f), 5);
        for x in NUMBERS {
            for y in NUMBERS {
                let mut wanted = vec![T::ZERO; program.0.arena];
                wanted[..program.0.image.len()].copy_from_slice(&program.0.image);
                (wanted[0], wanted[1]) = (T::from_f64(x), T::from_f64(y));
                let mut got = wanted.clone();
                // SAFETY: the program is verified, and both have the size of its arena.
                unsafe {
                    one_by_one(f, &f.body, wanted.as_mut_ptr());
                    run(f, got.as_mut_ptr());
                }
                for (place, (g, w)) in got[..end].iter().zip(&wanted[..end]).enumerate() {
                    let (g, w) = (g.to_f64(), w.to_f64());
                    assert!(
                        g.to_bits() == w.to_bits() || (g.is_nan() && w.is_nan()),
                        "({x}, {y}) @{place}: {g}, not {w}"
                    );
                }
            }
        }
    }

    #[test]
    fn decoded_groups_have_the_bits_of_single_instructions() {
        check::<f64>();
        check::<f32>();
    }

    #[test]
    fn twins_of_elements_of_one_tensor_are_told_apart() {
        let tape = Tape::new();
        let x = tape.input([0.5, 2.0]);
        let of = |i: usize| x.slice(0, i..i + 1).reshape([]);
        let (a, b) = (of(0), of(1));
        let mut results = vec![a.tanh(), b.dtanh(), b.exp(), a.dtanh(), b.tanh()];
        results.extend((0..40).map(|i| a * f64::from(i + 2)));
        let options = CompileOptions::default().machine_code(false);
        let program = tape.compile_with::<f64>(&results, &options).unwrap();
        let f = group(&program);
        assert_eq!(pairs(f), 2);
    }

    #[test]
    fn a_product_that_only_a_sum_reads_is_a_part_of_it() {
        let arithmetic = |results| {
            let program = program::<f64>(results);
            group(&program).decoded.as_ref().map(|decoded| decoded.arithmetic.len())
        };
        // Five times a product and the sum it goes into.
        let read_once = |x: Var, y: Var| vec![(0..5).fold(x, |sum, i| sum.exp() + y * f64::from(i + 2))];
        assert_eq!(arithmetic(read_once), Some(5));
        let read_twice = |x: Var, y: Var| {
            let step = |sum: Var, i| {
                let product = y * f64::from(i + 2);
                (sum.exp() + product) / product
            };
            vec![(0..5).fold(x, step)]
        };
        assert_eq!(arithmetic(read_twice), Some(10));
    }
}
