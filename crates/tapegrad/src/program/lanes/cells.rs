//! From nodes to values: every tensor becomes its cells, one value for each element (of one row, where it has rows).

use super::along::axis_of;
use super::axes::Rows;
use super::code::{CodeList, Val};
use super::formulas::Formulas;
use crate::ir::{Attrs, Graph, Kernel, Node, NodeId, Reading, Shape};
use crate::num::Prim;
use crate::ops::{DSIGMOID, SIGMOID, TAKE_ALONG_AXIS};
use hashbrown::HashMap;
use tapegrad_jit::Op;

/// The values of one tensor, in row-major order of its dimensions, of which the rows' counts as 1.
#[derive(Clone)]
pub(super) struct Cells {
    pub(super) dims: Vec<usize>,
    pub(super) values: Vec<Val>,
}

/// The node cannot be turned into cells.
pub(super) struct Unsuitable;

pub(super) type Result<T> = std::result::Result<T, Unsuitable>;

pub(super) struct Builder<'a> {
    pub(super) graph: &'a Graph,
    pub(super) rows: &'a Rows,
    pub(super) code: CodeList,
    cells: HashMap<NodeId, Cells>,
    formulas: Formulas,
    most_values: usize,
}

/// Runs through all positions of `dims` in row-major order.
pub(super) fn positions(dims: &[usize]) -> impl Iterator<Item = Vec<usize>> + '_ {
    (0..dims.iter().product()).map(|mut i: usize| {
        let mut at = vec![0; dims.len()];
        for axis in (0..dims.len()).rev() {
            at[axis] = i % dims[axis];
            i /= dims[axis];
        }
        at
    })
}

impl Cells {
    /// The value at a position. Where something was repeated along the rows, its first repetition is the one.
    pub(super) fn at(&self, position: &[usize]) -> Val {
        let index = self.dims.iter().zip(position).fold(0, |index, (&d, &p)| index * d + p);
        self.values[index]
    }
}

impl<'a> Builder<'a> {
    /// `waits`: one operation waits for the other, since there are so few rows.
    pub(super) fn new<T: Reading>(graph: &'a Graph, rows: &'a Rows, most_values: usize, waits: bool) -> Self {
        Builder {
            graph,
            rows,
            code: CodeList::new(rows.count),
            cells: HashMap::new(),
            formulas: Formulas::new::<T>().where_all_waits(waits),
            most_values,
        }
    }

    /// The dimensions of a node, with the rows' as 1.
    pub(super) fn dims(&self, id: NodeId) -> Vec<usize> {
        let mut dims = self.graph.shape(id).dims().to_vec();
        if let Some(axis) = self.rows.axis[id.index()] {
            dims[axis] = 1;
        }
        dims
    }

    pub(super) fn set(&mut self, id: NodeId, values: Vec<Val>) {
        let dims = self.dims(id);
        self.cells.insert(id, Cells { dims, values });
    }

    pub(super) fn get(&self, id: NodeId) -> &Cells {
        &self.cells[&id]
    }

