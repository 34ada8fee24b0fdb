//! A disk that is full when the command saves: the old file stays.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Ways in which there is no room, as programs for the shell: `$1` is an empty directory, and the rest is a command that
/// puts a model of some kilobytes over that in the directory.
const LIMIT: &str = "cp \"$0\" \"$1/model\" && shift && trap '' XFSZ && ulimit -f 2 && exec \"$@\"";
const KILLED_BY_LIMIT: &str = "cp \"$0\" \"$1/model\" && shift && ulimit -c 0 && ulimit -f 2 && exec \"$@\"";
/// In a file system of its own, which only this process sees, so what became of the file is asked inside.
const SMALL_DISK: &str = "mount -t tmpfs -o size=8k tmpfs \"$1\" && cp \"$0\" \"$1/model\" && d=$1 && shift || exit 77
    \"$@\"; code=$?; cmp \"$0\" \"$d/model\" && [ \"$(ls -A \"$d\")\" = model ] || exit 78; exit $code";

/// What is there after each way; an error says what was lost, or not said.
pub(crate) fn save_to_full_disks(
    command: &dyn Fn() -> Command,
    directory: &Path,
) -> Vec<(&'static str, Result<Kept, String>)> {
    let (table, old) = (directory.join("table.csv"), directory.join("old"));
    fs::write(&table, "a,b,y\n0,0,no\n0,1,yes\n1,0,yes\n1,1,no\n").expect("a temporary file can be written");
    // The name of the model it overwrites does not matter, so what is there need not be one.
    fs::write(&old, "what was there before").expect("a temporary file can be written");
    let place = directory.join("place");
    let run = |shell: &[&str], script: &str| -> Output {
        let _ = fs::remove_dir_all(&place);
        fs::create_dir(&place).expect("a directory can be made");
        let tapegrad = command();
        let mut shell_command = Command::new(shell[0]);
        shell_command.args(&shell[1..]).args(["-c", script]).arg(&old).arg(&place);
        shell_command.arg(tapegrad.get_program()).args(tapegrad.get_args());
        shell_command.arg("train").arg(&table).args(["--layers=64,64", "--epochs=1", "--test-fraction=0", "--quiet"]);
        shell_command.arg("--save").arg(place.join("model"));
        shell_command.stdin(Stdio::null()).output().expect("there is a shell")
    };
    let kept = |output: &Output, litter: bool| -> Result<Kept, String> {
        let names = fs::read_dir(&place).expect("the directory can be read").count();
        match fs::read(place.join("model")).expect("the old file is there") == b"what was there before" {
            true if litter || names == 1 => Ok(Kept::Old),
            true => Err(format!("{} files were left beside it", names - 1)),
            false => Err(format!("another file: {output:?}")),
        }
    };
    let said = |output: &Output, what: &str| {
        let text = String::from_utf8_lossy(&output.stderr);
        let good = output.status.code() == Some(1) && text.lines().count() == 1 && text.contains(what);
        if good { Ok(()) } else { Err(format!("expected exit code 1 and one line with `{what}`: {output:?}")) }
    };
    let limit = || {
        let output = run(&["sh"], LIMIT);
        said(&output, "model: cannot be written: ")?;
        kept(&output, false)
    };
    let killed = || {
        let output = run(&["sh"], KILLED_BY_LIMIT);
        match output.status.signal() {
            Some(_) => kept(&output, true),
            None => Err(format!("expected to be killed: {output:?}")),
        }
    };
    let small_disk = || {
        let output = run(&["unshare", "--map-root-user", "--mount", "sh"], SMALL_DISK);
        let text = String::from_utf8_lossy(&output.stderr);
        if output.status.code() == Some(77) || text.contains("unshare") {
            return Ok(Kept::Skipped(text.trim().replace('\n', "; ")));
        }
        said(&output, "No space left on device").map(|()| Kept::Old)
    };
    let linux = cfg!(target_os = "linux");
    let skipped = |what: &str| Ok(Kept::Skipped(what.to_owned()));
    vec![
        ("a limit on the size of files", limit()),
        ("killed by the limit", killed()),
        ("a file system of 8 KiB", if linux { small_disk() } else { skipped("needs Linux") }),
    ]
}

/// What was in the place of the model afterwards.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    Old,
    /// This system does not let a user do that; why.
    Skipped(String),
}
