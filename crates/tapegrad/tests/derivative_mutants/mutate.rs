//! One node of a recorded derivative, computed wrongly.

use tapegrad::eval::eval_node;
use tapegrad::ir::{Graph, LeafValue, NodeId};
use tapegrad::{Tensor, ops};

/// What is computed instead of the node's own value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Wrong {
    /// Another sign.
    Negated,
    /// A factor that does not belong there.
    Doubled,
    /// One more.
    PlusOne,
    /// A term or factor that was forgotten, with all that belongs to it.
    Zero,
    /// An operand as it is: the operation, or the other operand, was forgotten.
    Operand(usize),
    /// The operands in another order.
    Swapped,
    /// A relative of the operation, of as many operands.
    Relative(&'static str),
    /// The elements in reverse order: a transposition, or an axis that was mixed up.
    Reversed,
}

/// Operations that are written for each other.
const RELATIVES: [&[&str]; 15] = [
    &["add", "sub"],
    &["mul", "div", "masked_mul"],
    &["min", "max"],
    &["minimum", "maximum"],
    &["less", "less_equal", "greater", "greater_equal"],
    &["equal", "not_equal"],
    &["exp", "exp_m1", "exp2"],
    &["ln", "ln_1p", "log2", "log10"],
    &["sin", "cos", "tan"],
    &["sinh", "cosh", "tanh", "dtanh"],
    &["sqrt", "rsqrt", "cbrt", "square", "recip"],
    &["sigmoid", "dsigmoid", "softplus"],
    &["gelu_gate", "gelu_gate_slope"],
    &["erf", "erfc", "erfcx", "gaussian", "normal_pdf", "ndtr"],
    &["abs", "sign", "neg", "relu"],
];

/// Every way in which a node is made wrong.
pub(crate) fn ways(graph: &Graph, id: NodeId) -> Vec<Wrong> {
    let node = graph.node(id);
    let shape = graph.shape(id);
    let mut ways = vec![Wrong::Negated, Wrong::Doubled, Wrong::PlusOne, Wrong::Zero];
    if shape.numel() > 1 {
        ways.push(Wrong::Reversed);
    }
    let same = |&i: &usize| graph.ty(node.inputs[i]) == graph.ty(id);
    ways.extend((0..node.inputs.len()).filter(same).map(Wrong::Operand));
    if let [a, b] = node.inputs[..]
        && a != b
        && graph.ty(a) == graph.ty(b)
    {
        ways.push(Wrong::Swapped);
    }
    let family = RELATIVES.iter().find(|family| family.contains(&node.op.name));
    let others = family.into_iter().flat_map(|family| family.iter()).filter(|name| **name != node.op.name);
    ways.extend(others.map(|name| Wrong::Relative(name)));
    ways
}

/// The value of a node, made wrong.
pub(crate) fn wrong_value(graph: &Graph, id: NodeId, inputs: &[&LeafValue], wrong: Wrong) -> LeafValue {
    let own = || match eval_node(graph, id, inputs) {
        LeafValue::Real(value) => value,
        LeafValue::Index(_) => unreachable!("derivatives are real"),
    };
    let map = |f: fn(f64) -> f64| {
        let value = own();
        Tensor::from_fn(value.shape().clone(), |i| f(value.data()[i]))
    };
    let value = match wrong {
        Wrong::Negated => map(|x| -x),
        Wrong::Doubled => map(|x| 2.0 * x),
        Wrong::PlusOne => map(|x| x + 1.0),
        Wrong::Zero => map(|_| 0.0),
        Wrong::Operand(i) => return inputs[i].clone(),
        Wrong::Swapped => return eval_node(graph, id, &[inputs[1], inputs[0]]),
        Wrong::Reversed => {
            let value = own();
            let last = value.data().len() - 1;
            Tensor::from_fn(value.shape().clone(), |i| value.data()[last - i])
        }
        Wrong::Relative(name) => {
            let f = ops::by_name(name)
                .and_then(|op| op.elementwise())
                .expect("relatives are functions of numbers")
                .scalar_f64;
            let at = |which: usize, i: usize| match inputs.get(which) {
                Some(LeafValue::Real(x)) => x.data()[i],
                _ => 0.0,
            };
            Tensor::from_fn(graph.shape(id), |i| f(at(0, i), at(1, i), at(2, i)))
        }
    };
    LeafValue::Real(value)
}
