//! What mistakes are answered with, for tests to compare: messages, in which `L12` stands for line 12 of the test's file.

use std::cell::RefCell;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::Once;

/// A message with every `THE_CALLER'S_FILE:LINE:COLUMN` cut to `LLINE`. A line of another file stays and fails the comparison.
#[track_caller]
fn short(message: &str) -> String {
    let file = format!("{}:", Location::caller().file());
    let mut parts = message.split(&file);
    let mut out = parts.next().expect("a split gives at least one part").to_owned();
    for part in parts {
        let (line, rest) = part.split_once(':').expect("a line and a column");
        let column = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        assert!(column > 0 && line.bytes().all(|b| b.is_ascii_digit()), "not a place in a file: {part}");
        out += &format!("L{line}{}", &rest[column..]);
    }
    out
}

thread_local! {
    /// The file of the last panic of this thread, as the panic hook is told.
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
}

/// The message with which `f` panics, in the caller's file.
#[track_caller]
pub(super) fn panics<R>(f: impl FnOnce() -> R) -> String {
    let message = panics_anywhere(f);
    // Not while it is borrowed: the hook writes to it when an assertion fails.
    let last = LAST.take();
    assert_eq!(last, Location::caller().file(), "the panic itself is in the user's line: {message}");
    message
}

/// The message with which `f` panics.
#[track_caller]
pub(super) fn panics_anywhere<R>(f: impl FnOnce() -> R) -> String {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // A thread that panics while it ends has none any more.
            let _ =
                LAST.try_with(|last| last.replace(panic.location().map(|at| at.file().to_owned()).unwrap_or_default()));
            before(panic);
        }));
    });
    let payload = catch_unwind(AssertUnwindSafe(f)).err().expect("this should panic");
    match payload.downcast_ref::<String>() {
        Some(message) => short(message),
        None => short(payload.downcast_ref::<&str>().expect("a panic with a message")),
    }
}

/// The message of an error.
#[track_caller]
pub(super) fn fails<R: Debug, E: ToString>(result: Result<R, E>) -> String {
    short(&result.expect_err("this should be an error").to_string())
}
