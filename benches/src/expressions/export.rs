//! Cases as a file, for peers that are not written in Rust: where each is differentiated, the value and the gradient there.

use std::path::Path;

use serde::Serialize;

use super::check::Reference;
use super::functions::observations;
use super::{Case, shape_of_mixture};

#[derive(Serialize)]
struct Exported<'a> {
    case: &'a str,
    operations: usize,
    point: &'a [f64],
    value: f64,
    gradient: Vec<f64>,
    /// Of a mixture, one after the other.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    observations: Vec<f64>,
    /// Dimensions and components of a mixture.
    #[serde(skip_serializing_if = "Option::is_none")]
    shape: Option<(usize, usize)>,
}

/// Writes the cases of these names to a file, as JSON; the gradients, written by hand, are checked first.
///
/// # Errors
/// If a gradient differs from that of the duals, or the file cannot be written.
pub fn export(names: &[&str], path: &Path) -> Result<(), String> {
    let mut cases: Vec<Case> = names.iter().map(|name| Case::new(name)).collect();
    let mut all = Vec::new();
    for case in &mut cases {
        let mut gradient = vec![0.0; case.point.len()];
        let value = (case.by_hand)(&case.point, &mut gradient);
        Reference::new(case).check("by hand", value, &gradient)?;
        let shape = shape_of_mixture(case.name);
        let observations = shape.map_or(Vec::new(), |(d, _)| observations(d));
        let (case, operations, point) = (case.name, case.operations, &case.point[..]);
        all.push(Exported { case, operations, point, value, gradient, observations, shape });
    }
    let text = serde_json::to_string(&all).map_err(|e| e.to_string())?;
    std::fs::write(path, text + "\n").map_err(|e| format!("cannot write {}: {e}", path.display()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn exported_is_the_case_with_its_gradient() {
        let path = std::env::temp_dir().join(format!("tapegrad-expressions-{}.json", std::process::id()));
        export(&["rosen2", "gmm_d2k5"], &path).unwrap();
        let all: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        std::fs::remove_file(&path).unwrap();
        let case = Case::new("rosen2");
        let [x, y] = case.point[..] else { panic!("two variables") };
        assert_eq!(all[0]["case"], "rosen2");
        let near = |found: &Value, want: f64| (found.as_f64().unwrap() - want).abs() <= 1e-15 * want.abs();
        assert!(near(&all[0]["point"][0], x) && near(&all[0]["point"][1], y), "{}", all[0]["point"]);
        assert!(near(&all[0]["gradient"][1], 200.0 * (y - x * x)), "{}", all[0]["gradient"]);
        assert_eq!(all[0].get("observations"), None);
        assert_eq!(all[1]["observations"].as_array().unwrap().len(), 2000);
        assert_eq!(all[1]["shape"], serde_json::json!([2, 5]));
    }
}
