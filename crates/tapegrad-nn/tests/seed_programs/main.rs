//! Four classic back-propagation programs, from recorded tapes: what they print, digit for digit, and what their authors
//! asked about them. The book's page "The seed programs" tells the stories.
//!
//! The figures wanted are `tests/data/seed-figures.json`, made with NumPy. Single steps are compared in units in the last
//! place (ULP). Each bound is twice the distance found on x86-64 with AVX-512, and at least 1: a processor that fuses
//! other multiplications with additions rounds differently. Most distances found are 0. The large ones have one cause:
//! NumPy computes 1 − a, which keeps few digits where a is near 1, and the tape computes σ(−z). Trainings of many steps
//! carry such differences along, and are compared relatively.
#![allow(clippy::unwrap_used)]

mod bce;
mod cross_entropy;
mod figures;
mod sweeps;
mod two_layer;
mod worked_example;
