//! Saved models survive: `kill -9` while they are written, full disks, and damage, which is always noticed. What is tried is in
//! `tests/crash_safety`; this counts it. Arguments: how many kills (200), and how many damaged files (20000).
//!
//! ```sh
//! cargo run --release -p tapegrad-cli --example crash_safety -- 200 20000
//! ```

#[cfg(unix)]
#[path = "../tests/crash_safety/damage.rs"]
mod damage;
#[cfg(unix)]
#[path = "../tests/crash_safety/disk.rs"]
mod disk;
#[cfg(unix)]
#[path = "../tests/crash_safety/kills.rs"]
mod kills;
#[cfg(unix)]
#[path = "../tests/crash_safety/memory.rs"]
mod memory;

#[cfg(unix)]
fn main() -> std::process::ExitCode {
    use std::process::{Command, ExitCode};
    const AS_COMMAND: &str = "--as-tapegrad";

    let arguments: Vec<std::ffi::OsString> = std::env::args_os().collect();
    if arguments.get(1).is_some_and(|argument| argument == AS_COMMAND) {
        // The command that is killed is this program in another role.
        return tapegrad_cli::main(arguments.into_iter().enumerate().filter(|(i, _)| *i != 1).map(|(_, a)| a));
    }
    let number = |place: usize, default: usize| match arguments.get(place) {
        Some(text) => {
            text.to_str().and_then(|text| text.parse().ok()).expect("expected the numbers of kills and of files")
        }
        None => default,
    };
    let command = || {
        let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
        command.arg(AS_COMMAND);
        command
    };
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let full = disk::save_to_full_disks(&command, directory.path());
    let damaged = damage::read_damaged(number(2, 20_000), &directory.path().join("damaged"));
    let killed = kills::kill_often(number(1, 200), &command, directory.path());
    for problem in damaged.wrong.iter().chain(&killed.torn) {
        println!("{problem}");
    }
    for (how, result) in &full {
        match result {
            Ok(disk::Kept::Old) => println!("full disk, {how}: the old file stays"),
            Ok(disk::Kept::Skipped(why)) => println!("full disk, {how}: NOT TESTED, {why}"),
            Err(problem) => println!("full disk, {how}: LOST, {problem}"),
        }
    }
    println!(
        "damaged files {}, refused {}, otherwise {}, memory at most 16 bytes for each of the file and {} more",
        damaged.files,
        damaged.refused,
        damaged.wrong.len(),
        damaged.memory
    );
    println!(
        "kills {}, within a save {}, then the old model {}, a new one {}, torn {}; read meanwhile {} times",
        killed.kills,
        killed.within,
        killed.old,
        killed.new,
        killed.torn.len(),
        killed.reads
    );
    let lost = full.iter().filter(|(_, result)| result.is_err()).count();
    if damaged.wrong.len() + killed.torn.len() + lost == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(not(unix))]
fn main() {
    println!("NOT TESTED: this needs the signals of Unix");
}
