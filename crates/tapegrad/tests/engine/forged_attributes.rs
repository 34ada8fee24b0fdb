//! Attributes that no method would give: [`Var::try_record`] takes any, and says what is wrong with them instead of leaving it to
//! a rule or a kernel to find out.
#![allow(clippy::unwrap_used)]

use smallvec::smallvec;
use std::sync::Arc;
use tapegrad::ir::{Attrs, Kernel, LeafValue, OpDef, Strided};
use tapegrad::{RecordErrorKind, Shape, Tape, Tensor, Var, ops};

fn message(op: &'static OpDef, operands: &[Var], attrs: Attrs) -> String {
    let error = Var::try_record(op, operands, attrs).unwrap_err();
    assert!(matches!(error.kind(), RecordErrorKind::Request | RecordErrorKind::Axis | RecordErrorKind::Shape));
    error.to_string().lines().next().unwrap().to_owned()
}

#[test]
fn attributes_of_another_kind_are_refused_by_every_operation_that_needs_some() {
    let forged = [
        Attrs::None,
        Attrs::Scalar(f64::NAN),
        Attrs::Tensor(Arc::new(Tensor::from([1.0]))),
        Attrs::Axes(smallvec![usize::MAX]),
        Attrs::Shape(Shape::from([usize::MAX, usize::MAX])),
        Attrs::Slice { axis: usize::MAX, start: 1, stop: 0 },
        Attrs::Int(usize::MAX),
        Attrs::Strided(Arc::new(Strided {
            whole: Shape::from([usize::MAX, 2]),
            offset: usize::MAX,
            dims: smallvec![2, usize::MAX],
            strides: smallvec![isize::MAX],
        })),
        Attrs::Own(Arc::new("the step of something else")),
    ];
    let kind = |attrs: &Attrs| std::mem::discriminant(attrs);
    for op in ops::OPS.iter().filter(|op| !matches!(op.kernel, Kernel::Leaf)) {
        let sample = (op.samples)().remove(0);
        if sample.attrs == Attrs::None {
            continue;
        }
        let tape = Tape::new();
        let leaf = |value: &LeafValue| match value {
            LeafValue::Real(value) => tape.input(value.clone()),
            LeafValue::Index(value) => tape.index_input(value.clone()),
        };
        let operands: Vec<Var> = sample.inputs.iter().map(leaf).collect();
        for attrs in &forged {
            let found = message(op, &operands, attrs.clone());
            let other = kind(attrs) != kind(&sample.attrs);
            assert!(!other || found.contains("as fixed argument, found "), "{}, {attrs}: {found}", op.name);
        }
        assert!(Var::try_record(op, &operands, sample.attrs).is_ok());
    }
}

#[test]
fn the_message_says_what_was_expected() {
    let tape = Tape::new();
    let x = tape.input([[1.0, 2.0], [3.0, 4.0]]);
    let says = |op, attrs, wanted: &str| assert_eq!(message(op, &[x], attrs), wanted);
    says(&ops::SUM, Attrs::None, "sum: expected axes as fixed argument, found none");
    says(&ops::SUM, Attrs::Axes(smallvec![1, 0]), "sum: expected each axis once, in order, found [1, 0]");
    says(&ops::MAX_OVER, Attrs::Axes(smallvec![1, 1]), "max_over: expected each axis once, in order, found [1, 1]");
    says(&ops::RESHAPE, Attrs::Int(4), "reshape: expected a shape as fixed argument, found 4");
    says(&ops::CONCAT, Attrs::Scalar(0.0), "concat: expected an axis as fixed argument, found 0");
    let powers = "powi: expected a whole number from -16777216 to 16777216 as fixed argument, found";
    says(&ops::POWI, Attrs::Scalar(2.5), &format!("{powers} 2.5"));
    says(&ops::POWI, Attrs::Scalar(f64::INFINITY), &format!("{powers} inf"));
    let orders = "polygamma: expected a whole number from 0 to 4294967295 as fixed argument, found -1";
    says(&ops::POLYGAMMA, Attrs::Scalar(-1.0), orders);
    let strided = |offset, dims: &[usize], strides: &[isize]| {
        let whole = Shape::from([2, 2]);
        Attrs::Strided(Arc::new(Strided { whole, offset, dims: dims.into(), strides: strides.into() }))
    };
    let strides = "strided: expected a stride for each dimension, found [1] for [2, 2]";
    says(&ops::STRIDED, strided(0, &[2, 2], &[1]), strides);
    let far =
        "strided: positions [2, 2] by [9223372036854775807, 9223372036854775807] from 3 leave a value of shape [2, 2]";
    says(&ops::STRIDED, strided(3, &[2, 2], &[isize::MAX, isize::MAX]), far);
}

