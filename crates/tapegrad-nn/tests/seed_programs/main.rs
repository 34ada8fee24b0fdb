//! Four classic back-propagation programs, from recorded tapes: what they print, digit for digit, and what their authors
//! asked about them. The book's page "The seed programs" tells the stories.
//!
//! The figures wanted are `tests/data/seed-figures.json`, made with NumPy. Each is compared in units in the last place
//! (ULP), and each bound is the one found: 0 where the operations are the same ones in the same order, a few where NumPy
//! sums in another order, writes σ′ as `a * (1 - a)`, or has another `exp`. Trainings of many steps carry such
//! differences along, and are compared relatively.
#![allow(clippy::unwrap_used)]

mod bce;
mod cross_entropy;
mod figures;
mod sweeps;
mod two_layer;
mod worked_example;
