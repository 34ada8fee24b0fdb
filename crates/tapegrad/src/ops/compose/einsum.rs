//! Sums of products by Einstein's convention.
//!
//! ```text
//!   operands ──▶ diagonals of repeated letters, sums over letters nobody else has ──▶ products in pairs, as matrices
//! ```

use super::signed;
use crate::error::{Issue, OrRaise, RecordError, RecordErrorKind};
use crate::ir::{DType, MAX_RANK, Shape, Var, check_one_tape};
use std::collections::BTreeMap;
use std::panic::Location;

/// An axis: a letter, or the place (from the back) of one that an ellipsis stands for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Label {
    Ellipsis(usize),
    Letter(char),
}

/// A value with its axes named.
struct Term {
    value: Var,
    labels: Vec<Label>,
}

/// Sums of products by Einstein's convention: axes of one letter are multiplied with each other, and summed unless the letter
/// stands after `->`; without `->` the result has the letters that occur once, in alphabetical order. `...` stands for any
/// axes, which broadcast.
///
/// # Panics
/// Where [`try_einsum`] returns an error.
///
/// ```
/// use tapegrad::{Tape, ops::einsum};
/// let tape = Tape::new();
/// let (a, b) = (tape.input([[1.0, 2.0], [3.0, 4.0]]), tape.input([[0.0, 1.0], [1.0, 0.0]]));
/// assert_eq!(einsum("ij,jk->ik", &[a, b]).value().to_string(), "[[2, 1], [4, 3]]");
/// assert_eq!(einsum("ii", &[a]).item(), 5.0);
/// ```
#[must_use]
#[track_caller]
pub fn einsum(equation: &str, operands: &[Var]) -> Var {
    try_einsum(equation, operands).or_raise()
}

/// [`einsum`], returning the error.
///
/// # Errors
/// If the equation cannot be read, does not fit the operands, or axes of one letter differ in size (and neither is 1).
#[track_caller]
pub fn try_einsum(equation: &str, operands: &[Var]) -> Result<Var, RecordError> {
    let at = Location::caller();
    let fails = |message: String| {
        let error = RecordError::new("einsum", Issue::new(RecordErrorKind::Shape, message), at);
        Err(error.with_operands(operands.iter().enumerate().map(|(i, o)| format!("operand {i}: {o:?}")).collect()))
    };
    if operands.is_empty() {
        return fails("expected at least one operand, found none".to_owned());
    }
    check_one_tape("einsum", &["operand"], operands, at)?;
    let mut shapes = Vec::with_capacity(operands.len());
    for operand in operands {
        let ty = operand.with("einsum", at, |r| r.graph.ty(operand.id()).clone())?;
        if ty.dtype == DType::Index {
            return fails("indices have no arithmetic".to_owned());
        }
        shapes.push(ty.shape);
    }
    let parsed = match parse(equation, &shapes) {
        Ok(parsed) => parsed,
        Err(message) => return fails(message),
    };
    let mut terms: Vec<Term> = Vec::with_capacity(operands.len());
    for (&value, labels) in operands.iter().zip(parsed.inputs) {
        terms.push(Term { value, labels }.with_sizes(&parsed.sizes).without_repeats());
    }
    let mut rest = terms.into_iter();
    let mut product = rest.next().expect("there is an operand");
    let mut waiting: Vec<Term> = rest.collect();
    waiting.reverse();
    product = product.summed_but(|l| parsed.output.contains(&l) || waiting.iter().any(|t| t.labels.contains(&l)));
    while let Some(next) = waiting.pop() {
        let needed = |l: Label| parsed.output.contains(&l) || waiting.iter().any(|t| t.labels.contains(&l));
        let next = next.summed_but(|l| needed(l) || product.labels.contains(&l));
        match product.times(&next, needed) {
            Ok(joined) => product = joined,
            Err(rank) => {
                return fails(format!("expected at most {MAX_RANK} axes, found {rank} in a product of two operands"));
            }
        }
    }
    Ok(product.in_order(&parsed.output).value)
}

/// What an equation says of operands of certain shapes.
struct Parsed {
    inputs: Vec<Vec<Label>>,
    output: Vec<Label>,
    sizes: BTreeMap<Label, usize>,
}

fn parse(equation: &str, shapes: &[Shape]) -> Result<Parsed, String> {
    let plain: String = equation.chars().filter(|c| !c.is_whitespace()).collect();
    let (left, right) = plain.split_once("->").map_or((&plain[..], None), |(l, r)| (l, Some(r)));
    let parts: Vec<&str> = left.split(',').collect();
    if parts.len() != shapes.len() {
        return Err(format!("`{equation}` names {} operands, found {}", parts.len(), shapes.len()));
    }
    let mut inputs = Vec::with_capacity(parts.len());
    let mut sizes: BTreeMap<Label, usize> = BTreeMap::new();
    let mut widest = 0;
    for (part, shape) in parts.iter().zip(shapes) {
        // Also those that are none are counted; they are found below.
        let letters = part.replace("...", "").chars().count();
        let hidden = shape.rank().checked_sub(letters).filter(|&n| n == 0 || part.contains("..."));
        let Some(hidden) = hidden else {
            return Err(format!("`{part}` does not name the {} axes of shape {shape}", shape.rank()));
        };
        widest = widest.max(hidden);
        let labels = labels(part, hidden)?;
        for (&label, &size) in labels.iter().zip(shape.dims()) {
            let known = sizes.entry(label).or_insert(size);
            if *known == 1 {
                *known = size;
            } else if size != 1 && size != *known {
                let name = if let Label::Letter(c) = label { format!("`{c}`") } else { "of an ellipsis".to_owned() };
                return Err(format!("axis {name} has size {known} and size {size} in `{equation}`"));
            }
        }
        inputs.push(labels);
    }
    let output = match right {
        Some(right) => labels(right, if right.contains("...") { widest } else { 0 })?,
        None => {
            let count = |label: Label| inputs.iter().flatten().filter(|&&l| l == label).count();
            let free = |&label: &Label| matches!(label, Label::Ellipsis(_)) || count(label) == 1;
            let mut output: Vec<Label> = sizes.keys().copied().filter(free).collect();
            output.sort_by_key(|&label| match label {
                Label::Ellipsis(back) => (0, usize::MAX - back, ' '),
                Label::Letter(c) => (1, 0, c),
            });
            output
        }
    };
    for (i, label) in output.iter().enumerate() {
        if !sizes.contains_key(label) || output[..i].contains(label) {
            return Err(format!("the result of `{equation}` has a letter twice, or one that no operand has"));
        }
    }
    Ok(Parsed { inputs, output, sizes })
}

