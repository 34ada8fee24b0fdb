//! Where tapegrad differs from PyTorch on purpose, and what it does not have. Each entry is looked at only for samples that
//! do not pass, so an entry that is not needed does not show.

use super::sample::{Argument, Sample};

/// Operations of which a part differs for a reason that is not a defect: the operation, the part, the reason.
const DIFFERENT: &[(&str, &str, &str)] = &[
    (
        "nn.functional.softplus",
        "value",
        "PyTorch takes softplus for its argument beyond a threshold (here 0.2); ours is exact without one",
    ),
    (
        "nn.functional.hardsigmoid",
        "first derivative",
        "PyTorch multiplies by 1/6 rounded to single precision, also in double precision",
    ),
    (
        "special.ndtr",
        "value",
        "PyTorch adds 1 to an error function near -1, and has lost all digits at -8.3; ours keeps them in both tails",
    ),
];

/// The reason why a sample that does not pass, for what is said of it, need not.
pub(super) fn differs(sample: &Sample, failure: &str) -> Option<&'static str> {
    let found =
        DIFFERENT.iter().find(|(op, part, _)| *op == sample.op && failure.starts_with(&format!("{part} in f64")));
    found.map(|&(.., reason)| reason)
}

/// The reason why a form of an operation is not supported.
pub(super) fn unsupported(sample: &Sample) -> Option<&'static str> {
    let has_text = |text: &str| sample.args.iter().any(|a| matches!(a, Argument::Text(t) if t == text));
    (sample.op == "norm" && has_text("nuc")).then_some("the nuclear norm needs a singular value decomposition")
}
