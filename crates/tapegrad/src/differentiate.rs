//! Derivatives as the user asks for them, on a tape: `grad`, `vjp`, `jvp`, `hvp`, `hessian`, `jacobian`, which are recorded, and
//! `value_and_grad`, which is computed at once.
//!
//! Before anything is differentiated, forms that lose digits or overflow are rewritten to their stable equals
//! ([`crate::pass::rewrite`]), because the derivative of a stable form is stable and that of the other is not.

use crate::error::{Issue, OrRaise, RecordError, RecordErrorKind};
use crate::eval::gradient_of_number;
use crate::ir::leaf::CONST;
use crate::ir::{DType, Graph, NodeId, Rewritten, Shape, Tape, Tensor, Var, check_rank};
use crate::transform::Blame;
use crate::{pass, transform};
use smallvec::SmallVec;
use std::panic::Location;

impl Tape {
    /// Records the gradient of a scalar by each of `wrt`; each has the shape of its variable. The results are ordinary
    /// values, so they can be differentiated again.
    ///
    /// The gradient by a variable that `output` does not depend on is zero.
    ///
    /// # Panics
    /// Where [`Tape::try_grad`] returns an error.
    ///
    /// ```
    /// use tapegrad::Tape;
    /// let tape = Tape::new();
    /// let x = tape.input(2.0);
    /// let first = tape.grad(x.powi(3), &[x])[0];
    /// let second = tape.grad(first, &[x])[0];
    /// assert_eq!((first.item(), second.item()), (12.0, 12.0));
    /// ```
    #[must_use]
    #[track_caller]
    pub fn grad(&self, output: Var, wrt: &[Var]) -> Vec<Var> {
        self.try_grad(output, wrt).or_raise()
    }

    /// [`Tape::grad`], returning the error.
    ///
    /// # Errors
    /// If `output` is not a scalar, a variable is indices, a handle is not valid, or `output` is computed from an earlier derivative, taken of a
    /// stable form that leaves a variable out; and if the derivative rule of an operation, or of one within the step of a scan, fails or gives
    /// what it should not.
    #[track_caller]
    pub fn try_grad(&self, output: Var, wrt: &[Var]) -> Result<Vec<Var>, RecordError> {
        let gradients = self.gradient("grad", output, wrt, Location::caller())?;
        self.with(|r| r.gradients.extend(wrt.iter().zip(&gradients).map(|(w, g)| (w.id(), g.id()))));
        Ok(gradients)
    }

    fn gradient(
        &self,
        op: &str,
        output: Var,
        wrt: &[Var],
        at: &'static Location<'static>,
    ) -> Result<Vec<Var>, RecordError> {
        self.need_scalar(op, output, at)?;
        let one = self.with(|r| r.scalar(1.0, at));
        self.reverse(op, output, Var::new(self.key(), one), wrt, at)
    }

    /// What is to have a gradient must be a single real number.
    fn need_scalar(&self, op: &str, output: Var, at: &'static Location<'static>) -> Result<NodeId, RecordError> {
        let id = self.ids(op, &[output], at)?[0];
        self.with(|r| {
            let ty = r.graph.ty(id);
            let issue = if ty.dtype == DType::Index {
                Issue::new(RecordErrorKind::Type, "expected a real number to differentiate, found indices")
            } else if ty.shape.rank() > 0 {
                let message = format!("expected a scalar output (shape []), found shape {ty}");
                Issue::new(RecordErrorKind::Request, message)
                    .help("reduce it (`y.sum()`, `y.mean()`) or give its cotangent: `tape.vjp(y, ct, &[..])`")
            } else {
                return Ok(id);
            };
            Err(RecordError::new(op, issue, at).with_operands(vec![format!("output: {}", r.graph.describe(id))]))
        })
    }

