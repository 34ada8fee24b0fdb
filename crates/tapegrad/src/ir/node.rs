//! A node, as it is seen and as it is kept.
//!
//! ```text
//!   Node  { op, inputs, location }            what users of a graph see
//!   Entry { site and number of operands, 2 operands }   20 bytes; 24 with the slotmap's version
//!   Site  { op, location, type, attributes }  shared by all nodes that one line of a program records
//! ```
//!
//! A loop records the same few lines again and again, so what is alike in their nodes is kept once. Most nodes have one or two
//! operands, which stand in the entry itself; longer lists stand in a list of the graph's.

use super::op::OpDef;
use hashbrown::HashTable;
use slotmap::{Key, KeyData, new_key_type};
use smallvec::SmallVec;
use std::panic::Location;

new_key_type! {
    /// The key of a node in its graph. Keys of removed nodes never come back to life.
    pub struct NodeId;
}

impl NodeId {
    /// A dense number, unique among the nodes that exist at one time; for tables indexed by node.
    #[must_use]
    #[inline]
    pub fn index(self) -> usize {
        (self.data().as_ffi() & 0xffff_ffff) as usize
    }
}

/// The inputs of a node to be.
pub type Inputs = SmallVec<[NodeId; 2]>;

/// One recorded operation: what is done to which nodes, and the line that asked for it.
#[derive(Clone, Copy, Debug)]
pub struct Node<'g> {
    /// The operation.
    pub op: &'static OpDef,
    /// The operands.
    pub inputs: &'g [NodeId],
    /// The line of the user's program that recorded it.
    pub location: &'static Location<'static>,
}

/// What is kept of a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// The number of the site, and in the lower two bits how many operands there are; 3 stands for a list.
    site_and_count: u32,
    /// The operands; or where a list begins and how long it is; or, where there are none, the number of the attributes,
    /// which differ from constant to constant of one line, and that of the value, if there is one.
    operands: [NodeId; 2],
}

const LIST: u32 = 3;
const NO_VALUE: u32 = u32::MAX;

/// Two small numbers in the place of a key.
fn packed(low: u32, high: u32) -> NodeId {
    debug_assert!(high < 1 << 31, "the lowest bit of a version is always set");
    KeyData::from_ffi(u64::from(high) << 33 | u64::from(low)).into()
}

fn unpacked(key: NodeId) -> (usize, usize) {
    (key.index(), (key.data().as_ffi() >> 33) as usize)
}

impl Entry {
    #[inline]
    fn new(site: u32, count: u32, operands: [NodeId; 2]) -> Self {
        Entry { site_and_count: site << 2 | count, operands }
    }

    /// A node with operands, those beyond the second in `lists`.
    #[inline]
    pub(super) fn with_operands(site: u32, operands: &[NodeId], lists: &mut Vec<NodeId>) -> Self {
        match *operands {
            [] => unreachable!("a node without operands is a leaf"),
            [a] => Entry::new(site, 1, [a, a]),
            [a, b] => Entry::new(site, 2, [a, b]),
            _ => Entry::listed(site, operands, lists),
        }
    }

    fn listed(site: u32, operands: &[NodeId], lists: &mut Vec<NodeId>) -> Self {
        let number = |n: usize| u32::try_from(n).expect("fewer than 2^32 operands in long lists");
        let place = packed(number(lists.len()), number(operands.len()));
        lists.extend_from_slice(operands);
        Entry::new(site, LIST, [place, place])
    }

    /// The same node with other operands, which stand in another graph if they are a list.
    #[inline]
    pub(super) fn redirected(&self, from: &[NodeId], to: &mut Vec<NodeId>, new: impl Fn(NodeId) -> NodeId) -> Self {
        match self.site_and_count & LIST {
            0 => *self,
            LIST => {
                let operands: SmallVec<[NodeId; 4]> = self.inputs(from).iter().map(|&input| new(input)).collect();
                Entry::listed(self.number(), &operands, to)
            }
            _ => Entry { operands: self.operands.map(new), ..*self },
        }
    }

    /// A node without operands, with the number of its attributes.
    #[inline]
    pub(super) fn leaf(site: u32, attrs: u32) -> Self {
        Entry::new(site, 0, [packed(attrs, 0), packed(NO_VALUE, 0)])
    }

