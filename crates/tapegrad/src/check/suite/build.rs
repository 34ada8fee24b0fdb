//! Recording a recipe.

use super::functions::function;
use super::recipe::{Leaf, Random, Recipe, Step};
use super::tensors::tensor;
use crate::ir::Attrs;
use crate::ops::SCATTER_ADD;
use crate::{Indices, Shape, Tape, Tensor, Var};

/// A value has at most this many elements.
const MOST_ELEMENTS: usize = 400;
/// Larger values are scaled down: what overflows tells nothing.
const LARGEST: f64 = 8.0;

/// A recorded recipe.
pub(super) struct Case {
    pub(super) tape: Tape,
    /// Inputs and parameters of real numbers.
    pub(super) leaves: Vec<Var>,
    pub(super) params: Vec<Var>,
    /// Index inputs: values below the bound may be set.
    pub(super) indices: Vec<(Var, usize)>,
    /// All values, leaves first.
    pub(super) values: Vec<Var>,
    /// A number computed from the last values.
    pub(super) loss: Var,
    /// Whether the derivatives are meant to differ from differences of values.
    pub(super) stops_gradients: bool,
    pub(super) random: Random,
}

impl Case {
    /// Some of the values that are no leaves.
    pub(super) fn outputs(&self) -> Vec<Var> {
        let computed = &self.values[self.leaves.len()..];
        computed.iter().rev().step_by(3).take(5).copied().chain([self.loss]).collect()
    }

    /// Random numbers in the shape of each leaf.
    pub(super) fn like_leaves(&mut self) -> Vec<Tensor> {
        let Case { leaves, random, .. } = self;
        leaves.iter().map(|v| Tensor::from_fn(v.shape(), |_| random.number())).collect()
    }
}

/// Records a recipe.
pub(super) fn build(recipe: &Recipe) -> Case {
    let mut b = Builder {
        tape: Tape::new(),
        dims: recipe.dims,
        values: Vec::new(),
        indices: Vec::new(),
        random: Random(recipe.seed),
        stops_gradients: false,
    };
    let mut params = Vec::new();
    for leaf in &recipe.leaves {
        let v = b.leaf(leaf);
        if leaf.param {
            params.push(v);
        }
    }
    let leaves = b.values.clone();
    for step in &recipe.steps {
        if b.tape.len() > recipe.size.most_nodes() - 40 {
            break;
        }
        if let Some(v) = b.record(*step).filter(|v| v.shape().numel() <= MOST_ELEMENTS)
            && v.value().data().iter().all(|x| x.is_finite())
        {
            let v = b.tamed(v);
            b.values.push(v);
        }
    }
    let mut terms: Vec<Var> = Vec::new();
    for &v in b.values.iter().rev().take(4) {
        let weights = Tensor::from_fn(v.shape(), |_| b.random.number());
        terms.push((v * b.tape.constant(weights)).sum());
    }
    let loss = terms.into_iter().sum();
    let Builder { tape, values, indices, random, stops_gradients, .. } = b;
    Case { tape, leaves, params, indices, values, loss, stops_gradients, random }
}

struct Builder {
    tape: Tape,
    dims: [usize; 3],
    values: Vec<Var>,
    indices: Vec<(Var, usize)>,
    random: Random,
    stops_gradients: bool,
}

impl Builder {
    fn leaf(&mut self, leaf: &Leaf) -> Var {
        let [a, b, c] = self.dims;
        let shape = match leaf.shape % 12 {
            0 | 1 => Shape::scalar(),
            2 => Shape::from([b]),
            3 | 4 => Shape::from([a, b]),
            5 => Shape::from([b, c]),
            6 => Shape::from([a, 1]),
            7 => Shape::from([1, b]),
            8 => Shape::from([2, a, b]),
            9 => Shape::from([1, 1]),
            10 => Shape::from([b, b]),
            _ => Shape::from([2, 1, 2, 2]),
        };
        let value = Tensor::from_fn(shape, |_| self.random.number());
        let v = if leaf.param { self.tape.param(value) } else { self.tape.input(value) };
        self.values.push(v);
        v
    }

    /// An earlier value; every second time one of the latest.
    fn pick(&self, n: u16) -> Var {
        let (n, len) = (n as usize / 2, self.values.len());
        if n % 2 == 0 { self.values[n / 2 % len] } else { self.values[len - 1 - n / 2 % len.min(3)] }
    }

