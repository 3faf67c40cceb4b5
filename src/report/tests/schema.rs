//! The JSON events against their published schema, read from the file that is shipped.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{json_output, script};

const SCHEMA: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/events.schema.json"));
const PAGE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/events.md"));

fn schema() -> Value {
    serde_json::from_str(SCHEMA).unwrap()
}

/// What is wrong with a value, by the part of JSON Schema that ours uses; a keyword beyond that part is wrong too, so
/// that none is passed over.
fn check(root: &Value, schema: &Value, value: &Value) -> Result<(), String> {
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

/// Every line of every script.
fn lines() -> Vec<Value> {
    script::all()
        .iter()
        .flat_map(|script| json_output(script).lines().map(str::to_owned).collect::<Vec<_>>())
        .map(|line| serde_json::from_str(&line).unwrap())
        .collect()
}

#[test]
fn every_event_is_as_the_schema_says() {
    let schema = schema();
    for line in lines() {
        let name = &line["event"];
        let branch = schema["oneOf"].as_array().unwrap().iter();
        let branch = branch.filter(|branch| branch["properties"]["event"]["const"] == *name);
        let branch: Vec<_> = branch.collect();
        assert_eq!(branch.len(), 1, "{name} has one entry");
        if let Err(error) = check(&schema, branch[0], &line) {
            panic!("{error}\n{line}");
        }
        check(&schema, &schema, &line).unwrap();
    }
}

#[test]
fn the_schema_the_page_and_the_scripts_know_the_same_events() {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let branches = schema()["oneOf"].as_array().unwrap().clone();
    let described: BTreeSet<_> = branches.iter().map(|b| text(&b["properties"]["event"]["const"])).collect();
    let emitted: BTreeSet<_> = lines().iter().map(|line| text(&line["event"])).collect();
    assert_eq!(described, emitted);
    let rows = PAGE.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let fields = ["event", "seq", "run"].map(str::to_owned);
    let explained: BTreeSet<_> = rows.map(str::to_owned).filter(|row| !fields.contains(row)).collect();
    assert_eq!(described, explained);
}

#[test]
fn a_missing_a_wrong_and_an_unknown_field_are_refused() {
    let schema = schema();
    for line in lines() {
        for key in line.as_object().unwrap().keys() {
            let mut without = line.clone();
            without.as_object_mut().unwrap().remove(key);
            assert!(check(&schema, &schema, &without).is_err(), "without {key}: {line}");
            let mut wrong = line.clone();
            wrong[key] = json!({"wrong": [1]});
            assert!(check(&schema, &schema, &wrong).is_err(), "wrong {key}: {line}");
        }
        let mut more = line.clone();
        more["more"] = json!(1);
        assert!(check(&schema, &schema, &more).is_err());
    }
}
