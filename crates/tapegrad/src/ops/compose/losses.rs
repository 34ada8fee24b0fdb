//! The terms of losses, one for each number of the prediction (or for each row of classes): `.mean()` or `.sum()` makes a
//! loss of them. Prediction and target are not broadcast against each other: \[n\] against \[n, 1\] would silently become n²
//! terms.

use super::{Call, twins};
use crate::error::{Issue, OrRaise, RecordError, RecordErrorKind};
use crate::ir::{DType, Shape, Var};

twins! {
    /// Terms $|x - t|$.
    l1_loss = try_l1_loss(target: Var);
    /// Terms $(x - t)^2$.
    mse_loss = try_mse_loss(target: Var);
    /// Terms $\tfrac12 d^2$ where $d = |x - t|$ is at most $\delta$, and $\delta (d - \tfrac12 \delta)$ beyond.
    huber_loss = try_huber_loss(target: Var, delta: f64);
    /// Terms $\tfrac12 d^2 / \beta$ where $d = |x - t|$ is below $\beta$, and $d - \tfrac12 \beta$ beyond.
    smooth_l1_loss = try_smooth_l1_loss(target: Var, beta: f64);
    /// Terms $-(t \ln p + (1 - t) \ln(1 - p))$, in nats, of probabilities; a probability of 0 or 1 that is right adds 0.
    binary_cross_entropy = try_binary_cross_entropy(target: Var);
    /// Terms $t\,\mathrm{softplus}(-z) + (1-t)\,\mathrm{softplus}(z)$, in nats: the binary cross-entropy of logits, accurate
    /// also where it is confident.
    binary_cross_entropy_with_logits = try_binary_cross_entropy_with_logits(target: Var);
    /// Terms $-l_c$ of log-probabilities \[…, classes\] and labels $c$ \[…\] (indices).
    nll_loss = try_nll_loss(labels: Var);
    /// Terms $-\ln \mathrm{softmax}(z)_c$ of logits \[…, classes\] and labels $c$ \[…\] (indices).
    cross_entropy = try_cross_entropy(labels: Var);
    /// Terms $t (\ln t - l)$ of log-probabilities $l$ and probabilities $t$, the Kullback-Leibler divergence; 0 where $t$ is
    /// 0.
    kl_div = try_kl_div(target: Var);
    /// Terms $\tfrac12 (\ln v + (x - t)^2 / v)$ for a variance $v$, which broadcasts: the negative log-likelihood of a normal
    /// distribution, without its constant.
    gaussian_nll_loss = try_gaussian_nll_loss(target: Var, variance: Var);
    /// Terms $e^l - t l$ for the logarithm $l$ of a rate: the negative log-likelihood of a Poisson distribution, without the
    /// part that only depends on $t$.
    poisson_nll_loss = try_poisson_nll_loss(target: Var);
    /// Terms $x$ for a target of 1 and $\max(0, m - x)$ for one of −1; their sum for any other.
    hinge_embedding_loss = try_hinge_embedding_loss(target: Var, margin: f64);
}

impl Var {
    #[track_caller]
    fn against(self, op: &'static str, target: Var) -> Result<(), RecordError> {
        let call = Call::new(op, ["x", "target"], [self, target]);
        let [x, t] = call.shapes()?;
        if x == t {
            return Ok(());
        }
        let issue =
            Issue::shape(format!("prediction of shape {x} and target of shape {t} differ (a loss does not broadcast)"));
        let same = x.numel() == t.numel();
        call.fails(if same {
            issue.help(format!("reshape one of them; both have {} numbers", x.numel()))
        } else {
            issue
        })
    }

    /// [`Var::l1_loss`], returning the error.
    ///
    /// # Errors
    /// If the shapes differ, or an operand is indices.
    #[track_caller]
    pub fn try_l1_loss(self, target: Var) -> Result<Var, RecordError> {
        self.against("l1_loss", target)?;
        Ok((self - target).abs())
    }

    /// [`Var::mse_loss`], returning the error.
    ///
    /// # Errors
    /// If the shapes differ, or an operand is indices.
    #[track_caller]
    pub fn try_mse_loss(self, target: Var) -> Result<Var, RecordError> {
        self.against("mse_loss", target)?;
        Ok((self - target).square())
    }

    /// [`Var::huber_loss`], returning the error.
    ///
    /// # Errors
    /// If the shapes differ, or an operand is indices.
    #[track_caller]
    pub fn try_huber_loss(self, target: Var, delta: f64) -> Result<Var, RecordError> {
        self.against("huber_loss", target)?;
        let distance = self - target;
        let near = distance.abs().less_equal(self.scalar(delta));
        Ok(near.select(0.5 * distance.square(), delta * (distance.abs() - 0.5 * delta)))
    }

    /// [`Var::smooth_l1_loss`], returning the error.
    ///
    /// # Errors
    /// If the shapes differ, or an operand is indices.
    #[track_caller]
    pub fn try_smooth_l1_loss(self, target: Var, beta: f64) -> Result<Var, RecordError> {
        self.against("smooth_l1_loss", target)?;
        let distance = self - target;
        if beta == 0.0 {
            return Ok(distance.abs());
        }
        let near = distance.abs().less(self.scalar(beta));
        Ok(near.select(distance.square() * (0.5 / beta), distance.abs() - 0.5 * beta))
    }

