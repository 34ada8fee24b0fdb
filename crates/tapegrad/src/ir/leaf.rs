//! The three operations that compute nothing: inputs, parameters and constants.

use super::op::{Attrs, Kernel, OpDef, Rule, TensorType};
use crate::error::{Issue, RecordErrorKind};

fn never(_: &[&TensorType], _: &Attrs) -> Result<TensorType, Issue> {
    Err(Issue::new(RecordErrorKind::Request, "leaves are made by `tape.input`, `tape.param` and `tape.constant`"))
}

macro_rules! leaves {
    ($($(#[doc = $doc:literal])+ $NAME:ident = $name:literal;)+) => {$(
        $(#[doc = $doc])+
        pub(crate) static $NAME: OpDef = OpDef {
            name: $name,
            doc: concat!($($doc, "\n"),+),
            args: &[],
            variadic: false,
            onnx: None,
            infer: never,
            rule: Rule::Zero,
            masks: false,
            kernel: Kernel::Leaf,
            samples: Vec::new,
        };
    )+};
}

leaves! {
    /// A value that may be set before each replay.
    INPUT = "input";
    /// A value kept from replay to replay.
    PARAM = "param";
    /// A value that never changes.
    CONST = "const";
}
