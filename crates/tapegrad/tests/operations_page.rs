//! The book's page of operations is generated from the declarations and must be fresh.
#![allow(clippy::unwrap_used)]

use std::fmt::Write;
use tapegrad::ir::{Kernel, OpDef, Rule};
use tapegrad::ops::OPS;

fn rule(op: &OpDef) -> &'static str {
    match op.rule {
        Rule::Zero => "none",
        Rule::Partials(_) => "partial derivatives",
        Rule::Linear(_) => "linear",
        Rule::Multilinear(_) => "multilinear",
        Rule::Custom { .. } => "written out",
    }
}

fn page() -> String {
    let mut page = String::from(
        "# Operations\n\nGenerated from the declarations in `crates/tapegrad/src/ops`; each operation is declared once, and this \
         page, its method on `Var`, its kernels,\nits derivative and its tests follow. `derivative` is the kind of rule: partial \
         derivatives (both modes follow), linear or\nmultilinear (only the transpose is written), or both modes written out.\n\n\
         | operation | operands | what it computes | derivative | ONNX |\n|---|---|---|---|---|\n",
    );
    for op in OPS.iter().filter(|op| !matches!(op.kernel, Kernel::Leaf)) {
        let mut operands = op.args.join(", ");
        if op.variadic {
            operands.push_str(", …");
        }
        let doc: Vec<&str> = op.doc.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
        // `|` inside a formula would end the cell.
        let doc = doc.join(" ").replace("[`powi`](crate::Var::powi)", "`powi`").replace('|', "\\|");
        let onnx = op.onnx.unwrap_or("–");
        writeln!(page, "| `{}` | {operands} | {doc} | {} | {onnx} |", op.name, rule(op)).unwrap();
    }
    page.push_str(
        "\nWritten with these: `mean`, `logsumexp`, `softmax`, `log_softmax`, `one_hot`, and the forms that keep reduced axes\n\
         (`sum_keep`, `mean_keep`, `max_keep`, `logsumexp_keep`); of single numbers `sin_cos`, `softplus_with` and `mvlgamma`.\n\n\
         How exact the functions of numbers are is on the page [Accuracy](accuracy.md), what they give at zeros, infinities, kinks and ends\n\
         of their domains on the page [Edges](edges.md). Of PyTorch's functions of one real number these are left out, until somebody asks: the\n\
         scaled Bessel functions `i0e` and `i1e`, those of the second kind, `zeta`, `igamma`, and `entr`, which is `-x.xlogy(x)`.\n",
    );
    page
}

#[test]
fn the_page_of_operations_is_fresh() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/src/operations.md");
    let wanted = page();
    if std::env::var_os("TAPEGRAD_UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &wanted).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(found == wanted, "docs/src/operations.md is stale: run this test with TAPEGRAD_UPDATE_GOLDEN=1");
}

#[test]
fn every_operation_has_its_own_name() {
    let mut names: Vec<&str> = OPS.iter().map(|op| op.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), OPS.len());
}
