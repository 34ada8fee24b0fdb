//! Owns the estimate of rounding: by how much recorded numbers may be off.

use tapegrad::ir::{Attrs, Graph, NodeId, OpDef};

/// Recorded numbers, made ready for running through once more with the rounding of each step.
#[derive(Debug)]
pub(super) struct Noise {
    steps: Vec<Step>,
    /// Which steps the numbers are.
    roots: Vec<usize>,
    /// The value and how far it may be off, for each step.
    values: Vec<(f64, f64)>,
}

#[derive(Debug)]
enum Step {
    Number(f64),
    Variable(usize),
    /// An operation, its operands as earlier steps, and its fixed argument.
    Call(&'static OpDef, Vec<usize>, Option<f64>),
    /// Something else, of which nothing is known.
    Unknown,
}

impl Noise {
    /// Of the nodes `roots`, which are computed from `variables`.
    pub(super) fn new(graph: &Graph, roots: &[NodeId], variables: &[NodeId]) -> Self {
        let needed = graph.ancestors(roots.iter().copied());
        let mut places = vec![usize::MAX; graph.index_bound()];
        let mut variable_at = vec![None; graph.index_bound()];
        for (variable, id) in variables.iter().enumerate() {
            variable_at[id.index()] = Some(variable);
        }
        let mut steps = Vec::new();
        for &id in graph.order().iter().filter(|id| needed[id.index()]) {
            let attribute = match graph.attrs(id) {
                Attrs::Scalar(number) => Some(*number),
                _ => None,
            };
            let op = graph.op(id);
            let step = match (variable_at[id.index()], op.elementwise()) {
                (Some(variable), _) => Step::Variable(variable),
                (None, Some(_)) => {
                    let operands = graph.inputs(id).iter().map(|input| places[input.index()]).collect();
                    Step::Call(op, operands, attribute)
                }
                (None, None) => attribute.filter(|_| graph.inputs(id).is_empty()).map_or(Step::Unknown, Step::Number),
            };
            places[id.index()] = steps.len();
            steps.push(step);
        }
        let roots = roots.iter().map(|root| places[root.index()]).collect();
        Noise { values: Vec::with_capacity(steps.len()), steps, roots }
    }

    /// How far the first number may be off at a point.
    pub(super) fn at(&mut self, point: &[f64]) -> f64 {
        self.run(point);
        self.roots.first().map_or(0.0, |&root| self.noise(root))
    }

    /// How far each number may be off at a point.
    pub(super) fn all_at(&mut self, point: &[f64]) -> Vec<f64> {
        self.run(point);
        self.roots.iter().map(|&root| self.noise(root)).collect()
    }

    /// What is not known is left to the differences themselves.
    fn noise(&self, step: usize) -> f64 {
        let (_, noise) = self.values[step];
        if noise.is_nan() { 0.0 } else { noise }
    }

    /// Runs through all steps: each operation adds its own rounding to that of its operands, times its slope.
    fn run(&mut self, point: &[f64]) {
        self.values.clear();
        for step in &self.steps {
            let value = match step {
                Step::Number(number) => (*number, 0.0),
                Step::Variable(variable) => (point[*variable], 0.0),
                Step::Unknown => (f64::NAN, 0.0),
                Step::Call(op, operands, attribute) => {
                    let name = op.name;
                    let op = op.elementwise().expect("only such operations are calls");
                    let mut arguments = [0.0; 4];
                    for (argument, &operand) in arguments.iter_mut().zip(operands) {
                        *argument = self.values[operand].0;
                    }
                    if let Some(number) = attribute {
                        arguments[operands.len()] = *number;
                    }
                    let value = (op.scalar_f64)(arguments[0], arguments[1], arguments[2]);
                    let given = &arguments[..operands.len() + usize::from(attribute.is_some())];
                    // A whole power is as many products, each of which may be half an epsilon off.
                    let roundings = if name == "powi" { arguments[operands.len()].abs().max(2.0) } else { 2.0 };
                    let mut noise = roundings * f64::EPSILON * value.abs();
                    for (&operand, partial) in operands.iter().zip(op.partials) {
                        let before = self.values[operand].1;
                        // An infinite slope of what is exact is nothing, and neither is one that there is not.
                        let part = before * partial(given, value).abs();
                        if !part.is_nan() {
                            noise += part;
                        }
                    }
                    (value, noise)
                }
            };
            self.values.push(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tapegrad::Tape;

    #[test]
    fn what_cancels_leaves_its_rounding() {
        let tape = Tape::new();
        let x = tape.input(1e-8);
        let y = x.exp() - 1.0 - x;
        let mut noise = Noise::new(&tape.graph(), &[y.id()], &[x.id()]);
        let found = noise.at(&[1e-8]);
        assert!((1e-16..2e-15).contains(&found), "{found}");
        let sum = (x + 1e9).sin();
        let found = Noise::new(&tape.graph(), &[sum.id()], &[x.id()]).at(&[1e-8]);
        assert!((1e-8..1e-6).contains(&found), "{found}");
        let power = x.powi(3);
        let found = Noise::new(&tape.graph(), &[power.id(), x.id()], &[x.id()]).all_at(&[2.0]);
        assert!((1e-15..1e-14).contains(&found[0]) && found[1] == 0.0, "{found:?}");
        // A thousand products.
        let power = x.powi(-1000);
        let found = Noise::new(&tape.graph(), &[power.id()], &[x.id()]).at(&[1.0]);
        assert_eq!(found, 1000.0 * f64::EPSILON);
    }
}
