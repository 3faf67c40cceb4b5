//! Options that take one of a few words, which the completion of shells knows too; and names.

use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use seagull_domain::{Algorithm, Isolation, RunId};

use crate::config;
use crate::framework::Name;
use crate::report::{Color, Output};

fn words<T: Clone + Send + Sync + 'static>(
    words: impl Into<PossibleValuesParser>,
    parse: fn(&str) -> Result<T, String>,
) -> impl TypedValueParser<Value = T> {
    words.into().try_map(move |word| parse(&word))
}

pub fn output() -> impl TypedValueParser<Value = Output> {
    words(["human", "plain", "json"], Output::from_str)
}

pub fn color() -> impl TypedValueParser<Value = Color> {
    words(["auto", "always", "never"], Color::from_str)
}

pub fn framework() -> impl TypedValueParser<Value = Name> {
    words(["pytest", "cargo", "command"], Name::from_str)
}

pub fn algorithm() -> impl TypedValueParser<Value = Algorithm> {
    words(["greedy", "ilp", "auto"], config::algorithm)
}

pub fn isolation() -> impl TypedValueParser<Value = Isolation> {
    words(["slot", "bundle", "test"], config::isolation)
}

/// Whether a flaky test fails the run.
pub fn flaky() -> impl TypedValueParser<Value = bool> {
    words(["ok", "fail"], config::flaky_fails)
}

/// A name for a new run.
pub fn new_run(text: &str) -> Result<RunId, String> {
    match text {
        "last" => Err("last is whichever run was the last: name this one otherwise".to_owned()),
        _ => text.parse().map_err(|error: seagull_domain::InvalidId| error.to_string()),
    }
}