#[test]
fn what_is_recorded_as_elementwise_must_be_so() {
    let tape = Tape::new();
    let (x, rows) = (tape.input([1.0, 2.0]), tape.input([[1.0], [2.0]]));
    let says = |op, operands: &[Var], wanted: &str| {
        let error = ops::try_record_elementwise(op, operands).unwrap_err().to_string();
        assert_eq!(error.lines().next().unwrap(), wanted);
    };
    says(&ops::POWI, &[x], "powi: expected a whole number from -16777216 to 16777216 as fixed argument, found none");
    says(&ops::BESSEL_I, &[x], "bessel_i: expected a whole number from 0 to 4294967295 as fixed argument, found none");
    says(&ops::SUM, &[x], "sum: expected axes as fixed argument, found none");
    says(&ops::ADD, &[], "add: expected at least one operand, found none");
    says(&ops::ADD, &[x], "add: expected 2 operands, found 1");
    says(&ops::EXP, &[x, rows, x], "exp: expected 1 operands, found 3");
    assert_eq!(ops::try_record_elementwise(&ops::SELECT, &[x, rows, x]).unwrap().shape().dims(), [2, 2]);
}

#[test]
fn whole_exponents_that_single_precision_does_not_have_keep_their_sign() {
    for n in [16_777_215, 16_777_216, 16_777_217, i32::MAX, -16_777_217, i32::MIN + 1, i32::MIN] {
        let tape = Tape::new();
        let x = tape.input(-1.0);
        let y = x.powi(n);
        let slope = tape.grad(y, &[x])[0];
        let program = tape.compile::<f32>(&[y, slope]).unwrap();
        let mut state = program.state();
        program.replay(&mut state).unwrap();
        let wanted = [
            if n % 2 == 0 { 1.0 } else { -1.0 },
            (-f64::from(n)).abs() as f32 * if (n % 2 == 0) == (n > 0) { -1.0 } else { 1.0 },
        ];
        assert_eq!([state.item(y), state.item(slope)], wanted, "{n}");
        assert_eq!(y.item(), f64::from(wanted[0]), "{n}");
    }
}

#[test]
fn the_derivative_of_the_largest_powers_and_orders_does_not_overflow() {
    let tape = Tape::new();
    let x = tape.input(1.0 + 1e-9);
    for (n, wanted) in [(i32::MIN, -f64::from(i32::MIN)), (i32::MAX, f64::from(i32::MAX))] {
        let y = x.powi(n);
        let slope = tape.grad(y, &[x])[0];
        let expected = f64::from(n) * y.item() / x.item();
        assert!((slope.item() - expected).abs() <= 1e-6 * wanted, "{n}: {} instead of {expected}", slope.item());
        let dual = tapegrad::Dual::variables([x.item()])[0];
        use tapegrad::num::Num;
        assert!((dual.powi(n).slope[0] - expected).abs() <= 1e-6 * wanted);
    }
    assert_eq!(tape.grad(x.sinc_derivative(u32::MAX), &[x]).len(), 1);
    assert_eq!(tape.grad(x.bessel_i(u32::MAX), &[x]).len(), 1);
    assert!(tape.grad(x.polygamma(u32::MAX), &[x])[0].item().is_nan());
}
