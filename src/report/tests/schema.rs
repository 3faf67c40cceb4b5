//! The JSON events against their published schema, read from the file that is shipped.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{json_output, script};
use published::{check, check_event, published};

#[path = "../../../tests/harness/schema.rs"]
mod published;

const PAGE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/events.md"));

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
    let schema = published();
    for line in lines() {
        check_event(&schema, &line).unwrap_or_else(|error| panic!("{error}"));
        check(&schema, &schema, &line).unwrap();
    }
}

#[test]
fn the_schema_the_page_and_the_scripts_know_the_same_events() {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let branches = published()["oneOf"].as_array().unwrap().clone();
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
    let schema = published();
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
