//! The best weights so far.

use super::EarlyStopping;
use tapegrad::{BindError, Element, State};

/// Watches the validation loss and keeps the weights of the last epoch in which it fell by more than the least that counts.
pub(super) struct Watch<T> {
    settings: EarlyStopping,
    least: f64,
    best_epoch: usize,
    /// Made once; their parameters are overwritten.
    best: Vec<State<T>>,
}

impl<T: Element> Watch<T> {
    /// Keeps what has a place in `states`: all parameters that are trained, and whatever else outputs depend on, for a network may
    /// assign to parameters of its own, and weights are best together with these.
    pub(super) fn new<'a>(settings: EarlyStopping, states: impl Iterator<Item = &'a State<T>>) -> Self
    where
        T: 'a,
    {
        Watch { settings, least: f64::INFINITY, best_epoch: 0, best: states.cloned().collect() }
    }

    /// Takes note of an epoch. Whether it is the best so far, and whether the patience is over.
    pub(super) fn see(&mut self, epoch: usize, loss: f64, state: &State<T>) -> Result<(bool, bool), BindError> {
        if loss < self.least - self.settings.min_delta {
            (self.least, self.best_epoch) = (loss, epoch);
            self.best.iter_mut().try_for_each(|best| best.copy_params_from(state))?;
            return Ok((true, false));
        }
        Ok((false, epoch - self.best_epoch >= self.settings.patience))
    }

    /// Puts the best weights back; the epoch they are of.
    pub(super) fn restore(&self, state: &mut State<T>) -> Result<usize, BindError> {
        self.best.iter().try_for_each(|best| state.copy_params_from(best))?;
        Ok(self.best_epoch)
    }
}
