//! Which tests are tried: those of each environment, in the order in which their first ones are discovered.

use seagull_domain::{EnvironmentNumber, Framework, Manifest, Suite};
use seagull_results::{Unplaced, environments};

/// Longer ids are not tried.
const ID_BYTES: usize = 1000;

/// Tests of one environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub environment: EnvironmentNumber,
    /// At least one.
    pub ids: Vec<String>,
}

/// The ids of tests that can be asked for one by one: not those of files that cannot be collected.
pub fn of(manifest: &Manifest, suite: &Suite) -> Result<Vec<Group>, Unplaced> {
    let numbers = environments(manifest, suite)?;
    let is_pytest = suite.framework == Framework::Pytest;
    let mut groups: Vec<Group> = Vec::new();
    for (place, (path, suffix)) in manifest.tests().enumerate() {
        let id = format!("{path}{suffix}");
        if (is_pytest && suffix.is_empty()) || id.len() > ID_BYTES {
            continue;
        }
        let environment = numbers.get(place).copied().unwrap_or_default();
        match groups.iter_mut().find(|group| group.environment == environment) {
            Some(group) => group.ids.push(id),
            None => groups.push(Group { environment, ids: vec![id] }),
        }
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use seagull_domain::{Environment, FileTests};

    use super::*;

    #[test]
    fn each_environment_that_a_test_is_in_is_tried_and_no_other() {
        let file = |path: &str, suffixes: &[&str]| FileTests {
            path: path.into(),
            suffixes: suffixes.iter().map(|suffix| (*suffix).to_owned()).collect(),
        };
        let long = format!("::{}", "x".repeat(ID_BYTES));
        let files = [
            file("web/a.py", &["::a"]),
            file("broken.py", &[""]),
            file("b.py", &["::b", &long]),
            file("web/c.py", &["::c"]),
        ];
        let manifest = Manifest { files: files.to_vec(), ..Manifest::default() };
        let environment = |name: &str| {
            (name.to_owned(), Environment { tests: vec![name.to_owned()], ..Environment::default() })
        };
        let environments = ["empty", "web"].map(environment).into();
        let suite = Suite { environments, ..Suite::default() };
        let group = |environment, ids: &[&str]| Group {
            environment: EnvironmentNumber(environment),
            ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        };
        let expected = [group(2, &["web/a.py::a", "web/c.py::c"]), group(0, &["b.py::b"])];
        assert_eq!(of(&manifest, &suite).unwrap(), expected);
    }
}