    /// An earlier value for which `fits` is true, searched from the `n`-th on.
    fn find(&self, n: u16, fits: impl Fn(&Shape) -> bool) -> Option<Var> {
        let start = n as usize % self.values.len();
        self.values[start..].iter().chain(&self.values[..start]).copied().find(|v| fits(&v.shape()))
    }

    /// An earlier value that broadcasts with `a` to a shape that is not large.
    fn partner(&self, a: Var, n: u16) -> Var {
        let shape = a.shape();
        let fits = |s: &Shape| shape.broadcast(s).is_some_and(|s| s.numel() <= MOST_ELEMENTS);
        self.find(n, fits).unwrap_or(a)
    }

    /// The value, made smaller by a power of two if it is large.
    fn tamed(&self, v: Var) -> Var {
        let largest = v.value().data().iter().fold(0.0, |a: f64, x| a.max(x.abs()));
        if largest > LARGEST { v * (0.5f64).powi((largest / LARGEST).log2().ceil() as i32) } else { v }
    }

    fn constant(&mut self, shape: Shape) -> Var {
        let value = Tensor::from_fn(shape, |_| self.random.number());
        self.tape.constant(value)
    }

    /// A new index input of `count` rows below `rows`.
    fn index(&mut self, count: usize, rows: usize) -> Var {
        let data: Vec<usize> = (0..count).map(|_| self.random.below(rows)).collect();
        let v = self.tape.index_input(Indices::new([count], &data).expect("as many indices as the shape says"));
        self.indices.push((v, rows));
        v
    }

    /// A non-empty set of axes, some counted from the back.
    fn axes(how: u16, rank: usize) -> Vec<isize> {
        let signed = |a: usize| if how & 0x100 == 0 { a.cast_signed() } else { a.cast_signed() - rank.cast_signed() };
        let mut axes: Vec<isize> = (0..rank).filter(|a| how >> a & 1 == 1).map(signed).collect();
        if axes.is_empty() && rank > 0 {
            axes.push(signed(how as usize % rank));
        }
        axes
    }

    /// One operation; `None` where the values at hand do not fit it.
    fn record(&mut self, Step { op, a, b, how }: Step) -> Option<Var> {
        let x = self.pick(a);
        match op % 13 {
            0..=2 => Some(self.unary(x, how)),
            3 | 4 => {
                let y = self.partner(x, b);
                Some(self.binary(x, y, how))
            }
            5 => self.reduce(x, how),
            6 => self.layout(x, b, how),
            7 => self.contraction(x, b, how),
            8 => tensor(x, how),
            9 => self.along(x, how),
            _ => {
                let y = self.partner(x, b);
                Some(function(x, y, how))
            }
        }
    }

    fn unary(&mut self, x: Var, how: u16) -> Var {
        match how % 40 {
            0 => -x,
            1 => (x.abs() + 0.5).recip(),
            2 => x.square(),
            3 => (x.abs() + 0.1).sqrt(),
            4 => (x * 0.25).exp(),
            5 => (x * 0.25).exp_m1(),
            6 => (x.abs() + 0.2).ln(),
            7 => x.abs().ln_1p(),
            8 => x.sin(),
            9 => x.cos(),
            10 => x.tanh().tan(),
            11 => x.tanh(),
            12 => x.sigmoid(),
            13 => x.dsigmoid(),
            14 => x.softplus(),
            15 => x.relu(),
            16 => x.abs(),
            17 => x.sign(),
            18 => x.floor(),
            19 => x.powi(i32::from(how / 40 % 5)),
            20 => (x.abs() + 0.5).powi(-i32::from(how / 40 % 3)),
            21 => {
                self.stops_gradients = true;
                x.stop_gradient()
            }
            // Forms that are rewritten to stable ones.
            22 => x.sigmoid().ln(),
            23 => (1.0 - (x * 0.25).sigmoid()).ln(),
            24 => (1.0 + x.exp()).ln(),
            25 => 1.0 / (1.0 + (-x).exp()),
            26 => x.exp() / (1.0 + x.exp()),
            27 => (x * 0.25).exp() - 1.0,
            28 => (x.square() + 1.0).ln(),
            29 => (x.abs() + 0.5).powf(self.tape.constant([2.0, -1.0, 0.5][how as usize / 40 % 3])),
            // Operations that change nothing, or little.
            30 => x + 0.0,
            31 => x * 1.0,
            32 => -(-x) * -1.0,
            33 => x * 2.0 * 0.5 + 1.0 - 1.0,
            34 => x * x - x.square(),
            35 => x / 4.0,
            36 => 0.0 - x,
            // A branch not taken that is not defined.
            37 => x.less(self.tape.constant(0.1)).select(x * 0.5, x.sqrt()),
            38 => (x - 0.1).ln().select(x, x * 2.0) * x.greater(self.tape.constant(0.3)),
            _ => {
                let c = self.constant(x.shape());
                c * x + c
            }
        }
    }

