//! Errors of this crate: one small type per phase, each a lower-case message that says what was expected and what was
//! found.
//!
//! | phase | error |
//! |---|---|
//! | building a network | [`ModelError`] |
//! | recording a loss | [`LossError`](crate::loss::LossError) |
//! | choosing an optimiser's settings | [`OptimError`] |
//! | making data sets | [`DataError`] |
//! | training | [`TrainError`](crate::train::TrainError), which holds the others |
//! | predicting | [`PredictError`](crate::predict::PredictError) |

use std::fmt;

/// Defines an opaque error that is one message.
macro_rules! message_error {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name(String);

        impl $name {
            pub(crate) fn new(message: impl Into<String>) -> Self {
                $name(message.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::error::Error for $name {}
    };
}

message_error! {
    /// A network that cannot be built: sizes, weights or initialisers that do not fit.
    ModelError
}
message_error! {
    /// A setting of an optimiser outside its range.
    OptimError
}
message_error! {
    /// Rows that cannot be learned from: none, of different lengths, not finite, or a label that does not exist.
    DataError
}
