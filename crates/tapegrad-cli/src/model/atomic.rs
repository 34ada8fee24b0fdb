//! Owns the writing of a file such that a reader sees the old one or the new one, never a part.

use super::error::{ModelError, Problem};
use crate::text::shown_path;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Writes `bytes` to the file at `path`, replacing what is there in one step.
///
/// The bytes go to a temporary file in the same directory, are forced to the disk, and the file
/// is renamed; then the directory is forced to the disk too. A symbolic link at `path` is
/// followed. A new file gets the permissions that the user's mask gives, a replaced one keeps its own.
///
/// # Errors
///
/// If any step fails, or if `path` is no name of a file, or is there and is no regular file. What was there stays, and
/// the temporary file goes, unless all that failed is one of the last two steps. If the file cannot be renamed, it is kept, whole,
/// under the temporary name, which the error says. If the directory cannot be forced to the disk, the new file is there, whole, and
/// the error says so: a loss of power may still bring back the old one.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), ModelError> {
    let (target, mut temporary) = begin(path)?;
    let fail = |error: io::Error| Problem::new(format!("cannot be written: {error}")).in_file(path);
    temporary.write_all(bytes).map_err(fail)?;
    temporary.as_file().sync_all().map_err(fail)?;
    put_in_place(path, &target, temporary)?;
    sync_directory(directory_of(&target)).map_err(|error| {
        Problem::new(format!("is written, but not for certain on the disk: its directory cannot be synced: {error}"))
            .in_file(path)
    })
}

/// Finds out, before a long training, whether [`write_atomically`] could write to `path`.
///
/// # Errors
///
/// If it could not: no name of a file, no such directory, no permission, or something at `path` that is no regular file.
pub fn check_destination(path: &Path) -> Result<(), ModelError> {
    begin(path).map(drop)
}

/// The file that will be replaced, and the empty temporary file beside it.
fn begin(path: &Path) -> Result<(PathBuf, NamedTempFile), ModelError> {
    let fail = |problem: String| Problem::new(problem).in_file(path);
    // The name in `models/` and in `models/.` is `models`, but no file can be renamed to either.
    let ends_with = |name: &OsStr| path.as_os_str().as_encoded_bytes().ends_with(name.as_encoded_bytes());
    if !path.file_name().is_some_and(ends_with) {
        return Err(fail("expected the name of a file".into()));
    }
    let existing = match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => return Err(fail("is a directory, expected the name of a file".into())),
        // Renaming over a device or a pipe would remove it.
        Ok(metadata) if !metadata.is_file() => return Err(fail("is no regular file, cannot be replaced".into())),
        Ok(metadata) => Some(metadata),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(fail(format!("cannot be written: {error}"))),
    };
    let target = match &existing {
        Some(_) => fs::canonicalize(path).map_err(|error| fail(format!("cannot be written: {error}")))?,
        // A link that leads nowhere would be replaced by the file, which is not what it is for.
        None if path.is_symlink() => return Err(fail("is a symbolic link to nowhere".into())),
        None => path.to_owned(),
    };
    let directory = directory_of(&target);
    let mut builder = tempfile::Builder::new();
    builder.prefix(".tapegrad-").suffix(".tmp");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // Masked by the user's umask, as for any new file.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let temporary = builder.tempfile_in(directory).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => fail(format!("no directory {}", shown_path(directory))),
        _ => fail(format!("cannot be written: {error}")),
    })?;
    if let Some(metadata) = existing {
        // A file that may not be written is not replaced either, though a rename could.
        if metadata.permissions().readonly() {
            return Err(fail("is read-only".into()));
        }
        // Nor one that only others may write.
        fs::OpenOptions::new()
            .write(true)
            .open(&target)
            .map_err(|error| fail(format!("cannot be written: {error}")))?;
        let kept = temporary.as_file().set_permissions(metadata.permissions());
        kept.map_err(|error| fail(format!("cannot be written: {error}")))?;
    }
    Ok((target, temporary))
}

