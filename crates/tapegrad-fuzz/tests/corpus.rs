//! The corpus of every target, and bytes at random, without a fuzzer.

use std::fs;
use std::path::Path;
use tapegrad_fuzz::{TARGETS, Target};

/// Runs a target on bytes; a panic says which.
fn run((name, target): Target, what: &str, data: &[u8]) {
    let result = std::panic::catch_unwind(|| target(data));
    assert!(result.is_ok(), "{name}: {what} panics: {}", data.escape_ascii());
}

fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let entries = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut files: Vec<(String, Vec<u8>)> = entries
        .map(|entry| entry.expect("the directory can be read").path())
        .map(|path| (path.display().to_string(), fs::read(&path).expect("the file can be read")))
        .collect();
    files.sort();
    files
}

#[test]
fn nothing_in_the_corpus_panics() {
    for target in TARGETS {
        let files = corpus(target.0);
        assert!(files.len() >= 10, "{}: {} files", target.0, files.len());
        for (name, data) in files {
            run(target, &name, &data);
        }
    }
}

#[test]
fn a_corpus_that_is_cut_and_mixed_does_not_panic() {
    for target in TARGETS {
        let files = corpus(target.0);
        for (i, (name, data)) in files.iter().enumerate().step_by(3) {
            run(target, name, &data[..data.len() / 2]);
            let other = &files[(i * 7 + 1) % files.len()].1;
            run(target, name, &[&data[..data.len() / 3], &other[other.len() / 2..]].concat());
        }
    }
}
