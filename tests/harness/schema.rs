//! The published schema of the JSON events, read from the file that is shipped, and what is wrong with an event by it.

use serde_json::Value;

const SCHEMA: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/events.schema.json"));

pub fn published() -> Value {
    serde_json::from_str(SCHEMA).unwrap()
}

/// What is wrong with an event, by the one entry of its name.
pub fn check_event(root: &Value, event: &Value) -> Result<(), String> {
    let name = &event["event"];
    let entries = root["oneOf"].as_array().ok_or("oneOf is a list")?.iter();
    let mut entries = entries.filter(|entry| entry["properties"]["event"]["const"] == *name);
    match (entries.next(), entries.next()) {
        (Some(entry), None) => check(root, entry, event).map_err(|error| format!("{error}\n{event}")),
        _ => Err(format!("{name} has not one entry")),
    }
}

/// What is wrong with a value, by the part of JSON Schema that ours uses; a keyword beyond that part is wrong too, so
/// that none is passed over.
pub fn check(root: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    let keywords = schema.as_object().ok_or("a schema is an object")?;
    for (keyword, expected) in keywords {
        let list = || expected.as_array().ok_or(format!("{keyword} is a list"));
        let fine = match keyword.as_str() {
            "description" | "title" | "$schema" | "$defs" => true,
            "$ref" => {
                let pointer = expected.as_str().and_then(|r| r.strip_prefix('#')).ok_or("a local $ref")?;
                check(root, root.pointer(pointer).ok_or(format!("no {pointer}"))?, value)?;
                true
            }
            "type" if expected.is_array() => list()?.iter().any(|name| has_type(name, value)),
            "type" => has_type(expected, value),
            "const" => value == expected,
            "enum" => list()?.contains(value),
            "minimum" => value.as_f64() >= expected.as_f64(),
            "anyOf" => list()?.iter().any(|option| check(root, option, value).is_ok()),
            "oneOf" => list()?.iter().filter(|option| check(root, option, value).is_ok()).count() == 1,
            "items" => {
                value.as_array().into_iter().flatten().try_for_each(|item| check(root, expected, item))?;
                true
            }
            "required" => list()?.iter().all(|key| value.get(key.as_str().unwrap()).is_some()),
            "properties" => {
                for (key, part) in expected.as_object().unwrap() {
                    value.get(key).map_or(Ok(()), |value| check(root, part, value))?;
                }
                // The published schema leaves room for fields to come; what is emitted today it has to know.
                value.as_object().is_none_or(|object| object.keys().all(|key| expected.get(key).is_some()))
            }
            _ => return Err(format!("the check does not know {keyword}")),
        };
        if !fine {
            return Err(format!("{keyword} {expected}: {value}"));
        }
    }
    Ok(())
}

fn has_type(name: &Value, value: &Value) -> bool {
    match name.as_str() {
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        Some("null") => value.is_null(),
        _ => false,
    }
}