    /// The value of a scalar and its gradient by each of `wrt`, all numbers one after another, at the values recorded: computed at once. This is
    /// for what is recorded anew at every call, on a tape that is [cleared](Tape::clear) in between, and takes a tenth to a thirtieth of the
    /// time of [`Tape::grad`].
    ///
    /// As there, forms that lose digits are rewritten first. But for these nothing is recorded, if all on the tape up to `output` are single
    /// numbers, all that leads to it are elementwise operations with [partial derivatives](crate::ir::Elementwise::partials), and no zero
    /// meets an infinity; else the gradient is recorded and evaluated.
    ///
    /// # Panics
    /// Where [`Tape::try_value_and_grad`] returns an error.
    ///
    /// ```
    /// use tapegrad::Tape;
    /// let tape = Tape::new();
    /// for steps in 1..4 {
    ///     tape.clear();
    ///     let x = tape.input(2.0);
    ///     let y = (0..steps).fold(x, |y, _| y * x);
    ///     let (value, gradient) = tape.value_and_grad(y, &[x]);
    ///     assert_eq!((value, gradient[0]), (2_f64.powi(steps + 1), f64::from(steps + 1) * 2_f64.powi(steps)));
    /// }
    /// ```
    #[must_use]
    #[track_caller]
    pub fn value_and_grad(&self, output: Var, wrt: &[Var]) -> (f64, Vec<f64>) {
        self.try_value_and_grad(output, wrt).or_raise()
    }

    /// [`Tape::value_and_grad`], returning the error.
    ///
    /// # Errors
    /// As [`Tape::try_grad`], and if a row is picked by an index out of range.
    #[track_caller]
    pub fn try_value_and_grad(&self, output: Var, wrt: &[Var]) -> Result<(f64, Vec<f64>), RecordError> {
        let (op, at) = ("value_and_grad", Location::caller());
        let id = self.need_scalar(op, output, at)?;
        let ids = self.ids(op, wrt, at)?;
        self.need_variables(op, &ids, at)?;
        self.refuse_bypassed(op, &[id], &ids, at)?;
        self.rewrite_by(pass::rewrite_unstable_for, &[id], &ids);
        if let Some(found) = output.with_apart(op, at, |r| gradient_of_number(r, id, &ids))? {
            return Ok(found);
        }
        let mut numbers = Vec::new();
        for gradient in self.gradient(op, output, wrt, at)? {
            numbers.extend_from_slice(gradient.try_tensor(at)?.data());
        }
        Ok((output.try_tensor(at)?.item(), numbers))
    }

    /// Records the vector-Jacobian product: the cotangents of `wrt` that follow from the cotangent `ct` of `output`.
    ///
    /// # Panics
    /// Where [`Tape::try_vjp`] returns an error.
    #[must_use]
    #[track_caller]
    pub fn vjp(&self, output: Var, ct: Var, wrt: &[Var]) -> Vec<Var> {
        self.try_vjp(output, ct, wrt).or_raise()
    }

    /// [`Tape::vjp`], returning the error.
    ///
    /// # Errors
    /// If `ct` has another shape than `output`, and as [`Tape::try_grad`], but for outputs that are no scalars.
    #[track_caller]
    pub fn try_vjp(&self, output: Var, ct: Var, wrt: &[Var]) -> Result<Vec<Var>, RecordError> {
        self.reverse("vjp", output, ct, wrt, Location::caller())
    }

    fn reverse(
        &self,
        op: &str,
        output: Var,
        ct: Var,
        wrt: &[Var],
        at: &'static Location<'static>,
    ) -> Result<Vec<Var>, RecordError> {
        let ids = self.ids(op, &[output, ct], at)?;
        let wrt_ids = self.ids(op, wrt, at)?;
        self.need_real(op, &[ids[0]], at)?;
        self.need_variables(op, &wrt_ids, at)?;
        self.need_equal_types(op, ("cotangent", "output"), ids[1], ids[0], at)?;
        let _blame = Blame::on(self.key(), at)?;
        self.refuse_bypassed(op, &[ids[0]], &wrt_ids, at)?;
        let before = self.rewrite(&[ids[0]], &wrt_ids);
        let cotangents = transform::vjp(self.key(), &[(ids[0], ct)], false, &wrt_ids, at)?;
        self.derived((&[ids[0]], &wrt_ids), &cotangents, before, at);
        Ok(self.or_zeros(cotangents, wrt))
    }

    /// Records the Jacobian-vector product: the tangent of each of `outputs` when the `wrt` move along `tangents`.
    ///
    /// # Panics
    /// Where [`Tape::try_jvp`] returns an error.
    ///
    /// ```
    /// use tapegrad::Tape;
    /// let tape = Tape::new();
    /// let x = tape.input([1.0, 2.0]);
    /// let y = x * x;
    /// let direction = tape.constant([1.0, 0.5]);
    /// assert_eq!(tape.jvp(&[y], &[x], &[direction])[0].value().data(), &[2.0, 2.0]);
    /// ```
    #[must_use]
    #[track_caller]
    pub fn jvp(&self, outputs: &[Var], wrt: &[Var], tangents: &[Var]) -> Vec<Var> {
        self.try_jvp(outputs, wrt, tangents).or_raise()
    }

