//! Which steps are worth several threads, and how they are shared out: products by rows or columns, the halves of one side by side, elementwise
//! groups and reductions by ranges of what they write. Every element has the same bits however many threads there are.

use super::{alpha, fused, matmul, positions, reduce};
use crate::exec::threads::{MOST, MOST_PARTS, Team};
use crate::ir::Reading;
use crate::program::{Fused, Opcode, Step};
use tapegrad_gemm as gemm;
use tapegrad_jit::LANES;

/// What work has to be for a thread, and for a small piece, to be worth its while.
#[derive(Clone, Copy)]
struct Least {
    thread: usize,
    piece: usize,
}

impl Least {
    /// (Tests share small work, too.)
    const fn new(thread: usize, piece: usize, in_tests: usize) -> Self {
        if cfg!(test) { Least { thread: in_tests, piece: in_tests } } else { Least { thread, piece } }
    }
}

/// Of a product, in operations. Measured on an Intel Xeon with AVX-512, where a core fetches what the other has written at 3 to 4.5 ns a cache line. Each
/// piece packs one of the operands once more: 256 x 128 x 256 in `f32` takes 62 µs in four small pieces and two large ones, 53 in two.
const PRODUCT: Least = Least::new(300_000, 8_000_000, 1_000);
/// Of a stack of products, of which each is computed as a whole, in operations.
const STACK: Least = Least::new(300_000, 500_000, 1_000);
/// Of a group or of lines, in elements times instructions: the hidden layer of G (64 x 128) is sooner done by one thread, which then has it at hand.
const ELEMENTWISE: Least = Least::new(200_000, 200_000, 500);
/// Of a reduction, in terms, of which 16 000 take a core 1.6 µs (26 for 262 144, in `f32` and at hand).
const TERMS: Least = Least::new(16_000, 64_000, 500);

/// What an instruction that is a call costs, compared with one that is an opcode.
const CALL: usize = 8;

/// The arena, for all threads.
struct Base<T>(*mut T);

impl<T> Base<T> {
    /// (A method, so that closures capture the whole of it.)
    fn get(&self) -> *mut T {
        self.0
    }
}

// SAFETY: threads use it for places that the others do not write meanwhile.
unsafe impl<T: Send> Sync for Base<T> {}

/// Large work is cut into a large piece for each thread, of so many shares, and small ones, of one share, for whoever is done
/// first, rather in the neighbourhood of its large one, where it has been at work before. Cores are not equally fast, least of all those of a machine
/// that is shared with others: with equal pieces everybody waits for the slowest. Many small pieces alone would pack operands of products many times.
const LARGE: usize = 6;
/// Small pieces for each thread.
const SMALL: usize = 2;
const _: () = assert!(MOST * (1 + SMALL) <= MOST_PARTS);

/// How a step is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cut {
    /// How many threads the work is worth; 1 is no cut.
    threads: usize,
    /// Whether there are small pieces.
    fine: bool,
}

impl Cut {
    /// For work of which at least so much is worth handing out, in units that cannot be divided.
    fn new(work: usize, least: Least, units: usize, most: usize) -> Self {
        let threads = (work / least.thread).min(units).clamp(1, most);
        let shares = threads * (LARGE + SMALL);
        Cut { threads, fine: threads > 1 && work / shares >= least.piece && units >= shares }
    }

    /// Number of pieces.
    fn pieces(self) -> usize {
        if self.fine { self.threads * (1 + SMALL) } else { self.threads }
    }

    /// A piece; together they are the whole.
    fn piece(self, index: usize) -> gemm::Part {
        if !self.fine {
            return gemm::Part::equal(index, self.threads);
        }
        let (round, thread) = (index / self.threads, index % self.threads);
        let begin = thread * (LARGE + SMALL);
        let (from, to) = if round == 0 { (0, LARGE) } else { (LARGE + round - 1, LARGE + round) };
        gemm::Part { from: begin + from, to: begin + to, of: self.threads * (LARGE + SMALL) }
    }
}

/// Into how many pieces each half of a product is cut, of which each takes so many operations: as few as keep all threads busy. Nothing if a
/// piece is not worth handing out.
fn pieces_of_half(work: usize, most: usize) -> Option<usize> {
    let pieces = if most.is_multiple_of(2) { most / 2 } else { most };
    (work / pieces >= PRODUCT.thread).then_some(pieces)
}