    fn binary(&mut self, x: Var, y: Var, how: u16) -> Var {
        // Values that are equal but for rounding, such as x and x + 1 - 1, must not be compared: whether they are equal
        // differs from point to point and from pass to pass.
        let apart = y + 0.0625;
        let (whole_x, whole_y) = (x.floor(), y.floor());
        match how % 24 {
            0 | 1 => x + y,
            2 | 3 => x - y,
            4..=6 => x * y,
            7 => x / (y.abs() + 0.5),
            8 => y / (x.square() + 1.0),
            9 => (x.abs() + 0.2).powf(y.tanh()),
            10 => x.min(y),
            11 => x.max(y),
            12 => x.less(apart),
            13 => x.less_equal(apart) * x,
            14 => x.greater(apart) + y,
            15 => x.greater_equal(apart),
            16 => whole_x.equal(whole_y),
            17 => whole_x.not_equal(whole_y) * y,
            18 => x.less(apart).select(x.sin(), y),
            19 => x.select(y, x * 2.0),
            20 => x.masked_mul(y),
            21 => x.square() + y * 0.0,
            22 => (x + y) * (x + y),
            _ => (x * y).sigmoid() * x.exp_m1().tanh(),
        }
    }

    fn reduce(&mut self, x: Var, how: u16) -> Option<Var> {
        let (shape, axes) = (x.shape(), Self::axes(how / 16, x.rank()));
        let chosen = |v: &[isize]| {
            v.iter().map(|&a| a.rem_euclid(shape.rank().cast_signed()).cast_unsigned()).collect::<Vec<_>>()
        };
        // The mean, the largest and the like of nothing are not defined.
        let empty = chosen(&axes).iter().any(|&a| shape.dims()[a] == 0);
        Some(match how % 12 {
            0 => x.sum(),
            1 | 2 => x.sum_over(&axes),
            3 => x.sum_keep(&axes),
            _ if empty => return None,
            4 => x.mean_over(&axes),
            5 => x.mean_keep(&axes),
            6 => x.max_over(&axes),
            7 => x.max_keep(&axes),
            8 => x.logsumexp(&axes),
            9 => x.logsumexp_keep(&axes) - x,
            _ if shape.rank() == 0 => return None,
            10 => x.softmax(axes[0]),
            _ if how & 0x800 == 0 => x.log_softmax(axes[0]),
            _ => {
                let e = (x * 0.5).exp();
                (e / e.sum_keep(&axes[..1])).ln()
            }
        })
    }

    fn layout(&mut self, x: Var, b: u16, how: u16) -> Option<Var> {
        let (shape, rank) = (x.shape(), x.rank());
        let numel = shape.numel();
        let (detail, axis) = (how as usize / 16, how as usize / 16 % rank.max(1));
        let size = shape.dims().get(axis).copied().unwrap_or(1);
        Some(match how % 9 {
            0 if rank >= 2 => x.transpose(),
            1 => {
                let mut axes: Vec<isize> = (0..rank.cast_signed()).collect();
                axes.rotate_left(axis);
                if detail % 2 == 1 {
                    axes.reverse();
                }
                x.permute(&axes)
            }
            2 => x.reshape([numel.cast_signed()]),
            3 => {
                let divisor = (1..=4).rev().find(|&d| numel.is_multiple_of(d) && (d + detail).is_multiple_of(2))?;
                x.reshape([divisor.cast_signed(), 1, (numel / divisor).cast_signed()])
            }
            4 if rank <= 3 => {
                let dims = [detail % 4].into_iter().chain(shape.dims().iter().map(|&d| if d == 1 { 3 } else { d }));
                x.broadcast_to(dims.collect::<Shape>())
            }
            5 if rank > 0 => {
                let start = detail % (size + 1);
                let stop = start + b as usize % (size - start + 1);
                x.slice(axis.cast_signed(), start..stop)
            }
            6 if rank > 0 => {
                let start = (detail % (size + 1)).min(size.saturating_sub(1));
                x.slice(axis.cast_signed() - rank.cast_signed(), start..size)
            }
            7 if rank > 0 => {
                let fits =
                    |s: &Shape| s.rank() == rank && (0..rank).all(|a| a == axis || s.dims()[a] == shape.dims()[a]);
                let other = self.find(b, fits)?;
                if detail % 3 == 0 {
                    Var::concat(&[x, other, x], axis.cast_signed())
                } else {
                    Var::concat(&[other, x], axis.cast_signed())
                }
            }
            8 => x.transpose_or_self().transpose_or_self() + x,
            _ => return None,
        })
    }

