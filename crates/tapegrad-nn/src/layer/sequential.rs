//! One module after another.

use super::{Module, distinct};
use crate::error::ModelError;
use tapegrad::Var;

/// Modules applied one after another.
///
/// # Examples
///
/// ```
/// use tapegrad::{Tape, Var};
/// use tapegrad_nn::{Activation, Dense, Init, Module, Sequential, random::Rng};
///
/// let (tape, mut rng) = (Tape::new(), Rng::seed(3));
/// let net = Sequential::new()
///     .then(|x: Var| x * 0.1) // functions are modules
///     .then(Dense::random(&tape, [2, 4], Init::XavierUniform, Some(Init::Zeros), &mut rng)?)
///     .then(Activation::Tanh)
///     .then(Dense::random(&tape, [4, 1], Init::XavierUniform, None, &mut rng)?);
/// assert_eq!(net.forward(tape.input([[1.0, 2.0], [3.0, 4.0]])).shape().dims(), &[2, 1]);
/// let names: Vec<_> = net.params().iter().filter_map(|p| p.name()).collect();
/// assert_eq!(names, ["layer1.w", "layer1.b", "layer3.w"]);
/// # Ok::<(), tapegrad_nn::ModelError>(())
/// ```
#[derive(Default)]
pub struct Sequential {
    modules: Vec<Box<dyn Module>>,
}

impl Sequential {
    /// No module: the identity.
    #[must_use]
    pub fn new() -> Self {
        Sequential::default()
    }

    /// Appends a module, and names those of its parameters that have no name after its position.
    #[must_use]
    pub fn then(mut self, module: impl Module + 'static) -> Self {
        module.name_params(&format!("layer{}", self.modules.len()));
        self.modules.push(Box::new(module));
        self
    }

    /// The number of modules.
    #[must_use]
    pub fn len(&self) -> usize {
        self.modules.len()
    }

    /// Whether there is no module.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.modules.is_empty()
    }
}

impl Module for Sequential {
    #[track_caller]
    fn forward(&self, x: Var) -> Var {
        let mut x = x;
        for module in &self.modules {
            x = module.forward(x);
        }
        x
    }

    fn try_forward(&self, x: Var) -> Result<Var, ModelError> {
        let mut x = x;
        for (i, module) in self.modules.iter().enumerate() {
            let named = |error: ModelError| {
                let message = error.to_string();
                ModelError::new(match message.strip_prefix("the network") {
                    Some(rest) => format!("module {i} of the network{rest}"),
                    None => format!("module {i} of the network: {message}"),
                })
            };
            x = module.try_forward(x).map_err(named)?;
        }
        Ok(x)
    }

    fn params(&self) -> Vec<Var> {
        distinct(self.modules.iter().flat_map(|m| m.params()))
    }

    /// Those of the first module that is particular about them, behind others that keep them.
    fn features(&self) -> Option<usize> {
        let particular = self.modules.iter().find(|m| m.features().is_some() || !m.keeps_features())?;
        particular.features()
    }

    fn keeps_features(&self) -> bool {
        self.modules.iter().all(|m| m.keeps_features())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::layer::Dense;
    use tapegrad::Tape;

    #[test]
    fn shared_weights_are_counted_once() {
        let tape = Tape::new();
        let shared = Dense::from_weights(&tape, &[[1.0, 2.0], [3.0, 4.0]].into(), None).unwrap();
        let net = Sequential::new().then(shared).then(shared);
        assert_eq!((net.len(), net.params().len(), net.features()), (2, 1, Some(2)));
        assert_eq!(net.forward(tape.input([[1.0, 0.0]])).value().data(), &[7.0, 10.0]);
    }

    #[test]
    fn nothing_is_the_identity() {
        let tape = Tape::new();
        let x = tape.input([[1.0]]);
        assert!(Sequential::new().forward(x).is_same_as(x));
        assert!(Sequential::new().is_empty());
    }
}
