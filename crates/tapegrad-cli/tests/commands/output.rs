//! Where results go, and what happens when nobody wants them.

use crate::common::{Scratch, command, data, ran, run, text};
use std::io::Read;
use std::process::Stdio;

#[test]
fn a_closed_pipe_ends_the_command_in_silence() {
    for arguments in [&["grad", "x^2", "x=1"][..], &["train", &data("xor.csv"), "--epochs=1"], &["--help"], &[]] {
        let mut child = command()
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command starts");
        drop(child.stdout.take());
        let mut err = String::new();
        child.stderr.take().expect("piped").read_to_string(&mut err).expect("UTF-8");
        assert!(child.wait().expect("it ends").success(), "{arguments:?}");
        assert!(!err.contains("panicked") && !err.contains("error"), "{arguments:?}: {err}");
    }
}

#[test]
fn a_model_is_saved_whoever_listens() {
    let scratch = Scratch::new();
    let model = scratch.path("model.safetensors");
    let (reader, writer) = std::io::pipe().expect("a pipe can be made");
    // Nobody reads before the command has begun.
    drop(reader);
    let mut child = command()
        .args(["train", &data("xor.csv"), "--quiet", "--epochs=1", "--save", text(&model)])
        .stdout(writer)
        .stderr(Stdio::null())
        .spawn()
        .expect("the command starts");
    assert!(child.wait().expect("it ends").success());
    assert_eq!(scratch.names(), ["model.safetensors"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_a_failure() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let ran = ran(command().args(["grad", "x^2", "x=1"]).stdout(full).output().expect("the command starts"));
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.starts_with("error: the output cannot be written: "), "{ran:?}");
}

#[test]
fn help_and_version_are_results() {
    for command in [&["--help"][..], &["train", "--help"], &["predict", "--help"], &["grad", "--help"]] {
        assert!(run(command).success().contains("Usage: tapegrad"), "{command:?}");
    }
    assert_eq!(run(&["--version"]).success(), format!("tapegrad {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn unknown_options_are_bad_input() {
    for arguments in [&["--no-such-option"][..], &["grad"], &["train"], &["train", "x.csv", "--epochs=0"], &["other"]] {
        let ran = run(arguments);
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(ran.err.starts_with("error: "), "{arguments:?}: {}", ran.err);
    }
}