/// What a stack of so many products is divided into: whole products if there is one for each thread, for not all can be divided.
fn undivided(count: usize, most: usize) -> usize {
    if count >= most { count } else { usize::MAX }
}

/// Work of one element of a group.
fn weight<T>(f: &Fused<T>) -> usize {
    f.body.iter().map(|inst| if inst.op == Opcode::Call { CALL } else { 1 }).sum()
}

/// Carries out the first of some steps with the team, if that is worth it, or it and the next side by side; tells how many it has. Each thread's
/// registers are `registers` elements after those of the one before; its packing memory is its equal share of `scratch`.
pub(super) fn run<T: Reading>(
    steps: &[Step<T>],
    values: &mut [T],
    indices: &[u32],
    scratch: &mut [T],
    registers: usize,
    team: &mut Team,
) -> usize {
    let most = team.threads();
    if let [Step::MatMul(first), Step::MatMul(second), ..] = steps
        && first.first_half
        && let Some(pieces) = pieces_of_half(2 * first.m * first.n * first.k.min(second.k), most)
    {
        let share = scratch.len() / most;
        let (base, packing) = (Base(values.as_mut_ptr()), Base(scratch.as_mut_ptr()));
        team.run(2 * pieces, &|thread, index| {
            let half = if index < pieces { first } else { second };
            let part = gemm::Part::equal(index % pieces, pieces);
            // SAFETY: as for a product alone, and the verifier has checked that neither half touches what the other writes.
            unsafe {
                let packing = std::slice::from_raw_parts_mut(packing.get().add(thread * share), share);
                matmul(half, base.get(), T::ONE, 0..1, part, packing);
            }
        });
        return 2;
    }
    match &steps[0] {
        Step::MatMul(m) => {
            let count = positions(m);
            let least = if count >= most { STACK } else { PRODUCT };
            let cut = Cut::new(2 * count * m.m * m.n * m.k, least, undivided(count, most), most);
            if cut.threads == 1 {
                return 0;
            }
            let alpha = alpha(m, values);
            let share = scratch.len() / most;
            let (base, packing) = (Base(values.as_mut_ptr()), Base(scratch.as_mut_ptr()));
            team.run(cut.pieces(), &|thread, index| {
                let part = cut.piece(index);
                // Whole products, where there are enough of them.
                let (range, part) =
                    if count >= part.of { (part.range(count, 1), gemm::Part::WHOLE) } else { (0..count, part) };
                // SAFETY: the verifier has checked the places of the product; parts are other elements of it. Each thread
                // has packing memory of its own, enough for the largest product.
                unsafe {
                    let packing = std::slice::from_raw_parts_mut(packing.get().add(thread * share), share);
                    matmul(m, base.get(), alpha, range, part, packing);
                }
            });
        }
        Step::Fused(f) if f.numel > 1 => {
            let unit = fused::unit(f);
            let cut = Cut::new(f.numel * weight(f), ELEMENTWISE, f.numel.div_ceil(unit), most);
            if cut.threads == 1 {
                return 0;
            }
            let base = Base(values.as_mut_ptr());
            team.run(cut.pieces(), &|thread, index| {
                let elements = cut.piece(index).range(f.numel, unit);
                // SAFETY: the verifier has checked every place of the group, that no element depends on another, and that
                // all that does not advance is a register, of which each thread has its own.
                unsafe { fused::run_part(f, base.get(), indices, elements, thread * registers) };
            });
        }
        Step::Lines(l) => {
            let lines = l.source.lines;
            let cut = Cut::new(lines * l.source.line * l.len(), ELEMENTWISE, lines.div_ceil(LANES), most);
            if cut.threads == 1 {
                return 0;
            }
            let base = Base(values.as_mut_ptr());
            team.run(cut.pieces(), &|thread, index| {
                let part = cut.piece(index).range(lines, LANES);
                // SAFETY: the verifier has checked every place of the code, and that no line depends on another but through what is
                // the same for all; each thread has temporary memory of its own.
                unsafe { super::lines(l, base.get(), indices, part, thread * registers) };
            });
        }
        Step::Reduce(r) => {
            let terms: usize = r.reduced.iter().product();
            let cut = Cut::new(reduce::len(r) * terms, TERMS, reduce::len(r).div_ceil(LINE), most);
            if cut.threads == 1 {
                return 0;
            }
            let base = Base(values.as_mut_ptr());
            team.run(cut.pieces(), &|_, index| {
                // Whole cache lines of the output.
                let part = cut.piece(index).range(reduce::len(r), LINE);
                // SAFETY: the verifier has checked that operand and output lie in the arena, apart.
                unsafe { reduce::run_part(r, base.get(), part) };
            });
        }
        _ => return 0,
    }
    1
}

