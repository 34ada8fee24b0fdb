//! The form of the file: one JSON object a line.
//!
//! `op` and `variant` name the operation; `args` and `kwargs` are the call, in which a tensor is `{"t": .., "wrt": bool}`;
//! `out` is the (first) result, `ct` its cotangent, `grads` the vector-Jacobian products by the tensors with `wrt`, `v`
//! directions, and `grads2` the gradient of the sum of products of `grads` and `v`.

use serde_json::{Map, Value};
use tapegrad::{Shape, Tensor};

/// One call of an operation, and what PyTorch gives for it.
pub(super) struct Sample {
    pub(super) op: String,
    pub(super) variant: String,
    pub(super) args: Vec<Argument>,
    pub(super) kwargs: Vec<(String, Argument)>,
    pub(super) out: Tensor,
    pub(super) ct: Option<Tensor>,
    /// `None` where PyTorch has no gradient.
    pub(super) grads: Vec<Option<Tensor>>,
    pub(super) v: Vec<Option<Tensor>>,
    pub(super) grads2: Option<Vec<Option<Tensor>>>,
}

/// An argument as the file has it.
pub(super) enum Argument {
    Real { value: Tensor, wrt: bool },
    Index { shape: Shape, data: Vec<i64> },
    Number(f64),
    Bool(bool),
    Text(String),
    List(Vec<Argument>),
    None,
}

impl Sample {
    pub(super) fn parse(line: &str) -> Result<Sample, String> {
        let object: Map<String, Value> = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let text = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let tensors = |name: &str| -> Result<Option<Vec<Option<Tensor>>>, String> {
            let Some(Value::Array(values)) = object.get(name) else { return Ok(None) };
            values
                .iter()
                .map(|v| if v.is_null() { Ok(None) } else { tensor(v).map(Some) })
                .collect::<Result<_, _>>()
                .map(Some)
        };
        let args = object.get("args").and_then(Value::as_array).ok_or("expected `args`")?;
        let kwargs = object.get("kwargs").and_then(Value::as_object).ok_or("expected `kwargs`")?;
        Ok(Sample {
            op: text("op"),
            variant: text("variant"),
            args: args.iter().map(argument).collect::<Result<_, _>>()?,
            kwargs: kwargs.iter().map(|(k, v)| Ok((k.clone(), argument(v)?))).collect::<Result<_, String>>()?,
            out: tensor(object.get("out").ok_or("expected `out`")?)?,
            ct: object.get("ct").filter(|v| !v.is_null()).map(tensor).transpose()?,
            grads: tensors("grads")?.unwrap_or_default(),
            v: tensors("v")?.unwrap_or_default(),
            grads2: tensors("grads2")?,
        })
    }
}

fn argument(value: &Value) -> Result<Argument, String> {
    Ok(match value {
        Value::Null => Argument::None,
        Value::Bool(b) => Argument::Bool(*b),
        Value::Number(_) => Argument::Number(number(value)?),
        Value::String(text) => Argument::Text(text.clone()),
        Value::Array(items) => Argument::List(items.iter().map(argument).collect::<Result<_, _>>()?),
        Value::Object(object) => match (object.get("t"), object.get("dtype")) {
            (Some(t), _) if t.get("dtype").and_then(Value::as_str) == Some("i64") => {
                let int = |v: &Value| v.as_i64().ok_or_else(|| format!("expected a whole number, found {v}"));
                Argument::Index { shape: shape(t)?, data: data(t)?.iter().map(int).collect::<Result<_, _>>()? }
            }
            (Some(t), _) => {
                let wrt = object.get("wrt").and_then(Value::as_bool).unwrap_or(false);
                Argument::Real { value: tensor(t)?, wrt }
            }
            (None, Some(Value::String(dtype))) => Argument::Text(dtype.clone()),
            _ => return Err(format!("expected a tensor or a dtype, found {value}")),
        },
    })
}

fn shape(tensor: &Value) -> Result<Shape, String> {
    let dims = tensor.get("shape").and_then(Value::as_array).ok_or("expected a shape")?;
    let dim =
        |v: &Value| v.as_u64().and_then(|d| usize::try_from(d).ok()).ok_or_else(|| format!("not a dimension: {v}"));
    dims.iter().map(dim).collect()
}

fn data(tensor: &Value) -> Result<&[Value], String> {
    tensor.get("data").and_then(Value::as_array).map(Vec::as_slice).ok_or_else(|| "expected data".to_owned())
}

fn tensor(value: &Value) -> Result<Tensor, String> {
    let numbers = data(value)?.iter().map(number).collect::<Result<Vec<f64>, _>>()?;
    Tensor::new(shape(value)?, numbers).map_err(|error| error.to_string())
}

fn number(value: &Value) -> Result<f64, String> {
    let found = match value {
        Value::Bool(b) => Some(f64::from(u8::from(*b))),
        Value::String(text) => match &text[..] {
            "nan" => Some(f64::NAN),
            "inf" => Some(f64::INFINITY),
            "-inf" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => value.as_f64(),
    };
    found.ok_or_else(|| format!("expected a number, found {value}"))
}
