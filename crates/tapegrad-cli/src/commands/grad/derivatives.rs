//! Owns the program that computes a formula and its derivatives at any point.

use super::algebras::{Plain, Recorder};
use super::noise::Noise;
use super::report::{Hessian, Report};
use crate::commands::difference::{Measured, derivative};
use crate::failure::Failure;
use crate::formula::Formula;
use tapegrad::ir::{NodeId, OpDef};
use tapegrad::{Passes, Program, State, Tape, Var, pass};

/// A formula with its first and, if wanted, second derivatives, compiled.
#[derive(Debug)]
pub(super) struct Derivatives {
    variables: Vec<Var>,
    value: Var,
    gradient: Vec<Var>,
    hessian: Option<Vec<Vec<Var>>>,
    rounding: Rounding,
    program: Program<f64>,
}

/// By how much rounding may put off what is measured, and the derivatives.
#[derive(Debug)]
struct Rounding {
    value: Noise,
    /// Each number of the gradient, if it is measured for second derivatives.
    components: Vec<Noise>,
    /// The gradient, then the Hessian row by row.
    derivatives: Noise,
}

impl Derivatives {
    /// Records the formula at a point, differentiates it and compiles the lot. The tape must outlive what is made.
    pub(super) fn record(
        tape: &Tape,
        formula: &Formula,
        names: &[&str],
        point: &[f64],
        ops: &[&'static OpDef],
        hessian: bool,
    ) -> Result<Self, Failure> {
        let variables: Vec<Var> = names.iter().zip(point).map(|(name, &x)| tape.input(x).named(name)).collect();
        let value = formula.eval(&variables, &mut Recorder { tape, ops });
        let by: Vec<NodeId> = variables.iter().map(|variable| variable.id()).collect();
        // As it is written, before the engine puts exact operations in the place of what cancels.
        let written = Noise::new(&tape.graph(), &[value.id()], &by);
        let gradient = tape.grad(value, &variables);
        let hessian: Option<Vec<Vec<Var>>> =
            hessian.then(|| gradient.iter().map(|&component| tape.grad(component, &variables)).collect());
        let graph = tape.graph();
        let derivatives: Vec<NodeId> =
            gradient.iter().chain(hessian.iter().flatten().flatten()).map(|var| var.id()).collect();
        let measured = gradient.iter().filter(|_| hessian.is_some());
        let rounding = Rounding {
            value: written,
            components: measured.map(|component| Noise::new(&graph, &[component.id()], &by)).collect(),
            derivatives: Noise::new(&graph, &derivatives, &by),
        };
        drop(graph);
        // The variables too, so that one that nothing depends on is still part of the program and can be set.
        let mut outputs = vec![value];
        outputs.extend(gradient.iter().chain(hessian.iter().flatten().flatten()).chain(&variables));
        let program = tape.compile::<f64>(&outputs).map_err(Failure::other)?;
        Ok(Derivatives { variables, value, gradient, hessian, rounding, program })
    }

    /// What is computed, simplified, as a drawing in the DOT language.
    pub(super) fn to_dot(&self, tape: &Tape, names: &[&str]) -> String {
        let mut outputs = vec![("value".to_owned(), self.value)];
        for (row, (x, &slope)) in names.iter().zip(&self.gradient).enumerate() {
            outputs.push((format!("d/d{x}"), slope));
            for (y, &slope) in names.iter().zip(self.hessian.iter().flat_map(|rows| &rows[row])) {
                outputs.push((format!("d2/d{x}d{y}"), slope));
            }
        }
        let mut graph = tape.graph();
        let mut roots: Vec<NodeId> = outputs.iter().map(|(_, var)| var.id()).collect();
        pass::run(&mut graph, &mut roots, Passes::default());
        // Several outputs may have become one node, or an input.
        for ((name, _), &root) in outputs.iter().zip(&roots) {
            let names = graph.name(root).map_or(name.clone(), |before| format!("{before}, {name}"));
            graph.set_name(root, names);
        }
        graph.to_dot()
    }

    /// The derivatives at a point, and what finite differences say.
    pub(super) fn report(
        self,
        formula: &Formula,
        names: &[&str],
        point: &[f64],
        ops: &[&'static OpDef],
    ) -> Result<Report, Failure> {
        let replay = |state: &mut State<f64>, point: &[f64]| -> Result<(), Failure> {
            for (&variable, &x) in self.variables.iter().zip(point) {
                state.set(variable, &[x]).map_err(Failure::other)?;
            }
            self.program.replay(state).map_err(Failure::other)
        };
        let mut state = self.program.state();
        replay(&mut state, point)?;
        let items = |vars: &[Var]| vars.iter().map(|&var| state.item(var)).collect::<Vec<f64>>();
        let value = state.item(self.value);
        let gradient = items(&self.gradient);
        let rows = self.hessian.as_ref().map(|rows| rows.iter().map(|row| items(row)).collect::<Vec<_>>());
        let Rounding { value: mut written, components, derivatives: mut of_derivatives } = self.rounding;
        let mut gradient_noise = of_derivatives.all_at(point);
        let hessian_noise = gradient_noise.split_off(names.len());
        let along = |axis: usize, f: &mut dyn FnMut(&[f64]) -> (f64, f64)| {
            let mut moved = point.to_vec();
            let at = |x: f64| {
                moved[axis] = x;
                f(&moved)
            };
            derivative(at, point[axis])
        };
        let axes = 0..names.len();
        // The value without the tape, so that the check depends on nothing that it checks.
        let mut plain = |at: &[f64]| (formula.eval(at, &mut Plain { ops }), written.at(at));
        let measured_gradient: Vec<Measured> = axes.clone().map(|axis| along(axis, &mut plain)).collect();
        let hessian = match rows {
            None => None,
            Some(rows) => {
                let mut measured = Vec::with_capacity(rows.len());
                for (component, mut rounding) in self.gradient.iter().zip(components) {
                    let mut slope = |at: &[f64]| match replay(&mut state, at) {
                        Ok(()) => (state.item(*component), rounding.at(at)),
                        Err(_) => (f64::NAN, 0.0),
                    };
                    measured.push(axes.clone().map(|axis| along(axis, &mut slope)).collect());
                }
                let noise = hessian_noise.chunks(names.len().max(1)).map(<[f64]>::to_vec).collect();
                Some(Hessian { rows, noise, measured })
            }
        };
        let variables = names.iter().map(|&name| name.to_owned()).collect();
        Ok(Report { variables, value, gradient, gradient_noise, measured_gradient, hessian })
    }
}
