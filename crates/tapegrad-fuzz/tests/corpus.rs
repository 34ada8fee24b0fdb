//! The corpus of every target, as it is and mixed at random, without a fuzzer.

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

/// Pieces of two files of a corpus, with some bytes changed.
fn mixed(files: &[(String, Vec<u8>)], mut random: impl FnMut(usize) -> usize) -> Vec<u8> {
    let (first, second) = (&files[random(files.len())].1, &files[random(files.len())].1);
    let (end, start) = (random(first.len() + 1), random(second.len() + 1));
    let mut data = if random(3) == 0 { first.clone() } else { [&first[..end], &second[start..]].concat() };
    for _ in 0..random(6) {
        if !data.is_empty() {
            let place = random(data.len());
            data[place] = random(256) as u8;
        }
    }
    data
}

/// Without a fuzzer's guidance, but many times as fast; `TAPEGRAD_CASES` says how many of each target.
#[test]
fn a_corpus_that_is_cut_mixed_and_changed_does_not_panic() {
    let cases: usize = std::env::var("TAPEGRAD_CASES").map_or(300, |n| n.parse().expect("TAPEGRAD_CASES is a number"));
    for target in TARGETS {
        let files = corpus(target.0);
        // Knuth's multiplier for a linear congruential generator.
        let mut state = 1u64;
        let mut random = |n: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % n
        };
        for case in 0..cases {
            run(target, &format!("case {case}"), &mixed(&files, &mut random));
        }
        println!("{}: {cases} cases", target.0);
    }
}
