//! The best weights so far.

use super::EarlyStopping;
use tapegrad::{BindError, Element, State, Var};

/// Watches the validation loss and keeps the weights of the last epoch in which it fell by more than the least that counts.
pub(super) struct Watch<T> {
    settings: EarlyStopping,
    best: f64,
    best_epoch: usize,
    /// One vector per parameter, made once and overwritten.
    weights: Vec<(Var, Vec<T>)>,
}

impl<T: Element> Watch<T> {
    pub(super) fn new(settings: EarlyStopping, params: &[Var], state: &State<T>) -> Result<Self, BindError> {
        let copy = |&param: &Var| Ok((param, state.try_get(param)?.to_vec()));
        let weights = params.iter().map(copy).collect::<Result<_, BindError>>()?;
        Ok(Watch { settings, best: f64::INFINITY, best_epoch: 0, weights })
    }

    /// Takes note of an epoch. Whether it is the best so far, and whether the patience is over.
    pub(super) fn see(&mut self, epoch: usize, loss: f64, state: &State<T>) -> Result<(bool, bool), BindError> {
        if loss < self.best - self.settings.min_delta {
            (self.best, self.best_epoch) = (loss, epoch);
            for (param, weights) in &mut self.weights {
                weights.copy_from_slice(state.try_get(*param)?);
            }
            return Ok((true, false));
        }
        Ok((false, epoch - self.best_epoch >= self.settings.patience))
    }

    /// Puts the best weights back; the epoch they are of.
    pub(super) fn restore(&self, state: &mut State<T>) -> Result<usize, BindError> {
        for (param, weights) in &self.weights {
            state.set(*param, weights)?;
        }
        Ok(self.best_epoch)
    }
}
