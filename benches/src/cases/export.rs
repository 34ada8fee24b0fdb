//! Cases as files, for peers that are not written in Rust.
//!
//! `cases.json` says what each case is; `A.f32` and so on hold its numbers as little-endian `f32` (all are exact): for
//! each layer the weights `[inputs][outputs]` and the biases `[outputs]`, then `x` and `y`.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{Case, Loss};

/// Writes the cases into the directory, which is made if it is not there.
///
/// # Errors
/// If a file cannot be written.
pub fn export(cases: &[Case], directory: &Path) -> std::io::Result<()> {
    fs::create_dir_all(directory)?;
    for case in cases {
        let layers = case.layers.iter().flat_map(|l| l.weights.iter().chain(&l.biases));
        let numbers = layers.chain(&case.x).chain(&case.y);
        let bytes: Vec<u8> = numbers.flat_map(|&x| (x as f32).to_le_bytes()).collect();
        fs::write(directory.join(format!("{}.f32", case.name)), bytes)?;
    }
    let about: Vec<Value> = cases.iter().map(describe).collect();
    fs::write(directory.join("cases.json"), serde_json::to_string_pretty(&about)? + "\n")
}

fn describe(case: &Case) -> Value {
    let widths: Vec<usize> = std::iter::once(case.inputs()).chain(case.layers.iter().map(|l| l.outputs)).collect();
    let loss = match case.loss {
        Loss::Mse => "mse",
        Loss::HalfSse => "half_sse",
        Loss::Bce => "bce",
        Loss::BceWithLogits => "bce_with_logits",
        Loss::CrossEntropy => "cross_entropy",
        Loss::Nll => "nll",
    };
    json!({
        "case": case.name,
        "widths": widths,
        "batch": case.batch,
        "bias": case.bias,
        "loss": loss,
        "learning_rate": case.learning_rate,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn exported_numbers_are_those_of_the_case() {
        let directory = std::env::temp_dir().join(format!("tapegrad-cases-{}", std::process::id()));
        let case = Case::new('D');
        export(std::slice::from_ref(&case), &directory).unwrap();
        let bytes = fs::read(directory.join("D.f32")).unwrap();
        let about: Value = serde_json::from_str(&fs::read_to_string(directory.join("cases.json")).unwrap()).unwrap();
        fs::remove_dir_all(&directory).unwrap();
        let numbers: Vec<f64> =
            bytes.chunks_exact(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect();
        assert_eq!(numbers.len(), 12 + 4 + 4 + 1 + 12 + 4);
        assert_eq!(numbers[..12], case.layers[0].weights);
        assert_eq!(numbers[numbers.len() - 4..], case.y);
        assert_eq!(about[0]["widths"], json!([3, 4, 1]));
        assert_eq!(about[0]["loss"], "half_sse");
    }
}