    /// Elements picked or placed along an axis.
    fn along(&mut self, x: Var, how: u16) -> Option<Var> {
        let shape = x.shape();
        let axis = usize::from(how / 16).checked_rem(shape.rank())?;
        let (size, signed) = (shape.dims()[axis], axis.cast_signed());
        if shape.numel() == 0 {
            return None;
        }
        let dims: Vec<isize> = shape.dims().iter().map(|d| d.cast_signed()).collect();
        let index = self.index(shape.numel(), size).try_reshape(&dims).ok()?;
        Some(match how % 3 {
            0 => x.take_along_axis(signed, index),
            1 => x.add_along_axis(signed, index, x.sin()),
            _ => x.put_along_axis(signed, index, x.sin()),
        })
    }

    fn contraction(&mut self, x: Var, b: u16, how: u16) -> Option<Var> {
        let (shape, rank) = (x.shape(), x.rank());
        let (rows, detail) = (shape.dims().first().copied().unwrap_or(0), how as usize / 16);
        Some(match how % 8 {
            0..=2 => {
                let last = *shape.dims().last()?;
                let fits = |s: &Shape| match s.rank() {
                    0 => false,
                    1 => s.dims()[0] == last,
                    r => {
                        s.dims()[r - 2] == last
                            && (rank <= 2 || r <= 2 || s.dims()[..r - 2] == shape.dims()[..rank - 2])
                    }
                };
                match self.find(b, fits) {
                    Some(y) => x.matmul(y),
                    None if rank >= 2 => x.matmul(x.transpose()),
                    None => return None,
                }
            }
            3 if rank >= 2 => x.transpose().matmul(x),
            4 if rows > 0 => {
                let index = self.index(1 + detail % 4, rows);
                x.gather(index)
            }
            5 if rows > 0 => {
                let numbered = 1 + detail % 4;
                let index = self.index(rows, numbered);
                Var::record(&SCATTER_ADD, &[x, index], Attrs::Int(numbered))
            }
            6 if rank == 2 && shape.dims()[1] > 0 => {
                // Labels of a minibatch: indices picked by indices.
                let (labels, batch) = (self.index(4, shape.dims()[1]), self.index(rows, 4));
                x * labels.gather(batch).one_hot(shape.dims()[1])
            }
            7 if rank >= 1 => {
                let c = self.constant(Shape::from([*shape.dims().last()?, 1 + detail % 3]));
                x.matmul(c)
            }
            _ => return None,
        })
    }
}

impl Var {
    fn transpose_or_self(self) -> Var {
        if self.rank() >= 2 { self.transpose() } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::suite::recipe::for_all;
    use crate::ops::OPS;
    use std::cell::{Cell, RefCell};
    use std::collections::BTreeSet;

    #[test]
    fn random_programs_are_varied_and_of_some_size() {
        let (seen, nodes, count) = (RefCell::new(BTreeSet::new()), Cell::new(0), Cell::new(0));
        for_all(200, |recipe| {
            let case = build(recipe);
            nodes.set(nodes.get() + case.tape.len());
            count.set(count.get() + 1);
            assert!(case.tape.len() <= recipe.size.most_nodes());
            let _ = case.tape.grad(case.loss, &case.leaves);
            let graph = case.tape.graph();
            seen.borrow_mut().extend(graph.order().iter().map(|&id| graph.node(id).op.name));
            Ok(())
        });
        let missing: Vec<&str> = OPS.iter().map(|op| op.name).filter(|name| !seen.borrow().contains(name)).collect();
        assert!(missing.is_empty(), "no random program uses {missing:?}");
        assert!(nodes.get() / count.get() >= 40, "{} nodes on average", nodes.get() / count.get());
    }
}
