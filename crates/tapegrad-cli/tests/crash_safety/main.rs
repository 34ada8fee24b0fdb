//! Saved models survive: kills while they are written, full disks, and damage, which is always noticed. Here with small
//! numbers; `cargo run --release -p tapegrad-cli --example crash_safety` does the same with large ones.
#![cfg(unix)]

mod damage;
mod disk;
mod kills;
mod memory;

use std::process::Command;

fn command() -> Command {
    Command::new(env!("CARGO_BIN_EXE_tapegrad"))
}

#[test]
fn a_save_that_is_killed_leaves_the_old_model_or_the_new_one() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let found = kills::kill_often(20, &command, directory.path());
    assert!(found.torn.is_empty(), "{found:#?}");
    assert_eq!((found.kills, found.old + found.new), (20, 20), "{found:#?}");
}

#[test]
fn a_damaged_model_is_refused_in_one_line() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let found = damage::read_damaged(2000, &directory.path().join("model"));
    assert!(found.wrong.is_empty(), "{found:#?}");
    assert_eq!((found.files, found.refused), (2000, 2000));
}

#[test]
fn a_full_disk_keeps_the_old_model() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    for (how, result) in disk::save_to_full_disks(&command, directory.path()) {
        match result {
            Ok(disk::Kept::Old) => {}
            Ok(disk::Kept::Skipped(why)) => eprintln!("NOT TESTED, {how}: {why}"),
            Err(problem) => panic!("{how}: {problem}"),
        }
    }
}
