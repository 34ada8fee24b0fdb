//! Packs: updates that do the same to every element of a parameter, over its elements as rows.
//!
//! A gradient's elements are sums over the rows of the batch and stand side by side, as the parameter's do; so
//! `w[i] − lr·g[i]` for a matrix of 25 weights is four instructions over lanes instead of a hundred on scalars.

use super::blocks::Update;
use super::code::{CodeList, Kind, Val, arity};
use hashbrown::HashMap;
use std::ops::Range;
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

    /// Whether every read of a parameter that is updated comes before the write, whatever the number of elements that are
    /// handled at a time: element by element, each is read only for its own new value.
    fn keeps_order(&self, code: &CodeList, updates: &[Update]) -> bool {
        let same = self.parts.iter().all(|part| match part {
            Part::Same(v) => owner(code, updates, *v).is_none(),
            _ => true,
        });
        let from_start = |leaf: &Vec<Val>| {
            let places = places(code, leaf);
            owners(updates, &places).all(|o| updates[o].place == places.start)
        };
        same && self.leaves.iter().all(from_start)
    }
}

/// An expression of more parts is not looked at further.
const MOST_PARTS: usize = 64;

/// Nor is one that is deeper: what looks at it calls itself, and parts are counted on the way back.
const DEEPEST: usize = 256;

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
        match part(code, &mut packs[at], &update.values, &mut known, DEEPEST) {
            // A value that is only read would be read where it is stored, when others may have been written already.
            Some(value) if matches!(packs[at].parts[value], Part::Do(..)) && packs[at].keeps_order(code, updates) => {
                packs[at].stores.push((number, value));
            }
            _ => packs[at] = before,
        }
    }
    // A pack is run last: of the parameters, it may read those that it updates itself.
    packs.retain(|pack| {
        let own = |o: usize| pack.stores.iter().any(|&(number, _)| number == o);
        let all_own = |leaf: &Vec<Val>| owners(updates, &places(code, leaf)).all(own);
        !pack.stores.is_empty() && pack.leaves.iter().all(all_own)
    });
    packs
}

/// The update of the parameter of which a value is an element.
fn owner(code: &CodeList, updates: &[Update], v: Val) -> Option<usize> {
    let Kind::Scalar(place) = code.values[v as usize].kind else { return None };
    updates.iter().position(|u| (u.place..u.place + u.values.len()).contains(&(place as usize)))
}

/// The places of leaves that stand side by side; none of values that are computed.
fn places(code: &CodeList, leaf: &[Val]) -> Range<usize> {
    match code.values[leaf[0] as usize].kind {
        Kind::Scalar(place) => place as usize..place as usize + leaf.len(),
        _ => 0..0,
    }
}

/// The updates of all parameters that have one of these places: what stands side by side may belong to several.
fn owners(updates: &[Update], places: &Range<usize>) -> impl Iterator<Item = usize> {
    let overlap = |u: &Update| u.place < places.end && places.start < u.place + u.values.len();
    updates.iter().enumerate().filter(move |(_, u)| overlap(u)).map(|(number, _)| number)
}

/// Finds the expression that all of `values` have in common, and adds it to the pack.
fn part(
    code: &CodeList,
    pack: &mut Pack,
    values: &[Val],
    known: &mut HashMap<Vec<Val>, usize>,
    depth: usize,
) -> Option<usize> {
    if let Some(&known) = known.get(values) {
        return Some(known);
    }
    if pack.parts.len() > MOST_PARTS || depth == 0 {
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
                    *operand = part(code, pack, &args?, known, depth - 1)?;
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