/// Renames a whole file that is on the disk to `target`; where that is refused, it is kept under the name it has, which the error says.
fn put_in_place(path: &Path, target: &Path, temporary: NamedTempFile) -> Result<(), ModelError> {
    let Err(refused) = temporary.persist(target) else { return Ok(()) };
    let problem = format!("cannot be written: {}", refused.error);
    // Not everything can be foreseen in `begin`, and what is in the file may have taken hours.
    let problem = match refused.file.keep() {
        Ok((_, kept)) => format!("{problem}; the new file is kept as {}", shown_path(&kept)),
        Err(_) => problem,
    };
    Err(Problem::new(problem).in_file(path))
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Makes a rename survive a loss of power; file systems that cannot are not blamed for it.
fn sync_directory(directory: &Path) -> io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    match File::open(directory).and_then(|file| file.sync_all()) {
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        // A directory that may be written to but not read cannot be opened for this.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        result => result,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_made_and_replaced_and_nothing_else_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("model");
        write_atomically(&path, b"one").unwrap();
        write_atomically(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        check_destination(&path).unwrap();
        check_destination(&directory.path().join("other")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(names(directory.path()), ["model"]);
    }

    #[test]
    fn a_name_without_directory_is_in_the_current_one() {
        assert_eq!(directory_of(Path::new("model")), Path::new("."));
        assert_eq!(directory_of(Path::new("a/model")), Path::new("a"));
        assert_eq!(directory_of(Path::new("/model")), Path::new("/"));
        check_destination(Path::new("tapegrad-test-model-that-is-never-written")).unwrap();
    }

    #[test]
    fn what_is_no_regular_file_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let refusal = |path: &Path| {
            let message = write_atomically(path, b"new").unwrap_err().to_string();
            assert_eq!(check_destination(path).unwrap_err().to_string(), message);
            message
        };
        assert!(refusal(directory.path()).ends_with("is a directory, expected the name of a file"));
        let missing = directory.path().join("no/model");
        assert!(refusal(&missing).contains("no/model: no directory "));
        assert!(refusal(&directory.path().join("..")).ends_with("expected the name of a file"));
        for no_file in ["models/", "models/."] {
            let message = refusal(&directory.path().join(no_file));
            assert!(message.ends_with(&format!("{no_file}: expected the name of a file")), "{message}");
        }
        assert!(names(directory.path()).is_empty());
    }

    #[test]
    fn a_file_that_cannot_be_renamed_is_kept_and_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("model");
        let (target, mut temporary) = begin(&path).unwrap();
        temporary.write_all(b"new").unwrap();
        // What comes into the way in the meantime cannot be foreseen.
        fs::create_dir(&path).unwrap();
        let message = put_in_place(&path, &target, temporary).unwrap_err().to_string();
        let kept = names(directory.path()).into_iter().find(|name| name != "model").unwrap();
        assert!(message.contains("model: cannot be written: ") && message.ends_with(&kept), "{message}");
        assert_eq!(fs::read(directory.path().join(&kept)).unwrap(), b"new");
    }

    #[cfg(unix)]
    #[test]
    fn devices_links_and_permissions_are_respected() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let refusal = write_atomically(Path::new("/dev/null"), b"new").unwrap_err().to_string();
        assert_eq!(refusal, "/dev/null: is no regular file, cannot be replaced");

        let directory = tempfile::tempdir().unwrap();
        let (real, link) = (directory.path().join("real"), directory.path().join("link"));
        symlink("real", &link).unwrap();
        assert!(write_atomically(&link, b"new").is_err(), "a link to nowhere");
        fs::write(&real, b"old").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        write_atomically(&link, b"new").unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read(&real).unwrap(), b"new");
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);

        fs::set_permissions(&real, fs::Permissions::from_mode(0o440)).unwrap();
        assert!(write_atomically(&real, b"newer").unwrap_err().to_string().ends_with("real: is read-only"));
        assert_eq!(fs::read(&real).unwrap(), b"new");
        assert_eq!(names(directory.path()), ["link", "real"]);
    }
}
