//! Small neural networks on [`tapegrad`]: layers, losses and optimisers are recorded expressions, and a whole training
//! step is one program that is replayed without allocation. No derivative is written in this crate.
//!
//! # A short tour
//!
//! A network is recorded on a tape, and trained by a [`Trainer`] on a [`Dataset`]:
//!
//! ```
//! use tapegrad::{Tape, Tensor};
//! use tapegrad_nn::random::{Rng, SPLIT, WEIGHTS};
//! use tapegrad_nn::{Activation, Adam, Dataset, Loss, Mlp, Reduction, Standardizer, Trainer};
//!
//! // Points of the plane, inside or outside a circle.
//! let mut rng = Rng::seed(1);
//! let points = Tensor::from_fn([200, 2], |_| rng.uniform(-3.0, 3.0));
//! let labels: Vec<usize> =
//!     points.data().chunks(2).map(|p| usize::from(p[0] * p[0] + p[1] * p[1] < 4.0)).collect();
//! let (training, validation) = Dataset::classes(points, labels, 2)?.split(0.25, &mut Rng::seed(1).stream(SPLIT))?;
//!
//! // Scales are learned from the training part alone.
//! let scales = Standardizer::fit(training.features())?;
//! let training = training.with_features(scales.apply(training.features())?)?;
//! let validation = validation.with_features(scales.apply(validation.features())?)?;
//!
//! let tape = Tape::new();
//! let net = Mlp::builder([2, 16, 2]).hidden(Activation::Tanh).build(&tape, &mut Rng::seed(1).stream(WEIGHTS))?;
//! let mut trained = Trainer::new(Loss::CrossEntropy, Reduction::Mean, Adam::default(), 0.02)
//!     .batch_size(32)
//!     .epochs(200)
//!     .early_stopping(30, 0.0)
//!     .fit::<f32>(&tape, &net, &training, Some(&validation))?;
//!
//! assert!(trained.validation.and_then(|m| m.accuracy).is_some_and(|accuracy| accuracy > 0.9));
//! let middle = scales.apply(&Tensor::from([[0.1, -0.2]]))?;
//! assert_eq!(trained.predictor.predict_classes(&middle)?, [1]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Nothing in that is closed: a step by hand is the same few calls the trainer makes.
//!
//! ```
//! use tapegrad::Tape;
//! use tapegrad_nn::{Activation, Mlp, Module, Momentum, Optimizer, Reduction, loss::half_sse, random::Rng};
//!
//! let tape = Tape::new();
//! let x = tape.input([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]);
//! let y = tape.input([[0.0], [1.0], [1.0], [0.0]]);
//! let net = Mlp::builder([2, 4, 1]).hidden(Activation::Tanh).build(&tape, &mut Rng::seed(3))?;
//!
//! let loss = half_sse(net.forward(x), y, Reduction::Sum);
//! let grads = tape.grad(loss, &net.params());
//! let lr = tape.input(0.1);
//! Momentum::new(0.9).record(&tape, &net.params(), &grads, lr);
//!
//! let step = tape.compile::<f64>(&[loss])?; // forward, backward and update in one program
//! let mut state = step.state();
//! for _ in 0..1000 {
//!     step.replay(&mut state)?;
//! }
//! assert!(state.item(loss) < 1e-3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where things are
//!
//! | module | what |
//! |---|---|
//! | [`layer`] | [`Module`], [`Dense`], [`Activation`], [`Mlp`], [`Sequential`] |
//! | [`loss`] | six losses, with [`Reduction`] said by the caller |
//! | [`optim`] | [`Sgd`], [`Momentum`], [`Nesterov`], [`RmsProp`], [`Adam`], [`AdamW`]; the trait [`Optimizer`] |
//! | [`schedule`] | learning rates as functions of the epoch |
//! | [`init`], [`random`] | initial weights; seeded streams, NumPy's among them |
//! | [`data`] | [`Dataset`], [`Standardizer`] |
//! | [`train`] | [`Trainer`] |
//! | [`predict`] | [`Predictor`] |
//! | [`metrics`] | [`Metrics`] |

pub mod data;
pub mod error;
pub mod init;
pub mod layer;
pub mod loss;
pub mod metrics;
pub mod optim;
pub mod predict;
pub mod random;
pub mod schedule;
pub mod train;

pub use data::{Dataset, Standardizer, Targets};
pub use error::{DataError, ModelError, OptimError};
pub use init::Init;
pub use layer::{Activation, Dense, Mlp, Module, Sequential};
pub use loss::{Loss, Reduction};
pub use metrics::Metrics;
pub use optim::{Adam, AdamW, Momentum, Nesterov, Optimizer, RmsProp, Sgd};
pub use predict::{PredictError, Predictor};
pub use train::{EpochReport, Stopped, TrainError, Trained, Trainer, Training};
