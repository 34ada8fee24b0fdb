//! `kill -9` while the command saves: whoever reads the file gets the old model or the new one, whole.

use std::ffi::OsStr;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tapegrad_cli::model::{Model, read_model};
use tapegrad_nn::random::Rng;

/// What was found after the kills.
#[derive(Debug, Default)]
pub(crate) struct Kills {
    pub(crate) kills: usize,
    /// Kills after which the file held the model of before the command, and a model of the command.
    pub(crate) old: usize,
    pub(crate) new: usize,
    /// Kills that hit a save under way: its temporary file was left.
    pub(crate) within: usize,
    /// Reads while the command was writing, on top of those after the kills.
    pub(crate) reads: usize,
    /// Reads that gave no model, or one that was never written.
    pub(crate) torn: Vec<String>,
}

/// Kills the command `count` times at random moments, in an empty directory. Every second time it saves after each epoch;
/// otherwise once, at the end. The network has 67 000 weights and the table four rows, so that most of the time goes into
/// saving.
pub(crate) fn kill_often(count: usize, command: &dyn Fn() -> Command, directory: &Path) -> Kills {
    let (table, path) = (directory.join("table.csv"), directory.join("model.safetensors"));
    std::fs::write(&table, "a,b,y\n0,0,no\n0,1,yes\n1,0,yes\n1,1,no\n").expect("a temporary file can be written");
    let start = |epochs: u32, seed: usize| -> Child {
        let mut command = command();
        command.arg("train").arg(&table).args(["--layers=256,256", "--test-fraction=0", "--quiet"]);
        command.args([format!("--epochs={epochs}"), format!("--seed={seed}")]).arg("--save").arg(&path);
        if epochs > 1 {
            command.arg("--save-every=1");
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the command starts")
    };
    // The first model, and how long it takes to make one.
    let started = Instant::now();
    assert!(start(1, 0).wait().expect("the command ends").success());
    let mut whole = started.elapsed();

    let mut rng = Rng::seed(9);
    let mut found = Kills::default();
    let mut old = read_model(&path).expect("the first model was written");
    for seed in 1.. {
        if found.kills == count {
            break;
        }
        let often = found.kills % 2 == 0;
        let moment = whole.mul_f64(if often { rng.uniform(0.0, 8.0) } else { rng.uniform(0.3, 2.0) });
        let mut child = start(if often { u32::MAX } else { 1 }, seed);
        let started = Instant::now();
        while started.elapsed() < moment && child.try_wait().expect("the command can be waited for").is_none() {
            found.reads += 1;
            found.look(&path, &old, seed);
            std::thread::sleep(Duration::from_micros(rng.below(10_000)));
        }
        // A first model that took long, on a machine that was busy then, would have all others end before they are killed.
        if started.elapsed() < moment {
            whole = whole.min(started.elapsed());
        }
        child.kill().expect("the command can be killed");
        let killed = child.wait().expect("the command ends").signal() == Some(9);
        let read = found.look(&path, &old, seed);
        found.within += usize::from(remove_temporaries(directory) > 0);
        if let Some(model) = read {
            // One that had ended before was not killed.
            found.kills += usize::from(killed);
            found.old += usize::from(killed && model == old);
            found.new += usize::from(killed && model != old);
            old = model;
        } else {
            found.kills += 1;
            assert!(start(1, 0).wait().expect("the command ends").success());
            old = read_model(&path).expect("the model was written anew");
        }
    }
    found
}

impl Kills {
    /// The model in the file, which must be the old one or one that the command with this seed has written.
    fn look(&mut self, path: &Path, old: &Model, seed: usize) -> Option<Model> {
        match read_model(path) {
            Ok(model) if model == *old || model.seed == seed as u64 => Some(model),
            Ok(model) => {
                self.torn.push(format!("kill {}: a model of seed {}", self.kills, model.seed));
                None
            }
            Err(error) => {
                self.torn.push(format!("kill {}: {error}", self.kills));
                None
            }
        }
    }
}

/// What a killed command could not remove.
fn remove_temporaries(directory: &Path) -> usize {
    let entries = std::fs::read_dir(directory).expect("the directory can be read");
    let paths = entries.map(|entry| entry.expect("the directory can be read").path());
    let temporary = |path: &std::path::PathBuf| path.extension() == Some(OsStr::new("tmp"));
    paths.filter(temporary).map(|path| std::fs::remove_file(path).expect("the file can be removed")).count()
}