    /// Turns all computed nodes into values; leaves have been set before.
    pub(super) fn build(&mut self) -> Result<()> {
        let graph = self.graph;
        // Functions of one and the same operand are computed together, as σ(z) and σ'(z): then z need not be kept.
        let mut functions: HashMap<NodeId, Vec<NodeId>> = HashMap::new();
        let function_of = |node: Node<'_>| match (&node.op.kernel, node.inputs) {
            (Kernel::Elementwise(_), &[x]) => Some(x),
            _ => None,
        };
        for &id in graph.order() {
            if let Some(x) = function_of(graph.node(id)) {
                functions.entry(x).or_default().push(id);
            }
        }
        for &id in graph.order() {
            if self.cells.contains_key(&id) {
                continue;
            }
            match function_of(graph.node(id)) {
                Some(x) => self.functions(&functions[&x])?,
                None => {
                    let values = self.node(id)?;
                    self.set(id, values);
                }
            }
            if self.code.values.len() > self.most_values {
                return Err(Unsuitable);
            }
        }
        Ok(())
    }

    fn functions(&mut self, ids: &[NodeId]) -> Result<()> {
        let x = self.graph.node(ids[0]).inputs[0];
        let count = self.cells.get(&x).ok_or(Unsuitable)?.values.len();
        let mut values = vec![Vec::with_capacity(count); ids.len()];
        for cell in 0..count {
            let x = self.cells[&x].values[cell];
            for (values, &id) in values.iter_mut().zip(ids) {
                values.push(self.elementwise(id, &[x])?);
            }
        }
        for (values, &id) in values.into_iter().zip(ids) {
            self.set(id, values);
        }
        Ok(())
    }

    fn node(&mut self, id: NodeId) -> Result<Vec<Val>> {
        let graph = self.graph;
        let node = graph.node(id);
        let dims = self.dims(id);
        if node.inputs.iter().any(|input| !self.cells.contains_key(input)) {
            return Err(Unsuitable);
        }
        let input = |s: &Self, k: usize| s.cells[&node.inputs[k]].clone();
        match (&node.op.kernel, graph.attrs(id)) {
            (Kernel::Elementwise(_), _) => {
                let inputs: Vec<Cells> = (0..node.inputs.len()).map(|k| input(self, k)).collect();
                let args = |at: Vec<usize>| -> Vec<Val> { inputs.iter().map(|i| i.at(&at)).collect() };
                positions(&dims).map(|at| self.elementwise(id, &args(at))).collect()
            }
            (Kernel::MatMul, _) => {
                let (a, b) = (input(self, 0), input(self, 1));
                Ok(self.matmul(node, &dims, &a, &b))
            }
            (Kernel::Sum, Attrs::Axes(axes)) => Ok(self.reduce(node.inputs[0], axes, Op::Add)),
            (Kernel::Max, Attrs::Axes(axes)) => {
                if axes.iter().any(|&axis| self.rows.axis[node.inputs[0].index()] == Some(axis)) {
                    return Err(Unsuitable);
                }
                Ok(self.reduce(node.inputs[0], axes, Op::Max))
            }
            (Kernel::Reshape, _) => Ok(input(self, 0).values),
            (Kernel::Permute, Attrs::Axes(axes)) => {
                let from = input(self, 0);
                let old = |at: &[usize]| {
                    let mut old = vec![0; at.len()];
                    axes.iter().zip(at).for_each(|(&axis, &p)| old[axis] = p);
                    old
                };
                Ok(positions(&dims).map(|at| from.at(&old(&at))).collect())
            }
            (Kernel::Broadcast, _) => {
                let from = input(self, 0);
                let new = dims.len() - from.dims.len();
                let old = |at: &[usize]| -> Vec<usize> {
                    at[new..].iter().zip(&from.dims).map(|(&p, &d)| if d == 1 { 0 } else { p }).collect()
                };
                Ok(positions(&dims).map(|at| from.at(&old(&at))).collect())
            }
            (Kernel::Slice, &Attrs::Slice { axis, start, .. }) => {
                let from = input(self, 0);
                let mut result = Vec::new();
                for mut at in positions(&dims) {
                    at[axis] += if from.dims[axis] == dims[axis] { 0 } else { start };
                    result.push(from.at(&at));
                }
                Ok(result)
            }
            (Kernel::Concat, &Attrs::Int(axis)) => {
                let parts: Vec<Cells> = (0..node.inputs.len()).map(|k| input(self, k)).collect();
                let pick = |mut at: Vec<usize>| {
                    let mut part = 0;
                    while at[axis] >= parts[part].dims[axis] {
                        at[axis] -= parts[part].dims[axis];
                        part += 1;
                    }
                    parts[part].at(&at)
                };
                Ok(positions(&dims).map(pick).collect())
            }
            (Kernel::Indexed { .. }, _) => match axis_of(graph, id) {
                Some((axis, below)) if node.op.is(&TAKE_ALONG_AXIS) => self.take_along(id, axis, below),
                Some((axis, _)) => self.add_along(id, axis),
                None => Err(Unsuitable),
            },
            _ => Err(Unsuitable),
        }
    }

    fn matmul(&mut self, node: Node<'_>, dims: &[usize], a: &Cells, b: &Cells) -> Vec<Val> {
        let rank = dims.len();
        // Either may be a repetition that knows nothing of rows.
        let is_rows = |input: usize, axis: usize| self.rows.axis[node.inputs[input].index()] == Some(axis);
        let rows = is_rows(0, rank - 1) || is_rows(1, rank - 2);
        let inner = a.dims[rank - 1].min(b.dims[rank - 2]);
        let mut values = Vec::with_capacity(dims.iter().product());
        for at in positions(dims) {
            let (mut at_a, mut at_b) = (at.clone(), at);
            let mut total = None;
            for k in 0..inner {
                (at_a[rank - 1], at_b[rank - 2]) = (k, k);
                let (x, w) = (a.at(&at_a), b.at(&at_b));
                total = Some(match total {
                    _ if rows => self.code.sum(x, Some(w)),
                    None => self.code.apply(Op::Mul, [x, w, 0]),
                    Some(total) => self.code.apply(Op::MulAdd, [x, w, total]),
                });
            }
            let zero = self.code.literal(0.0);
            values.push(total.unwrap_or(zero));
        }
        values
    }

    fn reduce(&mut self, from: NodeId, axes: &[usize], op: Op) -> Vec<Val> {
        let cells = self.cells[&from].clone();
        let kept: Vec<usize> = (0..cells.dims.len()).filter(|axis| !axes.contains(axis)).collect();
        let (kept_dims, axes_dims): (Vec<usize>, Vec<usize>) =
            (kept.iter().map(|&a| cells.dims[a]).collect(), axes.iter().map(|&a| cells.dims[a]).collect());
        let over_rows = self.rows.axis[from.index()].is_some_and(|axis| axes.contains(&axis));
        let mut values = Vec::new();
        for outer in positions(&kept_dims) {
            let mut at = vec![0; cells.dims.len()];
            kept.iter().zip(&outer).for_each(|(&axis, &p)| at[axis] = p);
            let mut total = None;
            for inner in positions(&axes_dims) {
                axes.iter().zip(&inner).for_each(|(&axis, &p)| at[axis] = p);
                let term = cells.at(&at);
                total = Some(match total {
                    None => term,
                    Some(total) if op == Op::Max => self.larger(total, term),
                    Some(total) => self.code.apply(op, [total, term, 0]),
                });
            }
            let zero = self.code.literal(if op == Op::Add { 0.0 } else { f64::NEG_INFINITY });
            let total = total.unwrap_or(zero);
            values.push(if over_rows { self.code.sum(total, None) } else { total });
        }
        values
    }

    /// The larger of two numbers; NaN if either is, unlike [`Op::Max`].
    fn larger(&mut self, a: Val, b: Val) -> Val {
        let larger = self.code.apply(Op::AtLeast, [a, b, 0]);
        let is_number = self.code.apply(Op::Equal, [b, b, 0]);
        self.code.apply(Op::Pick, [is_number, larger, b])
    }

    fn elementwise(&mut self, id: NodeId, args: &[Val]) -> Result<Val> {
        let node = self.graph.node(id);
        let Kernel::Elementwise(e) = node.op.kernel else { return Err(Unsuitable) };
        let mut args = args.to_vec();
        if let Attrs::Scalar(x) = self.graph.attrs(id) {
            args.push(self.code.literal(*x));
        }
        let value = self.formulas.apply(&mut self.code, e, &args).ok_or(Unsuitable)?;
        // Between 0 and 1, however they are computed.
        if node.op.is(&SIGMOID) || node.op.is(&DSIGMOID) {
            self.code.bound(value);
        }
        Ok(value)
    }
}