/// Elements of a cache line.
const LINE: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::element::Element;
    use crate::ir::{Tape, Tensor};
    use crate::program::{CompileOptions, Program};

    const TEN: Least = Least { thread: 10, piece: 10 };

    #[test]
    fn stacks_with_a_product_for_each_thread_are_cut_between_products() {
        for most in [2, 3, 7] {
            for count in most..20 * most {
                let cut = Cut::new(1 << 40, PRODUCT, undivided(count, most), most);
                assert!(cut.threads == most && cut.piece(0).of <= count, "{cut:?} of {count}");
            }
        }
    }

    #[test]
    fn pieces_are_the_whole_once_and_begin_with_a_large_one_for_each_thread() {
        for most in [1, 2, 3, 7] {
            for (work, units) in [(10, 5), (1_000, 5), (1_000, 1_000), (1_000_000, 100)] {
                let cut = Cut::new(work, TEN, units, most);
                let mut ranges: Vec<_> = (0..cut.pieces()).map(|index| cut.piece(index).range(777, 10)).collect();
                let large = ranges[..cut.threads].iter().map(ExactSizeIterator::len).min();
                assert!(ranges[cut.threads..].iter().all(|small| Some(small.len()) <= large), "{cut:?}");
                ranges.sort_by_key(|range| range.start);
                assert_eq!((ranges[0].start, ranges[ranges.len() - 1].end), (0, 777), "{cut:?}");
                assert!(ranges.windows(2).all(|two| two[0].end == two[1].start), "{cut:?}");
            }
        }
    }

    #[test]
    fn small_work_is_cut_into_few_pieces() {
        assert_eq!(Cut::new(19, TEN, 100, 4).pieces(), 1);
        assert_eq!(Cut::new(30, TEN, 100, 4).pieces(), 3);
        assert_eq!(Cut::new(1_000, TEN, 2, 4).pieces(), 2);
        assert_eq!(Cut::new(1_000, TEN, 100, 4).pieces(), 12);
        assert_eq!(Cut::new(1_000, Least { piece: 32, ..TEN }, 100, 4).pieces(), 4, "small pieces would be too small");
    }

    #[test]
    fn a_sum_that_adds_to_its_parameter_does_so_once_whatever_the_threads() {
        fn check<T: Element + PartialEq>() {
            let tape = Tape::new();
            let d = tape.input(Tensor::from_fn([70, 137], |i| ((i * 7919 % 1013) as f64 * 0.37).sin()));
            let b = tape.param(Tensor::from_fn([137], |i| i as f64 * 0.1 - 3.0));
            tape.assign(b, b - 0.3 * d.sum_over(&[0]));
            let options = CompileOptions::default().machine_code(false);
            let program: Program<T> = tape.compile_with(&[], &options).expect("it compiles");
            let adds = |step: &Step<T>| matches!(step, Step::Reduce(r) if r.adds.is_some());
            assert!(matches!(&program.0.steps[..], [sum] if adds(sum)), "one step");
            let after = |threads: usize| {
                let mut state = program.state();
                state.set_threads(threads).expect("there are threads");
                (0..3).for_each(|_| program.replay(&mut state).expect("it has no guards"));
                state.get(b).to_vec()
            };
            let alone = after(1);
            let once: Vec<f64> = (0..137)
                .map(|j| (0..70).map(|i| ((i * 137 + j) * 7919 % 1013) as f64 * 0.37).map(f64::sin).sum())
                .collect();
            for (j, (found, sum)) in alone.iter().zip(&once).enumerate() {
                let wanted = j as f64 * 0.1 - 3.0 - 0.9 * sum;
                assert!((found.to_f64() - wanted).abs() < 1e-4, "{j}: {}, not {wanted}", found.to_f64());
            }
            for threads in [2, 3, 7] {
                assert!(after(threads) == alone, "{threads} threads");
            }
        }
        check::<f32>();
        check::<f64>();
    }
}
