//! A region: instructions as a graph of values instead of places that are written again and again.

use super::super::last_use::UNUSED;
use crate::ir::{ScalarFunction, ScalarInst, ScalarOp, ScalarSource};

/// A value: the number of the instruction that computes it, or [`PLACE`] and the place where it stands from the start.
pub(super) type Val = u32;
pub(super) const PLACE: u32 = 1 << 31;
pub(super) const NOWHERE: u32 = u32::MAX;

/// Where a value goes that is needed after the region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Out {
    No,
    /// To its place, when it is computed.
    Now(u32),
    /// To its place, at the end: until then the place is read as it was.
    Late(u32),
}

/// One instruction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) op: ScalarOp,
    pub(super) arity: u8,
    pub(super) args: [Val; 3],
    /// How many instructions come one after another up to this one: what is on one level does not depend on each other.
    pub(super) level: u32,
    pub(super) out: Out,
}

/// A function that is called, by its addresses: that for one number, and that for many at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Function {
    pub(super) one: u64,
    pub(super) many: Option<u64>,
}

impl ScalarOp {
    /// A number for each operation.
    pub(super) fn code(self) -> u32 {
        match self {
            ScalarOp::Add => 1,
            ScalarOp::Sub => 2,
            ScalarOp::Mul => 3,
            ScalarOp::Div => 4,
            ScalarOp::Neg => 5,
            ScalarOp::Recip => 6,
            ScalarOp::Square => 7,
            ScalarOp::Sqrt => 8,
            ScalarOp::Abs => 9,
            ScalarOp::Less => 10,
            ScalarOp::LessEqual => 11,
            ScalarOp::Equal => 12,
            ScalarOp::Select => 13,
            ScalarOp::Copy => 14,
            ScalarOp::Call { function, .. } => 15 + u32::from(function),
        }
    }
}

/// Tables by place, for region after region.
#[derive(Default)]
pub(in super::super) struct Places {
    /// The value that stands at each place now; [`NOWHERE`] where it is what stood there from the start.
    now: Vec<Val>,
    /// How often what stood there from the start is read.
    reads: Vec<u32>,
}

impl Places {
    /// How often what stood at a place from the start is read in the region looked at last.
    pub(super) fn reads(&self, place: u32) -> u32 {
        self.reads[place as usize]
    }

    /// Forgets a region.
    pub(super) fn clear(&mut self, code: &[ScalarInst]) {
        for inst in code {
            self.now[inst.dst as usize] = NOWHERE;
            inst.operands().iter().for_each(|&place| self.reads[place as usize] = 0);
        }
    }
}

/// The instructions of a region whose results are used.
pub(super) struct Region {
    pub(super) nodes: Vec<Node>,
    pub(super) functions: Vec<Function>,
    /// Who reads each node: `readers[first_reader[i]..first_reader[i + 1]]`, each the reader times 4 and which operand it is.
    readers: Vec<u32>,
    first_reader: Vec<u32>,
}

impl Region {
    /// Reads a region; `last` are the last uses of its instructions.
    pub(super) fn new<T>(source: &ScalarSource<'_, T>, last: &[u8], places: &mut Places) -> Region {
        let &ScalarSource { code, arena, .. } = source;
        if places.now.len() < arena {
            places.now.resize(arena, NOWHERE);
            places.reads.resize(arena, 0);
        }
        let mut nodes: Vec<Node> = Vec::with_capacity(code.len());
        let mut first_reader = vec![0u32; code.len() + 1];
        for (inst, &last) in code.iter().zip(last).filter(|(_, last)| **last & UNUSED == 0) {
            let (mut args, mut level) = ([0; 3], 0);
            for (k, &place) in inst.operands().iter().enumerate() {
                let value = places.now[place as usize];
                if value == NOWHERE {
                    args[k] = PLACE | place;
                    places.reads[place as usize] += 1;
                    continue;
                }
                args[k] = value;
                level = level.max(nodes[value as usize].level + 1);
                first_reader[value as usize] += 1;
                if last & (1 << k) != 0 {
                    nodes[value as usize].out = Out::No;
                }
            }
            let arity = u8::try_from(inst.operands().len()).expect("at most three");
            places.now[inst.dst as usize] = u32::try_from(nodes.len()).expect("fewer than 2^31 instructions");
            // What is not read for the last time is needed afterwards, and stands at its place then.
            nodes.push(Node { op: inst.op, arity, args, level, out: Out::Now(inst.dst) });
        }
        for node in &mut nodes {
            if let Out::Now(place) = node.out
                && places.reads[place as usize] > 0
            {
                node.out = Out::Late(place);
            }
        }
        // Ends first; they become beginnings while readers are put in from the last to the first.
        first_reader.truncate(nodes.len() + 1);
        let mut total = 0;
        for end in &mut first_reader {
            total += *end;
            *end = total;
        }
        let mut readers = vec![0; total as usize];
        let mut reader = u32::try_from(nodes.len()).expect("fewer than 2^31 instructions");
        for node in nodes.iter().rev() {
            reader -= 1;
            for k in (0..u32::from(node.arity)).rev() {
                let arg = node.args[k as usize];
                if arg & PLACE == 0 {
                    let at = &mut first_reader[arg as usize];
                    *at -= 1;
                    readers[*at as usize] = 4 * reader + k;
                }
            }
        }
        let addresses = |f: &ScalarFunction<T>| Function {
            one: f.one as usize as u64,
            many: f.many.map(|many| many as usize as u64),
        };
        Region { nodes, functions: source.functions.iter().map(addresses).collect(), readers, first_reader }
    }

    /// Who reads a node, and as which operand.
    pub(super) fn readers(&self, node: u32) -> impl Iterator<Item = (u32, usize)> + '_ {
        let [from, to] = [0, 1].map(|i| self.first_reader[node as usize + i] as usize);
        self.readers[from..to].iter().map(|&r| (r / 4, (r % 4) as usize))
    }

    /// Who reads a node, if it is one.
    pub(super) fn only_reader(&self, node: u32) -> Option<u32> {
        let [from, to] = [0, 1].map(|i| self.first_reader[node as usize + i] as usize);
        (to - from == 1).then(|| self.readers[from] / 4)
    }

    /// For each node a number that is the same for nodes in the same surroundings: operations two steps up and down.
    pub(super) fn surroundings(&self) -> Vec<u32> {
        let first = |node: &Node| mix(node.op.code().into()) as u32 ^ u32::from(node.out != Out::No);
        let mut colours: Vec<u32> = self.nodes.iter().map(first).collect();
        let mut next = colours.clone();
        for _ in 0..2 {
            for (i, node) in self.nodes.iter().enumerate() {
                for (k, &arg) in (1u32..).zip(&node.args[..node.arity as usize]) {
                    if arg & PLACE == 0 {
                        next[i] = next[i].wrapping_add((colours[arg as usize] ^ k).wrapping_mul(0x9E37_79B1));
                        let up = &mut next[arg as usize];
                        *up = up.wrapping_add((colours[i].rotate_left(16) ^ k).wrapping_mul(0x85EB_CA77));
                    } else {
                        next[i] = next[i].wrapping_add(k);
                    }
                }
            }
            for (colour, next) in colours.iter_mut().zip(&mut next) {
                // The upper bits are the better spread ones.
                *next ^= *next >> 15;
                *colour = *next;
            }
        }
        colours
    }
}

/// Spreads the bits of a number (the finaliser of splitmix64).
pub(super) fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}
