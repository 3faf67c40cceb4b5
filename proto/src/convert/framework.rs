//! What runs a suite's tests.

use seagull_domain::{Built, Framework, SuiteCommands};

use super::Invalid;
use super::scalar::{self, Checked};
use super::spec::arguments;
use crate::v1::environment;
use crate::{limits, v1};

pub(super) fn message(framework: Framework) -> Option<environment::Framework> {
    match framework {
        Framework::Pytest => None,
        Framework::Cargo => Some(environment::Framework::Cargo(v1::Cargo { built: None })),
        Framework::Built(Built { list, tree }) => {
            let built = Some(v1::Built { list, tree });
            Some(environment::Framework::Cargo(v1::Cargo { built }))
        }
        Framework::Command(commands) => {
            let SuiteCommands { discover, run, id, batch_ms } = *commands;
            Some(environment::Framework::Command(v1::SuiteCommands { discover, run, id, batch_ms }))
        }
    }
}

pub(super) fn checked(message: Option<environment::Framework>) -> Checked<Framework> {
    match message {
        None => Ok(Framework::Pytest),
        Some(environment::Framework::Cargo(v1::Cargo { built: None })) => Ok(Framework::Cargo),
        Some(environment::Framework::Cargo(v1::Cargo { built: Some(v1::Built { list, tree }) })) => {
            Ok(Framework::Built(Built { list, tree }))
        }
        Some(environment::Framework::Command(commands)) => commands.try_into().map(Framework::Command),
    }
}

impl TryFrom<v1::SuiteCommands> for Box<SuiteCommands> {
    type Error = Invalid;

    fn try_from(message: v1::SuiteCommands) -> Checked<Self> {
        if message.id.is_empty() {
            return Err(Invalid::new("SuiteCommands.id", "is empty"));
        }
        Ok(Box::new(SuiteCommands {
            discover: command(message.discover, "SuiteCommands.discover")?,
            run: command(message.run, "SuiteCommands.run")?,
            id: scalar::text(message.id, limits::WORD_BYTES, "SuiteCommands.id")?,
            batch_ms: scalar::at_most(message.batch_ms, limits::MILLIS, "SuiteCommands.batch_ms")?,
        }))
    }
}

pub(super) fn command(words: Vec<String>, field: &'static str) -> Checked<Vec<String>> {
    if words.first().is_none_or(String::is_empty) {
        return Err(Invalid::new(field, "names no program"));
    }
    arguments(words, field)
}
