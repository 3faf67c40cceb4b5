//! What runs a suite's tests.

use seagull_domain::{Built, Framework, SuiteCommands};

use super::Invalid;
use super::scalar::{self, Checked};
use super::spec::arguments;
use crate::v1::suite;
use crate::{limits, v1};

impl From<Framework> for suite::Framework {
    fn from(framework: Framework) -> Self {
        match framework {
            Framework::Pytest => Self::Pytest(v1::Pytest {}),
            Framework::Cargo => Self::Cargo(v1::Cargo {}),
            Framework::Built(Built { list, tree }) => Self::Built(v1::Built { list, tree }),
            Framework::Command(commands) => {
                let SuiteCommands { discover, run, id, batch_ms } = *commands;
                Self::Command(v1::SuiteCommands { discover, run, id, batch_ms })
            }
        }
    }
}

impl TryFrom<suite::Framework> for Framework {
    type Error = Invalid;

    fn try_from(message: suite::Framework) -> Checked<Self> {
        Ok(match message {
            suite::Framework::Pytest(v1::Pytest {}) => Self::Pytest,
            suite::Framework::Cargo(v1::Cargo {}) => Self::Cargo,
            suite::Framework::Built(v1::Built { list, tree }) => Self::Built(Built { list, tree }),
            suite::Framework::Command(commands) => Self::Command(commands.try_into()?),
        })
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
