//! What the tests of a suite run with.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Definition, Environment, EnvironmentNumber, Framework, Impossible, SecretSource, Service};

/// What the settings of a suite say of how its tests run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Suite {
    /// The interpreter; found on the executor if empty.
    #[serde(default)]
    pub python: String,
    /// Variables for the workers.
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
    /// Variables of the client's that the workers have too. Their values are for executors alone: whoever else reads
    /// of the run sees empty ones.
    #[serde(default)]
    pub passed: BTreeMap<String, String>,
    /// Variables whose values only executors know.
    #[serde(default)]
    pub secrets: BTreeMap<String, SecretSource>,
    /// What is prepared once on each executor.
    #[serde(default)]
    pub setup: Option<Setup>,
    /// What runs the tests.
    #[serde(default)]
    pub framework: Framework,
    /// Whether each executor has a controller for the run; the suite shows if None.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller: Option<bool>,
    /// Patterns of files that tests leave for whoever looks into them, relative to where the tests run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub services: BTreeMap<String, Service>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environments: BTreeMap<String, Environment>,
}

/// A command that prepares an executor for the tests, into a directory that is kept for as long as its inputs are the
/// same.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Setup {
    /// Where it runs, and where its inputs are: absolute in place, else relative to the artifact's root.
    pub directory: String,
    /// Program and arguments.
    pub run: Vec<String>,
    /// Patterns of files.
    #[serde(default)]
    pub inputs: Vec<String>,
}

impl Suite {
    /// The environment of what names no other, where there is one of this name; else that is this machine alone.
    pub const DEFAULT: &str = "default";

    /// An environment by its number: the first of those that are named is 1.
    pub fn environment(&self, number: EnvironmentNumber) -> Option<(&str, &Environment)> {
        let found = match number.0.checked_sub(1) {
            None => self.environments.get_key_value(Self::DEFAULT),
            Some(place) => self.named().nth(usize::from(place)),
        };
        found.map(|(name, environment)| (name.as_str(), environment))
    }

    /// The number of the environment of a name.
    pub fn number_of(&self, name: &str) -> Option<EnvironmentNumber> {
        if name == Self::DEFAULT {
            return Some(EnvironmentNumber(0));
        }
        let place = self.named().position(|(of, _)| of == name)?;
        u16::try_from(place + 1).ok().map(EnvironmentNumber)
    }

    /// The name of the environment of a number, whether it needs anything or not.
    pub fn name_of(&self, number: EnvironmentNumber) -> Option<&str> {
        if number.0 == 0 { Some(Self::DEFAULT) } else { self.environment(number).map(|(name, _)| name) }
    }

    /// The numbers of all environments, and the default one's.
    pub fn numbers(&self) -> impl Iterator<Item = EnvironmentNumber> + use<> {
        let last = u16::try_from(self.named().count()).unwrap_or(u16::MAX);
        (0..=last).map(EnvironmentNumber)
    }

    /// An environment with all that it needs; none where that is nothing.
    pub fn definition(&self, number: EnvironmentNumber) -> Result<Option<Definition>, Impossible> {
        let found = self.environment(number);
        found.map(|(name, environment)| Definition::of(name, environment, &self.services)).transpose()
    }

    /// An environment whose tests run in an image, and that, if there is one.
    pub fn first_image(&self) -> Option<(String, String)> {
        let image = |(name, environment): (&String, &Environment)| {
            Some((name.clone(), environment.container.as_ref()?.image.clone()))
        };
        self.environments.iter().find_map(image)
    }

    fn named(&self) -> impl Iterator<Item = (&String, &Environment)> {
        self.environments.iter().filter(|(name, _)| *name != Self::DEFAULT)
    }

    /// As all but executors see it.
    pub fn shown(&self) -> Suite {
        let passed = self.passed.keys().map(|name| (name.clone(), String::new())).collect();
        Suite { passed, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environments_are_numbered_by_name_after_the_default_one() {
        let suite = |names: &[&str]| {
            let environments = names.iter().map(|name| ((*name).to_owned(), Environment::default()));
            Suite { environments: environments.collect(), ..Suite::default() }
        };
        let all = suite(&["web", "default", "cache"]);
        let name = |suite: &Suite, number| {
            suite.environment(EnvironmentNumber(number)).map(|(name, _)| name.to_owned())
        };
        let names: Vec<_> = (0..4).map(|number| name(&all, number)).collect();
        assert_eq!(
            names,
            [Some("default".to_owned()), Some("cache".to_owned()), Some("web".to_owned()), None]
        );
        for number in 0..3 {
            let name = name(&all, number).unwrap();
            assert_eq!(all.number_of(&name), Some(EnvironmentNumber(number)));
        }
        assert_eq!(all.number_of("none"), None);
        let plain = suite(&["web"]);
        assert_eq!((name(&plain, 0), plain.number_of("default")), (None, Some(EnvironmentNumber(0))));
    }
}
