//! Where values live: lifetimes packed into one arena.

use std::collections::BTreeMap;
use tapegrad_jit::LANES;

/// Buffers of 16 or more elements start at a multiple of this many elements.
pub(super) const ALIGN: usize = 16;

/// Rounds up to the alignment of a buffer of this length.
pub(crate) fn align(offset: usize, len: usize) -> usize {
    if len < ALIGN { offset } else { offset.next_multiple_of(ALIGN) }
}

/// A value's need for memory: `len` elements from step `first` to step `last`, both included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lifetime {
    pub(crate) len: usize,
    pub(crate) first: u32,
    pub(crate) last: u32,
}

/// A way to place lifetimes that are sorted by first step: offsets from a base on, and the end of what is used.
pub(super) type Pack<'a> = &'a dyn Fn(&[Lifetime], usize) -> (Vec<usize>, usize);

/// More values than this are placed in one go along time: looking at every pair would take too long.
const FEW: usize = 2000;

/// Offsets for lifetimes sorted by first step, starting at `base`, so that values alive at one time do not overlap; and
/// the end of what is used. The better of two ways.
pub(crate) fn pack(lifetimes: &[Lifetime], base: usize) -> (Vec<usize>, usize) {
    let along_time = pack_along_time(lifetimes, base);
    if lifetimes.len() > FEW {
        return along_time;
    }
    let by_size = pack_by_size(lifetimes, base);
    if by_size.1 < along_time.1 { by_size } else { along_time }
}

/// The elements that a buffer takes: tensors have padding behind them, which machine code may write.
pub(super) fn padded(len: usize) -> usize {
    match len {
        0 | 1 => len,
        ..ALIGN => len.next_multiple_of(LANES),
        _ => len.next_multiple_of(ALIGN),
    }
}

/// The largest first, each as far in front as those allow that are alive with it.
fn pack_by_size(lifetimes: &[Lifetime], base: usize) -> (Vec<usize>, usize) {
    let mut order: Vec<usize> = (0..lifetimes.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(lifetimes[i].len));
    let mut offsets = vec![base; lifetimes.len()];
    let mut end = base;
    // Those placed, in the order of their offsets.
    let mut placed: Vec<usize> = Vec::with_capacity(lifetimes.len());
    for i in order {
        let l = &lifetimes[i];
        let mut start = align(base, l.len);
        for &other in &placed {
            let o = &lifetimes[other];
            let together = l.first <= o.last && o.first <= l.last && o.len > 0;
            if together && offsets[other] < start + padded(l.len) {
                start = start.max(align(offsets[other] + padded(o.len), l.len));
            }
        }
        offsets[i] = start;
        end = end.max(start + padded(l.len));
        placed.insert(placed.partition_point(|&other| offsets[other] <= start), i);
    }
    (offsets, end)
}

/// In the order of their beginnings: best fit over the free blocks, which are joined with their neighbours when freed.
fn pack_along_time(lifetimes: &[Lifetime], base: usize) -> (Vec<usize>, usize) {
    debug_assert!(lifetimes.is_sorted_by_key(|l| l.first));
    let mut free: BTreeMap<usize, usize> = BTreeMap::new(); // start → length
    let mut ends: BTreeMap<u32, Vec<(usize, usize)>> = BTreeMap::new(); // last step → blocks
    let mut end = base;
    let mut offsets = Vec::with_capacity(lifetimes.len());
    for l in lifetimes {
        while let Some(entry) = ends.first_entry().filter(|e| *e.key() < l.first) {
            for (start, len) in entry.remove() {
                release(&mut free, start, len);
            }
        }
        let len = padded(l.len);
        let fits = |start: usize, size: usize| align(start, l.len) + len <= start + size;
        let best = free.iter().filter(|&(&s, &n)| fits(s, n)).min_by_key(|&(_, &n)| n).map(|(&s, &n)| (s, n));
        let start = match best {
            Some((start, size)) => {
                free.remove(&start);
                let aligned = align(start, l.len);
                if aligned > start {
                    free.insert(start, aligned - start);
                }
                if aligned + len < start + size {
                    free.insert(aligned + len, start + size - aligned - len);
                }
                aligned
            }
            None => {
                let aligned = align(end, l.len);
                if aligned > end {
                    release(&mut free, end, aligned - end);
                }
                end = aligned + len;
                aligned
            }
        };
        offsets.push(start);
        if len > 0 {
            ends.entry(l.last).or_default().push((start, len));
        }
    }
    (offsets, end)
}

/// How many elements are alive at the time when most are.
pub(crate) fn most_alive(lifetimes: &[Lifetime]) -> usize {
    let mut changes: BTreeMap<u32, (usize, usize)> = BTreeMap::new(); // step → elements that begin, and that end before it
    for l in lifetimes {
        changes.entry(l.first).or_default().0 += l.len;
        changes.entry(l.last.saturating_add(1)).or_default().1 += l.len;
    }
    let mut alive = 0;
    changes
        .values()
        .map(|&(begin, end)| {
            alive += begin;
            alive -= end;
            alive
        })
        .max()
        .unwrap_or(0)
}

fn release(free: &mut BTreeMap<usize, usize>, start: usize, len: usize) {
    let (mut start, mut len) = (start, len);
    if let Some((&before, &size)) = free.range(..start).next_back()
        && before + size == start
    {
        free.remove(&before);
        (start, len) = (before, size + len);
    }
    if let Some(after) = free.remove(&(start + len)) {
        len += after;
    }
    free.insert(start, len);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_alive_at_one_time_never_overlap() {
        // A deterministic mix of lengths and lifetimes.
        let mut lifetimes: Vec<Lifetime> = (0..500u32)
            .map(|i| Lifetime {
                len: (i as usize * 37) % 91,
                first: (i * 13) % 120,
                last: (i * 13) % 120 + (i * 7) % 30,
            })
            .collect();
        lifetimes.sort_by_key(|l| l.first);
        for (offsets, end) in [pack_along_time(&lifetimes, 10), pack_by_size(&lifetimes, 10)] {
            for (i, a) in lifetimes.iter().enumerate() {
                assert!(offsets[i] >= 10 && offsets[i] + a.len <= end);
                for (j, b) in lifetimes.iter().enumerate().skip(i + 1) {
                    let together = a.first <= b.last && b.first <= a.last;
                    let apart = offsets[i] + a.len <= offsets[j] || offsets[j] + b.len <= offsets[i];
                    let empty = a.len == 0 || b.len == 0;
                    assert!(!together || apart || empty, "{a:?} at {} and {b:?} at {}", offsets[i], offsets[j]);
                }
            }
        }
    }

    #[test]
    fn memory_of_dead_values_is_used_again() {
        let chain: Vec<Lifetime> = (0..100).map(|i| Lifetime { len: 64, first: i, last: i + 1 }).collect();
        assert_eq!(pack(&chain, 0).1, 2 * 64);
        assert_eq!(most_alive(&chain), 2 * 64);
    }
}
