//! The graph as a drawing in the DOT language (Graphviz): boxes for operations, ovals for inputs and parameters, bare numbers
//! for constants.

use super::graph::Graph;
use super::leaf::{CONST, INPUT, PARAM};
use super::op::Attrs;
use std::fmt::Write;

impl Graph {
    /// This graph in the DOT language; render it with `dot -Tsvg`.
    #[must_use]
    pub fn to_dot(&self) -> String {
        let numbers = self.numbering();
        let mut out = String::from(
            "digraph tapegrad {\n  rankdir=BT;\n  ordering=in;\n  node [fontname=\"sans-serif\"];\n  edge [color=gray40];\n",
        );
        for (n, &id) in self.order().iter().enumerate() {
            let node = self.node(id);
            let style = if node.op.is(&INPUT) {
                "shape=oval, style=filled, fillcolor=lightblue1"
            } else if node.op.is(&PARAM) {
                "shape=oval, style=filled, fillcolor=lightgoldenrod1"
            } else if node.op.is(&CONST) {
                "shape=plaintext, height=0.3"
            } else {
                "shape=box"
            };
            let name = self.name(id).map_or(String::new(), |name| format!("{name}\n"));
            let what = match self.attrs(id) {
                Attrs::None => format!("{}\n{}", node.op.name, self.ty(id)),
                Attrs::Scalar(c) if node.op.is(&CONST) => c.to_string(),
                // The shape says it all.
                Attrs::Shape(shape) if shape == self.shape(id) => format!("{}\n{}", node.op.name, self.ty(id)),
                attrs => format!("{} {attrs}\n{}", node.op.name, self.ty(id)),
            };
            // Writing to a string cannot fail.
            let _ = writeln!(out, "  n{n} [{style}, label=\"{}\"];", escape(&format!("{name}{what}")));
            for input in node.inputs {
                let _ = writeln!(out, "  n{} -> n{n};", numbers[input.index()]);
            }
        }
        out.push_str("}\n");
        out
    }
}

/// A label between double quotes: backslashes and quotes escaped, line breaks as DOT writes them.
pub(crate) fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
