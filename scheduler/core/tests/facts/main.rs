//! A newer release reads an older journal: facts as release 0.1 wrote them, at least one of each kind.
//!
//! A line of `0.1.jsonl` is never changed again. A new kind, or a new value of an enum, gets a line at the end; a field
//! that a line lacks needs a default.

use seagull_domain::{
    Algorithm, EndCause, Evidence, Framework, InfraCause, Isolation, NotExecuted, Outcome, Probe, Record,
    Role, RunVerdict, Scope, TestCause, Verdict, Workspace,
};
use seagull_scheduler_core::{Fact, What};
use serde::de::DeserializeOwned;
use serde_json::Value;

const WRITTEN: &str = include_str!("0.1.jsonl");

#[test]
fn what_was_written_is_read_and_nothing_of_it_is_dropped() {
    for line in WRITTEN.lines() {
        let fact: Fact = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let again = serde_json::to_value(&fact).unwrap();
        let before: Value = serde_json::from_str(line).unwrap();
        assert!(keeps(&before, &again), "{before}\nhas become\n{again}");
    }
}

/// Whether a value still has all that was in it; objects may have more.
fn keeps(before: &Value, again: &Value) -> bool {
    match (before, again) {
        (Value::Object(before), Value::Object(again)) => before
            .iter()
            .all(|(name, value)| again.get(name).is_some_and(|again| keeps(value, again)) || value.is_null()),
        (Value::Array(before), Value::Array(again)) => {
            before.len() == again.len()
                && before.iter().zip(again).all(|(before, again)| keeps(before, again))
        }
        _ => before == again,
    }
}

#[test]
fn each_kind_of_fact_has_a_line() {
    let kinds: Vec<_> = WRITTEN.lines().map(kind).collect();
    for name in variants::<What>() {
        assert!(kinds.contains(&name), "{name} has no line in 0.1.jsonl");
    }
}

#[test]
fn each_value_that_a_fact_may_have_is_in_a_line() {
    let all = [
        variants::<EndCause>(),
        variants::<Evidence>(),
        variants::<Framework>(),
        variants::<InfraCause>(),
        variants::<Isolation>(),
        variants::<Algorithm>(),
        variants::<NotExecuted>(),
        variants::<Outcome>(),
        variants::<Record>(),
        variants::<Role>(),
        variants::<Probe>(),
        variants::<Scope>(),
        variants::<RunVerdict>(),
        variants::<TestCause>(),
        variants::<Verdict>(),
        variants::<Workspace>(),
    ];
    for name in all.into_iter().flatten() {
        assert!(WRITTEN.contains(&format!("\"{name}\"")), "{name} is in no line of 0.1.jsonl");
    }
}

fn kind(line: &str) -> String {
    let fact: Value = serde_json::from_str(line).unwrap();
    match &fact["what"] {
        Value::String(name) => name.clone(),
        Value::Object(one) => one.keys().next().unwrap().clone(),
        other => panic!("no fact: {other}"),
    }
}

/// The names of an enum's variants, which an error names where none of them is meant.
fn variants<T: DeserializeOwned>() -> Vec<String> {
    let Err(error) = serde_json::from_str::<T>("\"none of them\"") else { panic!("it is one") };
    let names: Vec<_> = error.to_string().split('`').skip(3).step_by(2).map(str::to_owned).collect();
    assert!(names.len() > 1, "{error}");
    names
}
