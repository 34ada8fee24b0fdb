//! The examples of tapegrad, numbered as a learning path; run one with
//! `cargo run --release -p tapegrad-examples --example 01_scalar`.
//!
//! The code blocks of the book and of the README are compiled and run as documentation tests of this package.

pub mod conformance;

/// The pages whose code blocks are tests.
#[cfg(doctest)]
mod book {
    macro_rules! pages {
        ($($name:ident $path:literal)+) => {$(
            #[doc = include_str!($path)]
            mod $name {}
        )+};
    }
    pages! {
        readme "../../README.md"
        why "../../docs/src/why.md"
        record "../../docs/src/record.md"
        differentiate "../../docs/src/differentiate.md"
        replay "../../docs/src/replay.md"
        checking "../../docs/src/checking.md"
        formulas "../../docs/src/formulas.md"
        adding_an_operation "../../docs/src/adding-an-operation.md"
        networks "../../docs/src/networks.md"
        seed_programs "../../docs/src/seed-programs.md"
    }
}