    /// [`Tape::jvp`], returning the error.
    ///
    /// # Errors
    /// If a tangent is missing or has another shape than its variable, and as [`Tape::try_grad`], but for outputs that are no scalars.
    #[track_caller]
    pub fn try_jvp(&self, outputs: &[Var], wrt: &[Var], tangents: &[Var]) -> Result<Vec<Var>, RecordError> {
        self.forward("jvp", outputs, wrt, tangents, Location::caller())
    }

    fn forward(
        &self,
        op: &str,
        outputs: &[Var],
        wrt: &[Var],
        tangents: &[Var],
        at: &'static Location<'static>,
    ) -> Result<Vec<Var>, RecordError> {
        let (outs, ids) = (self.ids(op, outputs, at)?, self.ids(op, wrt, at)?);
        let tangent_ids = self.ids(op, tangents, at)?;
        if ids.len() != tangent_ids.len() {
            let message =
                format!("expected one tangent for each variable, found {} for {}", tangent_ids.len(), ids.len());
            return Err(RecordError::new(op, Issue::new(RecordErrorKind::Arity, message), at));
        }
        self.need_real(op, &outs, at)?;
        self.need_variables(op, &ids, at)?;
        for (&id, &tangent) in ids.iter().zip(&tangent_ids) {
            self.need_equal_types(op, ("tangent", "variable"), tangent, id, at)?;
        }
        let _blame = Blame::on(self.key(), at)?;
        self.refuse_bypassed(op, &outs, &ids, at)?;
        let before = self.rewrite(&outs, &ids);
        let pairs: SmallVec<[(NodeId, Var); 4]> = ids.iter().copied().zip(tangents.iter().copied()).collect();
        let results = transform::jvp(self.key(), &pairs, false, &outs, at)?;
        self.derived((&outs, &ids), &results, before, at);
        Ok(self.or_zeros(results, outputs))
    }

    /// Records the Hessian-vector product of a scalar: how its gradient by `wrt` changes when the `wrt` move along
    /// `directions`; forward over reverse, at a small multiple of the cost of the gradient.
    ///
    /// # Panics
    /// As [`Tape::grad`] and [`Tape::jvp`], and if one of `wrt` is computed from another.
    #[must_use]
    #[track_caller]
    pub fn hvp(&self, output: Var, wrt: &[Var], directions: &[Var]) -> Vec<Var> {
        self.try_hvp(output, wrt, directions).or_raise()
    }

    /// [`Tape::hvp`], returning the error.
    ///
    /// # Errors
    /// As [`Tape::try_grad`] and [`Tape::try_jvp`], and if one of `wrt` is computed from another: a gradient counts what flows through the
    /// other, a tangent does not, so together they would be the second derivative of nothing.
    #[track_caller]
    pub fn try_hvp(&self, output: Var, wrt: &[Var], directions: &[Var]) -> Result<Vec<Var>, RecordError> {
        let at = Location::caller();
        self.need_independent("hvp", &self.ids("hvp", wrt, at)?, at)?;
        let gradients = self.gradient("hvp", output, wrt, at)?;
        self.forward("hvp", &gradients, wrt, directions, at)
    }

    /// Records the Jacobian of `output` by `wrt`, of shape `output.shape() ++ wrt.shape()`: one reverse sweep for each
    /// element of the output, or one forward sweep for each element of the variable, whichever is fewer.
    ///
    /// # Panics
    /// Where [`Tape::try_jacobian`] returns an error.
    ///
    /// ```
    /// use tapegrad::Tape;
    /// let tape = Tape::new();
    /// let x = tape.input([1.0, 2.0]);
    /// assert_eq!(tape.jacobian(x * x.sum(), x).value().to_string(), "[[4, 1], [2, 5]]");
    /// ```
    #[must_use]
    #[track_caller]
    pub fn jacobian(&self, output: Var, wrt: Var) -> Var {
        self.try_jacobian(output, wrt).or_raise()
    }

    /// [`Tape::jacobian`], returning the error.
    ///
    /// # Errors
    /// If the ranks add up to more than 8, and as [`Tape::try_vjp`].
    #[track_caller]
    pub fn try_jacobian(&self, output: Var, wrt: Var) -> Result<Var, RecordError> {
        self.strips("jacobian", output, wrt, Location::caller())
    }