    /// The same node, without operands, with the number of its value.
    #[inline]
    pub(super) fn with_value(self, number: u32) -> Self {
        Entry { operands: [self.operands[0], packed(number, 0)], ..self }
    }

    /// The number of the value of a node without operands, if it has one.
    #[inline]
    pub(super) fn value(&self) -> Option<u32> {
        let number = unpacked(self.operands[1]).0 as u32;
        (self.is_leaf() && number != NO_VALUE).then_some(number)
    }

    #[inline]
    pub(super) fn site(&self) -> usize {
        (self.site_and_count >> 2) as usize
    }

    /// [`Entry::site`], as it is given when a node is made.
    #[inline]
    pub(super) fn number(&self) -> u32 {
        self.site_and_count >> 2
    }

    #[inline]
    pub(super) fn inputs<'g>(&'g self, lists: &'g [NodeId]) -> &'g [NodeId] {
        match self.site_and_count & LIST {
            LIST => {
                let (start, len) = unpacked(self.operands[0]);
                &lists[start..start + len]
            }
            count => &self.operands[..count as usize],
        }
    }

    /// Whether there are no operands.
    #[inline]
    pub(super) fn is_leaf(&self) -> bool {
        self.site_and_count & LIST == 0
    }

    /// The number of the attributes of a node at this site.
    #[inline]
    pub(super) fn attrs(&self, site: &Site) -> u32 {
        if self.is_leaf() { unpacked(self.operands[0]).0 as u32 } else { site.attrs }
    }

    /// Whether the operands stand in a list of this length.
    pub(super) fn list_mut<'g>(&self, len: usize, lists: &'g mut [NodeId]) -> Option<&'g mut [NodeId]> {
        let (start, had) = unpacked(self.operands[0]);
        (self.site_and_count & LIST == LIST && had == len).then(|| &mut lists[start..start + len])
    }
}

/// What is alike in all nodes that one line of a program records: numbers of the type and of the attributes among it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Site {
    pub(super) op: &'static OpDef,
    pub(super) location: &'static Location<'static>,
    pub(super) ty: u32,
    /// Not those of leaves.
    pub(super) attrs: u32,
    /// How many operands of the site's own type an elementwise operation takes, and nothing else, so that nothing needs to be
    /// inferred when it is recorded again; 0 stands for any other. It follows from the rest.
    pub(super) quick: u32,
    /// Whether the type is a single real number. It follows from the rest.
    pub(super) single: bool,
    /// The place among the [`Sites`].
    pub(super) number: u32,
}

impl PartialEq for Site {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        let same = std::ptr::eq(self.op, other.op) && std::ptr::eq(self.location, other.location);
        same && self.numbers() == other.numbers()
    }
}

impl Site {
    #[inline]
    pub(super) fn new(op: &'static OpDef, location: &'static Location<'static>, ty: u32, attrs: u32) -> Self {
        Site { op, location, ty, attrs, quick: 0, single: false, number: 0 }
    }

    /// The upper half is the better half: products carry upwards.
    #[inline]
    fn hash(&self) -> u64 {
        (self.line() ^ u64::from(self.ty).rotate_left(52)).wrapping_mul(MULTIPLIER)
    }

    /// Type and attributes, as one number to compare.
    #[inline]
    fn numbers(&self) -> u64 {
        u64::from(self.attrs) << 32 | u64::from(self.ty)
    }

    /// All but the type.
    #[inline]
    fn line(&self) -> u64 {
        let (op, location) =
            (std::ptr::from_ref(self.op).addr() as u64, std::ptr::from_ref(self.location).addr() as u64);
        op.rotate_left(32) ^ location ^ u64::from(self.attrs).rotate_left(20)
    }

    /// The place among those found last. It does not depend on the type, which is known only when the operands have been
    /// looked up: so the site is looked for meanwhile, and a long chain of operations does not wait for each look-up in turn.
    #[inline]
    fn seat(&self) -> usize {
        (self.line().wrapping_mul(MULTIPLIER) >> (64 - RECENT.trailing_zeros())) as usize
    }
}

const MULTIPLIER: u64 = 0x517c_c1b7_2722_0a95;

