//! The tests of the engine, a module to a subject, in one program: it takes a fraction of the time that forty take to build.
//!
//! Those that count allocations have an allocator, and so a program, of their own; so do `random_programs` and
//! `derivative_mutants`, which can be run for longer.

mod accuracy;
mod adapters;
mod at_once;
mod cleared;
mod compose;
mod compose_errors;
mod compose_oracles;
mod custom_op;
mod deep;
mod edges;
mod errors;
#[cfg(target_os = "linux")]
mod executable;
mod forged_attributes;
mod function;
mod gradcheck;
mod guards;
mod handle_cases;
mod handles;
mod interop;
mod joined;
mod layering;
mod limits;
mod lines;
mod map;
mod map_columns;
mod map_limits;
mod map_rows;
mod metamorphic;
mod mistakes;
mod op_errors;
mod op_matrix;
mod operations_page;
mod ops;
mod passes;
mod properties;
mod random;
mod random_updates;
mod repeatable;
mod replay;
mod scan;
mod stability;
mod text;
mod threads;
mod tiers;
mod training_steps;
mod updates;
mod whole_programs;
mod zeros;