    /// [`Var::binary_cross_entropy`], returning the error.
    ///
    /// # Errors
    /// If the shapes differ, or an operand is indices.
    #[track_caller]
    pub fn try_binary_cross_entropy(self, target: Var) -> Result<Var, RecordError> {
        self.against("binary_cross_entropy", target)?;
        let (zero, other) = (self.scalar(0.0), 1.0 - target);
        // 0·ln 0 means 0. Only there is the product replaced: elsewhere the derivative by the target counts.
        let hit = |t: Var, p: Var| t.equal(zero) * p.equal(zero);
        let yes = hit(target, self).select(zero, target * self.ln());
        let no = hit(other, 1.0 - self).select(zero, other * (-self).ln_1p());
        Ok(-(yes + no))
    }

    /// [`Var::binary_cross_entropy_with_logits`], returning the error.
    ///
    /// # Errors
    /// If the shapes differ, or an operand is indices.
    #[track_caller]
    pub fn try_binary_cross_entropy_with_logits(self, target: Var) -> Result<Var, RecordError> {
        self.against("binary_cross_entropy_with_logits", target)?;
        Ok(target * (-self).softplus() + (1.0 - target) * self.softplus())
    }

    #[track_caller]
    fn picked(self, op: &'static str, labels: Var, read: fn(Var, Var) -> Var) -> Result<Var, RecordError> {
        let [x] = Call::new(op, ["x"], [self]).shapes()?;
        let call = Call::new(op, ["x", "labels"], [self, labels]);
        labels.shape_for(op)?;
        let ty = labels.ty();
        if ty.dtype != DType::Index {
            let message = format!("expected labels (indices), found real numbers of shape {ty}");
            let issue = Issue::new(RecordErrorKind::Type, message);
            return call.fails(issue.help("record the labels with `tape.index_input(..)`"));
        }
        match x.dims() {
            [rows @ .., classes] if rows == ty.shape.dims() && *classes > 0 => {
                let column: Shape = rows.iter().copied().chain([1]).collect();
                let picked = self.try_take_along_axis(-1, labels.reshape_to(&column));
                Ok(read(self, picked.map_err(|error| error.within(op))?).reshape_to(&ty.shape))
            }
            _ => call.fails(Issue::shape(format!(
                "expected one label per row of the prediction, whose last axis is the classes; found a prediction of shape {x} \
                 and labels of shape {}",
                ty.shape
            ))),
        }
    }

    /// [`Var::nll_loss`], returning the error.
    ///
    /// # Errors
    /// If the labels are not indices, or their shape is not that of the rows.
    #[track_caller]
    pub fn try_nll_loss(self, labels: Var) -> Result<Var, RecordError> {
        self.picked("nll_loss", labels, |_, picked| -picked)
    }

    /// [`Var::cross_entropy`], returning the error.
    ///
    /// # Errors
    /// If the labels are not indices, or their shape is not that of the rows.
    #[track_caller]
    pub fn try_cross_entropy(self, labels: Var) -> Result<Var, RecordError> {
        // Of the log-softmax only what is picked, with the same digits: its other elements are not worked out.
        self.picked("cross_entropy", labels, |x, picked| {
            let shift = x.shift(&[-1]);
            (x - shift).exp().sum_keep(&[-1]).ln() - (picked - shift)
        })
    }

    /// [`Var::kl_div`], returning the error.
    ///
    /// # Errors
    /// If the shapes differ, or an operand is indices.
    #[track_caller]
    pub fn try_kl_div(self, target: Var) -> Result<Var, RecordError> {
        self.against("kl_div", target)?;
        let is_zero = target.equal(self.scalar(0.0));
        let positive = is_zero.select(self.scalar(1.0), target);
        Ok(is_zero.select(self.scalar(0.0), positive * (positive.ln() - self)))
    }

    /// [`Var::gaussian_nll_loss`], returning the error.
    ///
    /// # Errors
    /// If prediction and target differ in shape, the variance does not broadcast with them, or an operand is indices.
    #[track_caller]
    pub fn try_gaussian_nll_loss(self, target: Var, variance: Var) -> Result<Var, RecordError> {
        self.against("gaussian_nll_loss", target)?;
        Call::new("gaussian_nll_loss", ["x", "target", "variance"], [self, target, variance]).broadcast()?;
        Ok(0.5 * (variance.ln() + (self - target).square() / variance))
    }

    /// [`Var::poisson_nll_loss`], returning the error.
    ///
    /// # Errors
    /// If the shapes differ, or an operand is indices.
    #[track_caller]
    pub fn try_poisson_nll_loss(self, target: Var) -> Result<Var, RecordError> {
        self.against("poisson_nll_loss", target)?;
        Ok(self.exp() - target * self)
    }

    /// [`Var::hinge_embedding_loss`], returning the error.
    ///
    /// # Errors
    /// If the shapes differ, or an operand is indices.
    #[track_caller]
    pub fn try_hinge_embedding_loss(self, target: Var, margin: f64) -> Result<Var, RecordError> {
        self.against("hinge_embedding_loss", target)?;
        let zero = self.scalar(0.0);
        let apart = target.equal(self.scalar(1.0)).select(zero, (margin - self).relu());
        Ok(apart + target.equal(self.scalar(-1.0)).select(zero, self))
    }
}
