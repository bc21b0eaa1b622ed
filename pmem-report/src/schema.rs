//! JSON schemas of all reports.

use crate::annotate::Annotated;
use crate::bad::BadRam;
use crate::format::SCHEMA;
use crate::iommu::{IommuRefused, IommuShow, IommuWhy};
use crate::lint::LintLine;
use crate::mtrr::{Plan, Show};
use crate::par::ParPlan;
use crate::pci::{PciDoctor, PciHierarchy, PciLint, PciPrediction, PciReplay, PlacementPlan};
use crate::plug::PlugReport;
use crate::units::{Addr, End};
use crate::{Diff, MemoryReport, Resolve, Topo, View};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema, schema_for};
use serde_json::{Value, json};
use std::borrow::Cow;

impl JsonSchema for Addr {
    fn schema_name() -> Cow<'static, str> {
        "Addr".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^0x[0-9a-f]{1,16}$" })
    }
}

impl JsonSchema for End {
    fn schema_name() -> Cow<'static, str> {
        "End".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^0x[0-9a-f]{1,17}$" })
    }
}

/// Returns the name and JSON schema of every report.
#[must_use]
pub fn schemas() -> Vec<(&'static str, Value)> {
    let all: [(&'static str, Schema); 21] = [
        ("topo", schema_for!(Topo)),
        ("view", schema_for!(View)),
        ("resolve", schema_for!(Resolve)),
        ("diff", schema_for!(Diff)),
        ("annotate", schema_for!(Annotated)),
        ("ram", schema_for!(MemoryReport)),
        ("ram-plug", schema_for!(PlugReport)),
        ("ram-bad", schema_for!(BadRam)),
        ("iommu-show", schema_for!(IommuShow)),
        ("iommu-refused", schema_for!(IommuRefused)),
        ("iommu-why", schema_for!(IommuWhy)),
        ("lint", schema_for!(LintLine)),
        ("mtrr-show", schema_for!(Show)),
        ("mtrr-plan", schema_for!(Plan)),
        ("par-plan", schema_for!(ParPlan)),
        ("pci-plan", schema_for!(PlacementPlan)),
        ("pci-lint", schema_for!(PciLint)),
        ("pci-doctor", schema_for!(PciDoctor)),
        ("pci-predict", schema_for!(PciPrediction)),
        ("pci-replay", schema_for!(PciReplay)),
        ("pci-tree", schema_for!(PciHierarchy)),
    ];
    all.into_iter().map(|(name, schema)| (name, numbered(schema))).collect()
}

/// Adds the format version as a required property, and closes every object to unknown properties.
fn numbered(schema: Schema) -> Value {
    let mut value = schema.to_value();
    close(&mut value);
    if let Some(object) = value.as_object_mut() {
        if let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) {
            properties.insert("schema".to_owned(), json!({ "const": SCHEMA }));
        }
        if let Some(required) = object.get_mut("required").and_then(Value::as_array_mut) {
            required.push(json!("schema"));
        }
    }
    value
}

/// Forbids properties that an object's schema does not name.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            object.values_mut().for_each(close);
            if object.get("type") == Some(&json!("object")) && object.contains_key("properties") {
                object.insert("unevaluatedProperties".to_owned(), json!(false));
            }
        }
        Value::Array(all) => all.iter_mut().for_each(close),
        _ => {}
    }
}