/// The instruction that computes a primitive of lowered formulas.
pub(super) fn op_of(prim: Prim) -> Op {
    match prim {
        Prim::add => Op::Add,
        Prim::sub => Op::Sub,
        Prim::mul => Op::Mul,
        Prim::div => Op::Div,
        Prim::neg => Op::Neg,
        Prim::is_less => Op::Less,
        Prim::is_less_equal => Op::LessEqual,
        Prim::is_equal => Op::Equal,
        Prim::pick => Op::Pick,
        Prim::powi => Op::Powi,
        Prim::abs => Op::Abs,
        Prim::sqrt => Op::Sqrt,
        Prim::exp => Op::Exp,
        Prim::exp_m1 => Op::ExpM1,
        Prim::ln => Op::Ln,
        Prim::ln_1p => Op::Ln1p,
        Prim::tan => Op::Tan,
        Prim::tanh => Op::Tanh,
        Prim::floor => Op::Floor,
        Prim::min => Op::Min,
        Prim::max => Op::Max,
        Prim::mul_add => Op::MulAdd,
        Prim::at_least => Op::AtLeast,
        Prim::at_most => Op::AtMost,
        Prim::pick_negative => Op::PickNegative,
        Prim::add_exponent => Op::AddExponent,
        Prim::ldexp_sum => Op::LdexpSum,
        Prim::exponent => Op::Exponent,
        Prim::significand => Op::Significand,
        Prim::logistic
        | Prim::logistic_slope
        | Prim::tanh_slope
        | Prim::softplus
        | Prim::gelu_gate
        | Prim::gelu_gate_slope => unreachable!("lowered formulas have none"),
        called => {
            let number = function(called);
            if called.arity() == 1 { Op::Call1(number) } else { Op::Call2(number) }
        }
    }
}

/// The number of the function that computes a primitive which is no instruction.
pub(super) fn function(prim: Prim) -> u8 {
    let number = prim.called().expect("what is no instruction is called");
    u8::try_from(number).expect("there are fewer than 256 functions")
}

/// The dimensions of a shape in the order in which columns are kept: the rows last.
pub(super) fn column_order(shape: &Shape, rows: usize) -> Vec<usize> {
    (0..shape.rank()).filter(|&axis| axis != rows).chain([rows]).collect()
}