/// The labels of one operand, of which an ellipsis stands for `hidden` axes.
fn labels(part: &str, hidden: usize) -> Result<Vec<Label>, String> {
    let mut found = Vec::new();
    let mut rest = part;
    while let Some(c) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("...") {
            if after.contains("...") {
                return Err(format!("expected `...` at most once, found it again in `{part}`"));
            }
            found.extend((0..hidden).rev().map(Label::Ellipsis));
            rest = after;
        } else if c.is_alphabetic() {
            found.push(Label::Letter(c));
            rest = &rest[c.len_utf8()..];
        } else {
            return Err(format!("expected letters and `...`, found `{c}` in `{part}`"));
        }
    }
    Ok(found)
}

impl Term {
    /// Axes of size 1 repeated to the size that their label has elsewhere.
    #[track_caller]
    fn with_sizes(self, sizes: &BTreeMap<Label, usize>) -> Term {
        let shape: Shape = self.labels.iter().map(|l| sizes[l]).collect();
        Term { value: self.value.broadcast_to(shape), labels: self.labels }
    }

    /// A label that stands twice means the diagonal.
    #[track_caller]
    fn without_repeats(mut self) -> Term {
        let twice =
            |labels: &[Label]| (0..labels.len()).find_map(|b| (0..b).find(|&a| labels[a] == labels[b]).map(|a| (a, b)));
        while let Some((a, b)) = twice(&self.labels) {
            self.value = self.value.diagonal(0, a.cast_signed(), b.cast_signed());
            let label = self.labels.remove(b);
            self.labels.remove(a);
            self.labels.push(label);
        }
        self
    }

    /// Summed over the labels that are not needed.
    #[track_caller]
    fn summed_but(self, needed: impl Fn(Label) -> bool) -> Term {
        let (mut axes, mut labels) = (Vec::new(), Vec::new());
        for (axis, &label) in self.labels.iter().enumerate() {
            if needed(label) { labels.push(label) } else { axes.push(axis) }
        }
        if axes.is_empty() {
            return self;
        }
        Term { value: self.value.sum_over(&signed(&axes)), labels }
    }

    /// With its axes in this order.
    #[track_caller]
    fn in_order(self, wanted: &[Label]) -> Term {
        let place = |l: &Label| self.labels.iter().position(|have| have == l).expect("the labels are the same");
        let axes: Vec<usize> = wanted.iter().map(place).collect();
        let value = if axes.is_sorted() { self.value } else { self.value.permute(&signed(&axes)) };
        Term { value, labels: wanted.to_vec() }
    }

    fn size(&self, label: Label, shape: &Shape) -> Option<usize> {
        self.labels.iter().position(|&l| l == label).map(|axis| shape.dims()[axis])
    }

    /// A stack of matrix products: shared labels that are needed are the stack, those that are not are summed. The rank of
    /// the result, where that is too high.
    #[track_caller]
    fn times(self, other: &Term, needed: impl Fn(Label) -> bool) -> Result<Term, usize> {
        let (a_shape, b_shape) = (self.value.shape(), other.value.shape());
        let shared = |l: &Label| other.labels.contains(l);
        let stack: Vec<Label> = self.labels.iter().copied().filter(|l| shared(l) && needed(*l)).collect();
        let summed: Vec<Label> = self.labels.iter().copied().filter(|l| shared(l) && !needed(*l)).collect();
        let left: Vec<Label> = self.labels.iter().copied().filter(|l| !shared(l)).collect();
        let right: Vec<Label> = other.labels.iter().copied().filter(|l| !self.labels.contains(l)).collect();
        let labels: Vec<Label> = stack.iter().chain(&left).chain(&right).copied().collect();
        if labels.len() > MAX_RANK {
            return Err(labels.len());
        }
        // Where both have a label they agree on its size.
        let size = |l: Label| self.size(l, &a_shape).or_else(|| other.size(l, &b_shape)).expect("one of them has it");
        let count = |labels: &[Label]| -> usize { labels.iter().map(|&l| size(l)).product() };
        let shape: Shape = labels.iter().map(|&l| count(&[l])).collect();
        let [p, m, k, n] = [count(&stack), count(&left), count(&summed), count(&right)];
        let a_order: Vec<Label> = stack.iter().chain(&left).chain(&summed).copied().collect();
        let b_order: Vec<Label> = stack.iter().chain(&summed).chain(&right).copied().collect();
        let b = Term { value: other.value, labels: other.labels.clone() }.in_order(&b_order);
        let a = self.in_order(&a_order).value.reshape_to(&Shape::from([p, m, k]));
        let product = a.matmul(b.value.reshape_to(&Shape::from([p, k, n])));
        Ok(Term { value: product.reshape_to(&shape), labels })
    }
}
