//! How every report is put into JSON.

use serde::Serialize;
use serde_json::{Value, json};

/// The number of the JSON format that every report has as `schema`.
pub const SCHEMA: u32 = 2;

/// A report as JSON, with the number of the format.
pub fn json<T: Serialize>(report: &T) -> Value {
    let mut value = json!({ "schema": SCHEMA });
    if let (Value::Object(into), Ok(Value::Object(from))) = (&mut value, serde_json::to_value(report)) {
        into.extend(from);
    }
    value
}