    /// A Jacobian, strip by strip.
    fn strips(&self, op: &str, output: Var, wrt: Var, at: &'static Location<'static>) -> Result<Var, RecordError> {
        let ids = self.ids(op, &[output, wrt], at)?;
        self.need_real(op, &ids[..1], at)?;
        self.need_variables(op, &ids[1..], at)?;
        let (out, arg) = self.with(|r| (r.graph.shape(ids[0]).clone(), r.graph.shape(ids[1]).clone()));
        let shape: Shape = out.dims().iter().chain(arg.dims()).copied().collect();
        check_rank(op, &shape, at)?;
        if shape.checked_numel().is_none() {
            let issue = Issue::shape(format!("the result of shape {shape} would not fit in memory"));
            return Err(RecordError::new(op, issue, at));
        }
        let _blame = Blame::on(self.key(), at)?;
        let (n_out, n_arg) = (out.numel(), arg.numel());
        let unit = |shape: &Shape, i: usize| self.constant(Tensor::from_fn(shape, |j| if i == j { 1.0 } else { 0.0 }));
        let reverse = n_out <= n_arg;
        let strip = |i: usize| -> Result<Var, RecordError> {
            Ok(if reverse {
                self.reverse(op, output, unit(&out, i), &[wrt], at)?[0].reshape([1, n_arg.cast_signed()])
            } else {
                self.forward(op, &[output], &[wrt], &[unit(&arg, i)], at)?[0].reshape([n_out.cast_signed(), 1])
            })
        };
        let strips = (0..n_out.min(n_arg)).map(strip).collect::<Result<Vec<Var>, _>>()?;
        let matrix = match strips.len() {
            0 => self.constant(Tensor::zeros([n_out, n_arg])),
            _ => Var::concat(&strips, if reverse { 0 } else { 1 }),
        };
        matrix.try_reshape(&shape.dims().iter().map(|d| d.cast_signed()).collect::<Vec<_>>())
    }

    /// Records the Hessian of a scalar by `wrt`, of shape `wrt.shape() ++ wrt.shape()`.
    ///
    /// # Panics
    /// As [`Tape::grad`] and [`Tape::jacobian`].
    #[must_use]
    #[track_caller]
    pub fn hessian(&self, output: Var, wrt: Var) -> Var {
        self.try_hessian(output, wrt).or_raise()
    }

    /// [`Tape::hessian`], returning the error.
    ///
    /// # Errors
    /// As [`Tape::try_grad`] and [`Tape::try_jacobian`].
    #[track_caller]
    pub fn try_hessian(&self, output: Var, wrt: Var) -> Result<Var, RecordError> {
        let at = Location::caller();
        let gradient = self.gradient("hessian", output, &[wrt], at)?[0];
        self.strips("hessian", gradient, wrt, at)
    }

    /// Rewrites to stable forms, but for those that `wrt` is an inner part of, which are written back. Values known of the old
    /// forms are forgotten. Returns how many nodes there are then.
    pub(crate) fn rewrite(&self, roots: &[NodeId], wrt: &[NodeId]) -> usize {
        self.rewrite_by(pass::rewrite_for, roots, wrt)
    }

    fn rewrite_by(
        &self,
        rewrite: fn(&mut Graph, &[NodeId], &[NodeId], &mut Rewritten) -> bool,
        roots: &[NodeId],
        wrt: &[NodeId],
    ) -> usize {
        self.with(|r| {
            let back = pass::around(&r.rewritten, &r.graph, &inner(&r.graph, wrt));
            let undone = r.rewritten.undo(&mut r.graph, &back);
            if rewrite(&mut r.graph, roots, wrt, &mut r.rewritten) || undone {
                r.values.clear();
            }
            r.graph.order().len()
        })
    }

    /// Refuses roots that are computed from a derivative that bypasses a `wrt`.
    fn refuse_bypassed(
        &self,
        op: &str,
        roots: &[NodeId],
        wrt: &[NodeId],
        at: &'static Location<'static>,
    ) -> Result<(), RecordError> {
        self.with(|r| match pass::bypassed(&r.rewritten, &r.graph, roots, &inner(&r.graph, wrt)) {
            None => Ok(()),
            Some((id, line)) => {
                let message = format!(
                    "the derivative recorded at {line} was taken of a stable form that does not pass through the variable"
                );
                let issue = Issue::new(RecordErrorKind::Request, message)
                    .help("if it is a gradient, name the variable there too: `tape.grad(y, &[x, variable])`");
                Err(RecordError::new(op, issue, at).with_operands(vec![r.graph.describe(id)]))
            }
        })
    }