/// Each site once, by number.
#[derive(Clone, Debug)]
pub(super) struct Sites {
    items: Vec<Site>,
    table: HashTable<u32>,
    /// The sites that were found last, each in its [`Site::seat`]: looked at first.
    recent: [Option<Site>; RECENT],
}

/// The hash for the table, which takes its bits from both ends.
fn spread(site: &Site) -> u64 {
    site.hash() ^ site.hash() >> 32
}

/// A loop over more lines than this looks some of them up in the table.
const RECENT: usize = 256;

impl Default for Sites {
    fn default() -> Self {
        Sites { items: Vec::new(), table: HashTable::new(), recent: [None; RECENT] }
    }
}

impl Sites {
    /// The number of a site that was found lately, and its [`Site::quick`].
    #[inline(always)]
    pub(super) fn recent(&self, site: &Site) -> Option<(u32, u32)> {
        let found = self.recent[site.seat()].as_ref()?;
        (found == site).then_some((found.number, found.quick))
    }

    /// The number of a site that was found before, and its [`Site::quick`].
    pub(super) fn find(&mut self, site: &Site) -> Option<(u32, u32)> {
        let number = *self.table.find(spread(site), |&n| self.items[n as usize] == *site)?;
        let found = self.items[number as usize];
        self.recent[found.seat()] = Some(found);
        Some((number, found.quick))
    }

    /// The number of a new site, and its [`Site::quick`].
    #[cold]
    pub(super) fn insert(&mut self, site: Site) -> (u32, u32) {
        let items = &mut self.items;
        let number = u32::try_from(items.len()).ok().filter(|&n| n < 1 << 30).expect("fewer than 2^30 distinct lines");
        let site = Site { number, ..site };
        items.push(site);
        self.table.insert_unique(spread(&site), number, |&n| spread(&items[n as usize]));
        self.recent[site.seat()] = Some(site);
        (number, site.quick)
    }

    #[inline]
    pub(super) fn get(&self, number: usize) -> &Site {
        &self.items[number]
    }

    pub(super) fn all(&self) -> &[Site] {
        &self.items
    }

    /// Forgets all sites, and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.items.clear();
        self.table.clear();
        self.recent = [None; RECENT];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_takes_20_bytes_and_4_for_its_version() {
        assert_eq!(size_of::<Entry>(), 20);
        let mut map = slotmap::SlotMap::<NodeId, Entry>::with_key();
        let node = map.insert(Entry::leaf(0, 0));
        assert_eq!((size_of::<NodeId>(), align_of::<Entry>()), (8, 4), "a place in the order; no padding");
        assert_eq!(map[node].attrs(&site(7)), 0);
    }

    fn site(attrs: u32) -> Site {
        Site::new(&crate::ir::leaf::CONST, Location::caller(), 0, attrs)
    }

    #[test]
    fn operands_come_back_however_many_there_are() {
        let mut lists = Vec::new();
        for n in 1..6 {
            let operands: Vec<NodeId> = (0..n).map(|i| packed(i + 10, i)).collect();
            let entry = Entry::with_operands(5, &operands, &mut lists);
            assert_eq!((entry.site(), entry.inputs(&lists)), (5, &operands[..]));
            assert_eq!(entry.attrs(&site(9)), 9);
        }
        let leaf = Entry::leaf(5, 1 << 31);
        let valued = leaf.with_value(7);
        assert_eq!((leaf.value(), valued.value(), valued.attrs(&site(9))), (None, Some(7), 1 << 31));
        assert!(leaf.inputs(&lists).is_empty());
        assert_eq!((leaf.site(), leaf.attrs(&site(9))), (5, 1 << 31));
    }

    #[test]
    fn sites_are_found_again_however_many_there_are() {
        let mut sites = Sites::default();
        for round in 0..2 {
            for n in 0..1000 {
                // Two types on each line.
                let site = Site { quick: n + 1, ty: n % 2, ..site(n / 2) };
                let found = sites.recent(&site).or_else(|| sites.find(&site)).unwrap_or_else(|| sites.insert(site));
                assert_eq!(found, (n, n + 1), "round {round}");
                assert_eq!(sites.recent(&site), Some(found), "found just now");
            }
        }
        sites.clear();
        assert_eq!((sites.recent(&site(350)), sites.find(&site(350))), (None, None), "forgotten");
        assert_eq!(sites.insert(site(350)), (0, 0));
    }
}
