//! The JSON form shared by all reports.

use serde::Serialize;
use serde_json::{Value, json};

/// The version of the JSON format. Every report carries it as `schema`.
pub const SCHEMA: u32 = 2;

/// Returns a report as JSON, with the format version added as `schema`.
pub fn json<T: Serialize>(report: &T) -> Value {
    let mut value = json!({ "schema": SCHEMA });
    if let (Value::Object(into), Ok(Value::Object(from))) = (&mut value, serde_json::to_value(report)) {
        into.extend(from);
    }
    value
}