    /// Writes the forms that recorded comparisons depend on as they were recorded; whether any was written otherwise.
    pub(crate) fn write_back_compared(&self) -> bool {
        self.with(|r| {
            let sides = r.guards.iter().flat_map(|guard| [guard.lhs, guard.rhs]);
            let back = pass::behind(&r.rewritten, &r.graph, sides);
            let undone = r.rewritten.undo(&mut r.graph, &back);
            if undone {
                r.values.clear();
            }
            undone
        })
    }

    /// Ends a transform of some values by others that began when there were `before` nodes. In debug builds the graph is checked.
    fn derived(
        &self,
        taken: (&[NodeId], &[NodeId]),
        results: &[Option<Var>],
        before: usize,
        at: &'static Location<'static>,
    ) {
        self.with(|r| {
            pass::derived(&mut r.rewritten, &r.graph, taken, results.iter().flatten().map(|v| v.id()), before, at);
            if cfg!(debug_assertions) {
                crate::ir::verify(&r.graph).expect("transforms keep the graph valid");
            }
        });
    }

    fn or_zeros(&self, found: Vec<Option<Var>>, like: &[Var]) -> Vec<Var> {
        let zeros = |v: &Var| v.scalar(0.0).broadcast_to(v.shape());
        found.into_iter().zip(like).map(|(f, v)| f.unwrap_or_else(|| zeros(v))).collect()
    }

    fn need_real(&self, op: &str, ids: &[NodeId], at: &'static Location<'static>) -> Result<(), RecordError> {
        self.with(|r| match ids.iter().find(|&&id| r.graph.ty(id).dtype == DType::Index) {
            None => Ok(()),
            Some(&id) => {
                let issue = Issue::new(RecordErrorKind::Type, "expected real numbers to differentiate, found indices");
                Err(RecordError::new(op, issue, at).with_operands(vec![r.graph.describe(id)]))
            }
        })
    }

    /// What is differentiated by must be real, and no constant: equal constants are one node, whoever wrote them, so the
    /// derivative by one would mix them up.
    fn need_variables(&self, op: &str, ids: &[NodeId], at: &'static Location<'static>) -> Result<(), RecordError> {
        self.need_real(op, ids, at)?;
        self.with(|r| match ids.iter().find(|&&id| r.graph.node(id).op.is(&CONST)) {
            None => Ok(()),
            Some(&id) => {
                let issue = Issue::new(RecordErrorKind::Request, "there is no derivative by a constant")
                    .help("record it with `tape.input(..)` or `tape.param(..)`");
                Err(RecordError::new(op, issue, at).with_operands(vec![r.graph.describe(id)]))
            }
        })
    }

    fn need_independent(&self, op: &str, ids: &[NodeId], at: &'static Location<'static>) -> Result<(), RecordError> {
        self.with(|r| {
            if ids.len() < 2 || !ids.iter().any(|&id| pass::may_be_inner(&r.graph, id)) {
                return Ok(());
            }
            if let Some(found) = pass::dependent(&r.rewritten, &r.graph, ids) {
                let message = "one variable is computed from another";
                let issue = Issue::new(RecordErrorKind::Request, message).help("leave out the first of them");
                let operands = found.map(|id| r.graph.describe(id)).to_vec();
                return Err(RecordError::new(op, issue, at).with_operands(operands));
            }
            Ok(())
        })
    }

    fn need_equal_types(
        &self,
        op: &str,
        (what, of): (&str, &str),
        found: NodeId,
        wanted: NodeId,
        at: &'static Location<'static>,
    ) -> Result<(), RecordError> {
        self.with(|r| {
            let (found_ty, wanted_ty) = (r.graph.ty(found), r.graph.ty(wanted));
            if found_ty == wanted_ty {
                return Ok(());
            }
            let issue =
                Issue::shape(format!("a {what} of shape {found_ty} does not fit its {of} of shape {wanted_ty}"));
            let operands =
                vec![format!("{of}: {}", r.graph.describe(wanted)), format!("{what}: {}", r.graph.describe(found))];
            Err(RecordError::new(op, issue, at).with_operands(operands))
        })
    }
}

/// Those that may be inside a form.
fn inner(graph: &Graph, ids: &[NodeId]) -> SmallVec<[NodeId; 4]> {
    ids.iter().copied().filter(|&id| pass::may_be_inner(graph, id)).collect()
}
