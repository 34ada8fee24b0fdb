//! Packs: updates that do the same to every element of a parameter, over its elements as rows.
//!
//! A gradient's elements are sums over the rows of the batch and stand side by side, as the parameter's do; so
//! `w[i] − lr·g[i]` for a matrix of 25 weights is four instructions over lanes instead of a hundred on scalars.

use super::blocks::Update;
use super::code::{CodeList, Kind, Val, arity};
use std::collections::HashMap;
use tapegrad_jit::Op;

/// An expression shared by all elements. Operands are positions in its list.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    /// The same value for all elements.
    Same(Val),
    /// Values that stand side by side, from that of the first element on: an index into [`Pack::leaves`].
    Leaf(usize),
    Do(Op, [usize; 3]),
}

/// Updates of parameters with the same number of elements, as one block over them.
#[derive(Clone, Debug, Default)]
pub(super) struct Pack {
    pub(super) len: usize,
    pub(super) parts: Vec<Part>,
    pub(super) leaves: Vec<Vec<Val>>,
    /// Parameters, by their position among the updates, each with the part that is its new value.
    pub(super) stores: Vec<(usize, usize)>,
}

impl Pack {
    /// The values that the block reads.
    pub(super) fn reads(&self) -> impl Iterator<Item = Val> {
        let same = self.parts.iter().filter_map(|part| match part {
            Part::Same(v) => Some(*v),
            _ => None,
        });
        self.leaves.iter().flatten().copied().chain(same)
    }
}

/// An expression of more parts is not looked at further.
const MOST_PARTS: usize = 64;

/// The updates that can be packed.
pub(super) fn find(code: &CodeList, updates: &[Update]) -> Vec<Pack> {
    let mut packs: Vec<Pack> = Vec::new();
    for (number, update) in updates.iter().enumerate() {
        let len = update.values.len();
        if len < 2 || update.row || update.values.iter().any(|&v| code.is_row(v)) {
            continue;
        }
        let at = packs.iter().position(|p| p.len == len).unwrap_or_else(|| {
            packs.push(Pack { len, ..Pack::default() });
            packs.len() - 1
        });
        let before = packs[at].clone();
        let mut known = HashMap::new();
        match part(code, &mut packs[at], &update.values, &mut known) {
            // A value that is only read would be read where it is stored, when others may have been written already.
            Some(value) if matches!(packs[at].parts[value], Part::Do(..)) => packs[at].stores.push((number, value)),
            _ => packs[at] = before,
        }
    }
    // A pack is run last: of the parameters, it may read those that it updates itself.
    let owner =
        |place: u32| updates.iter().position(|u| (u.place..u.place + u.values.len()).contains(&(place as usize)));
    packs.retain(|pack| {
        let own = |v: Val| match code.values[v as usize].kind {
            Kind::Scalar(place) => owner(place).is_none_or(|o| pack.stores.iter().any(|&(number, _)| number == o)),
            _ => true,
        };
        !pack.stores.is_empty() && pack.reads().all(own)
    });
    packs
}

/// Finds the expression that all of `values` have in common, and adds it to the pack.
fn part(code: &CodeList, pack: &mut Pack, values: &[Val], known: &mut HashMap<Vec<Val>, usize>) -> Option<usize> {
    if let Some(&known) = known.get(values) {
        return Some(known);
    }
    if pack.parts.len() > MOST_PARTS {
        return None;
    }
    let kind = |v: Val| code.values[v as usize].kind;
    let first = values[0];
    let new = if values.iter().all(|&v| v == first) {
        Part::Same(first)
    } else {
        match kind(first) {
            Kind::Scalar(place) => {
                let side_by_side = (place..).zip(values).all(|(place, &v)| kind(v) == Kind::Scalar(place));
                leaf(pack, values, side_by_side)?
            }
            // That sums stand side by side is found when they have their places.
            Kind::Sum(..) => leaf(pack, values, values.iter().all(|&v| matches!(kind(v), Kind::Sum(..))))?,
            Kind::Do(op, _) => {
                let mut operands = [0; 3];
                for (k, operand) in operands.iter_mut().enumerate().take(arity(op)) {
                    let args: Option<Vec<Val>> = values
                        .iter()
                        .map(|&v| match kind(v) {
                            Kind::Do(o, args) if o == op => Some(args[k]),
                            _ => None,
                        })
                        .collect();
                    *operand = part(code, pack, &args?, known)?;
                }
                Part::Do(op, operands)
            }
            _ => return None,
        }
    };
    pack.parts.push(new);
    known.insert(values.to_vec(), pack.parts.len() - 1);
    Some(pack.parts.len() - 1)
}

fn leaf(pack: &mut Pack, values: &[Val], side_by_side: bool) -> Option<Part> {
    side_by_side.then(|| {
        pack.leaves.push(values.to_vec());
        Part::Leaf(pack.leaves.len() - 1)
    })
}
