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
        Rule::Custom { .. } | Rule::Fallible { .. } => "written out",
    }
}

/// What is written with the operations above, by subject.
const COMPOSED: &str = "
## Written with these

Their derivatives of every order follow from the operations above. Each has a `try_` twin that returns the error; reductions
end in `_over` where they take axes.

| subject | operations |
|---|---|
| numbers | `sin_cos`, `softplus_with`, `mvlgamma` |
| axes | `transpose`, `swapaxes`, `movedim`, `squeeze`, `unsqueeze`, `flatten`, `flip`, `roll`, `rot90`, `tile`, `unfold` |
| parts | `narrow`, `index`, `split`, `chunk`, `unbind`, `stack`, `hstack`, `vstack`, `pad` |
| diagonals | `diagonal`, `diag`, `trace`, `tril`, `triu` |
| picking | `index_select`, `one_hot`, `masked_fill` |
| reductions | `mean`, `logsumexp`, `amax`, `amin`, `min_over`, `prod`, `var`, `std`, `nansum_over`, `norm`; `sum_keep`, `mean_keep`, `max_keep`, `logsumexp_keep` keep reduced axes |
| running | `cumprod`, `logcumsumexp`, `trapezoid`, `trapezoid_at` |
| products | `dot`, `inner`, `outer`, `kron`, `cross`, `addmm`, `linear`, `bilinear`, `ops::einsum` |
| matrices | `inv`, `matrix_power`, `slogdet` |
| distances | `normalize`, `cosine_similarity`, `cdist` |
| networks | `conv`, `max_pool`, `avg_pool`, `softmax`, `log_softmax`, `layer_norm`, `group_norm`, `instance_norm`, `rms_norm` |
| terms of losses | `l1_loss`, `mse_loss`, `huber_loss`, `smooth_l1_loss`, `binary_cross_entropy`, `binary_cross_entropy_with_logits`, `nll_loss`, `cross_entropy`, `kl_div`, `gaussian_nll_loss`, `poisson_nll_loss`, `hinge_embedding_loss` |

What PyTorch calls them is on the page [Conformance](conformance.md). How exact the functions of numbers are is on the page
[Accuracy](accuracy.md), what they give at zeros, infinities, kinks and ends of their domains on the page [Edges](edges.md). Of
PyTorch's functions of one real number these are left out, until somebody asks: the scaled Bessel functions `i0e` and `i1e`, those
of the second kind, `zeta`, `igamma`, and `entr`, which is `-x.xlogy(x)`.
";

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
    page.push_str(COMPOSED);
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
