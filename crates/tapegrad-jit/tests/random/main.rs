//! Random code: what is compiled against a naive evaluator.

#![cfg(target_arch = "x86_64")]
#![allow(clippy::unwrap_used)]

mod blocks;
mod common;
mod joined;
mod lines;
mod lines_rules;
mod passes;
mod scalars;
