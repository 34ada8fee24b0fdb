//! How a program is carried out, and who decides it.

use tapegrad_jit::Effort;

/// How a program is carried out.
///
/// | tier | made of | bits |
/// |---|---|---|
/// | `Interpreter` | a loop over 16-byte instructions, on every CPU | the reference: every operation rounded by itself |
/// | `Template` | machine code for scalars, of any length, instruction by instruction; tensors as the interpreter does them | those of the interpreter (but which NaN) |
/// | `Optimised` | machine code with registers chosen by looking ahead, functions written out, products fused with sums, tensors in passes, and line by line; where at least two thirds of a scalar program in `f64` is the same operations again and again, they are computed four at a time, in loops and in rows that are called instead | differ by rounding: products and the sums they go into are rounded once, and sums over rows and along them are added up in another order; four at a time, those of the interpreter |
/// | `Auto` | `Optimised` for tensors, and for small programs that are not faster step by step; longer scalar code, of up to about half a million instructions, as `Template`, or, if it is to be replayed a thousand times or nobody has said how often, with repetition four at a time, in loops and in rows that are called, then up to ten million | those of the parts |
///
/// Differences by rounding are larger where numbers leave the range on the way: a sum over rows of products with a number that is the
/// same for all rows is multiplied by it once, at the end, and two literals that multiply one after another are one, and what the
/// products of a sum have in common multiplies the sum of the rest (of which the sign of a zero may be the other, too); and where terms
/// cancel, for a sum of products may begin with a term that was recorded outside its parentheses, `b + (x·z + p·q)` as `(b + p·q) + x·z`.
///
/// What is exact by design stays so: a difference of two products is of both rounded, so that equal ones have none; and in programs
/// that are one piece of machine code, nothing is fused in, and no factor taken out of, what a comparison depends on, so that few come
/// out otherwise for the numbers they were recorded with. (Literals that multiply one after another, matrix products, and the order
/// of sums over rows and of sixteen terms and more are as everywhere.)
///
/// On every tier, a matrix product that is added to a parameter where it stands goes into it in parts: its error is that of
/// |w| + |f|·Σ|aᵢbᵢ|, and a part may leave the range where the whole would not.
///
/// What `Auto` chooses, and the last digits with it, may depend on the CPU, as those of matrix products do.
///
/// Machine code is made where the CPU has a code generator (x86-64 with AVX2 and FMA); elsewhere every tier is the
/// interpreter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tier {
    /// Chosen by the size of the program and how often it will be replayed.
    #[default]
    Auto,
    /// No machine code.
    Interpreter,
    /// Machine code that is quick to make.
    Template,
    /// Machine code that is quick to run, up to about a million operations.
    Optimised,
}

/// The parts of the compiler that make machine code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Generators {
    /// The whole program as lane code: never, if it is small, or always.
    pub(super) lanes: Lanes,
    /// Groups of tensors as passes, and steps over the lines of matrices joined.
    pub(super) passes: bool,
    /// Groups of scalars, up to so many instructions.
    pub(super) scalars: usize,
    /// If that gives at most so many bytes.
    pub(super) code: usize,
    /// Whether repetition in them is looked for.
    pub(super) effort: Effort,
}

/// Which programs become lane code as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lanes {
    Never,
    Small,
    Large,
}

/// Scalars of more instructions are not translated unless that is asked for: it takes about 160 bytes each while it is done.
const MOST_SCALARS: usize = 10 << 20;
/// Straight machine code is longer than the interpreter's instructions, about half a million of which give so many bytes: as
/// much as stays in a third-level cache. From there on only repetition pays, which becomes loops.
const MOST_STRAIGHT: usize = 1 << 19;
const MOST_CODE: usize = 16 << 20;
/// A program replayed less often is interpreted sooner than it is translated.
const FEW: usize = 32;
/// Finding repetition costs as much as it saves in so many replays (900 to 2200 in the formulas measured).
const MANY: usize = 1000;

impl Tier {
    /// What is made of a program that is replayed about so often, if that is known.
    pub(super) fn generators(self, replays: Option<usize>) -> Generators {
        let none =
            Generators { lanes: Lanes::Never, passes: false, scalars: 0, code: usize::MAX, effort: Effort::Quick };
        match self {
            Tier::Interpreter => none,
            Tier::Template => Generators { scalars: usize::MAX, ..none },
            Tier::Optimised => {
                Generators { lanes: Lanes::Large, passes: true, scalars: usize::MAX, effort: Effort::Thorough, ..none }
            }
            // Looking ahead over more than a few hundred numbers takes four times as long and gains nothing (measured).
            Tier::Auto => match replays {
                Some(few) if few < FEW => none,
                Some(some) if some < MANY => {
                    Generators { lanes: Lanes::Small, passes: true, scalars: MOST_STRAIGHT, code: MOST_CODE, ..none }
                }
                _ => Generators {
                    lanes: Lanes::Small,
                    passes: true,
                    scalars: MOST_SCALARS,
                    code: MOST_CODE,
                    effort: Effort::Thorough,
                },
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_replayed_a_few_times_is_interpreted_unless_it_is_forced() {
        let of = |replays| Tier::Auto.generators(replays);
        assert_eq!(of(Some(1)), Tier::Interpreter.generators(None));
        assert_eq!((of(None).lanes, of(None).passes), (Lanes::Small, true));
        assert_eq!(of(Some(1_000_000)), of(None));
        assert_eq!((of(Some(100)).effort, of(Some(100)).lanes), (Effort::Quick, Lanes::Small));
        assert_eq!(Tier::Optimised.generators(Some(1)).lanes, Lanes::Large);
        assert_eq!(Tier::Interpreter.generators(Some(1_000_000)), Tier::Interpreter.generators(None));
    }
}
