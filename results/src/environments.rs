//! Which environment each test needs: the one that it names itself, else the one whose `tests` it is among.

use seagull_domain::{EnvironmentNumber, Manifest, Suite};

use crate::InvalidSelection;
use crate::reading::{Readings, Text};

/// Why it cannot be said what a test needs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unplaced {
    #[error("[environment.{name}] tests: {why}")]
    Pattern { name: String, why: InvalidSelection },
    #[error(
        "{test} needs the environment {name:?}\nhint: there is no [environment.{name}] in seagull.toml{there}"
    )]
    Unknown { test: String, name: String, there: String },
    #[error(
        "{test} is among the tests of [environment.{one}] and of [environment.{other}]\n\
         hint: say which with @pytest.mark.seagull(environment=\"{one}\"), or by other patterns"
    )]
    Both { test: String, one: String, other: String },
    #[error(
        "{one} and {other} are to run in one worker, and need different environments\n\
         hint: they are in one xdist_group, or one needs the other before it; give them the same environment"
    )]
    Torn { one: String, other: String },
}

/// The environment of each test, by number; nothing where no test needs any but the default one.
pub fn environments(manifest: &Manifest, suite: &Suite) -> Result<Vec<EnvironmentNumber>, Unplaced> {
    let mut numbers = vec![None; manifest.len()];
    for needs in &manifest.environments {
        for test in &needs.tests {
            let place = test.0 as usize;
            let number = suite.number_of(&needs.environment).ok_or_else(|| Unplaced::Unknown {
                test: id(manifest, place),
                name: needs.environment.clone(),
                there: there(suite),
            })?;
            numbers[place] = Some((number, true));
        }
    }
    for (name, environment) in suite.environments.iter().filter(|(_, one)| !one.tests.is_empty()) {
        let texts: Result<Vec<_>, _> = environment.tests.iter().map(|text| Text::parse(text)).collect();
        let texts = texts.map_err(|why| Unplaced::Pattern { name: name.clone(), why })?;
        let number = suite.number_of(name).unwrap_or_default();
        place_by(manifest, suite, &texts, (name, number), &mut numbers)?;
    }
    let numbers: Vec<_> =
        numbers.into_iter().map(|found| found.map_or_else(Default::default, |(n, _)| n)).collect();
    let torn = manifest.relations.iter().find_map(|relation| {
        let of = |test: &seagull_domain::TestIndex| numbers[test.0 as usize];
        let first = relation.tests.first()?;
        relation.tests.iter().find(|test| of(test) != of(first)).map(|test| (first.0, test.0))
    });
    if let Some((one, other)) = torn {
        let [one, other] = [one, other].map(|test| id(manifest, test as usize));
        return Err(Unplaced::Torn { one, other });
    }
    let is_default = numbers.iter().all(|number| *number == EnvironmentNumber::default());
    Ok(if is_default { Vec::new() } else { numbers })
}

/// Places the tests that are found by the patterns of an environment, but for those that name one themselves.
fn place_by(
    manifest: &Manifest,
    suite: &Suite,
    texts: &[Text],
    (name, number): (&str, EnvironmentNumber),
    numbers: &mut [Option<(EnvironmentNumber, bool)>],
) -> Result<(), Unplaced> {
    let readings = Readings::of(texts, manifest);
    for (place, (path, suffix)) in manifest.tests().enumerate() {
        let test = format!("{path}{suffix}");
        if !readings.select(path, &test) {
            continue;
        }
        match numbers[place] {
            Some((_, true)) => {}
            Some((before, false)) if before != number => {
                let one = suite.environment(before).map_or("", |(name, _)| name).to_owned();
                return Err(Unplaced::Both { test, one, other: name.to_owned() });
            }
            _ => numbers[place] = Some((number, false)),
        }
    }
    Ok(())
}

fn id(manifest: &Manifest, place: usize) -> String {
    manifest.ids().nth(place).unwrap_or_default()
}

fn there(suite: &Suite) -> String {
    let names: Vec<&str> = suite.environments.keys().map(String::as_str).collect();
    if names.is_empty() { String::new() } else { format!("; there is {}", names.join(", ")) }
}

#[cfg(test)]
mod tests {
    use seagull_domain::{Environment, FileTests, Needs, Relation, TestIndex};

    use super::*;

    fn manifest() -> Manifest {
        let file = |path: &str| FileTests {
            path: path.into(),
            suffixes: ["::a", "::b"].map(str::to_owned).to_vec(),
        };
        Manifest { files: ["tests/db/x.py", "tests/y.py"].map(file).to_vec(), ..Manifest::default() }
    }

    fn suite(environments: &[(&str, &[&str])]) -> Suite {
        let environment = |(name, tests): &(&str, &[&str])| {
            let tests = tests.iter().map(|text| (*text).to_owned()).collect();
            ((*name).to_owned(), Environment { tests, ..Environment::default() })
        };
        Suite { environments: environments.iter().map(environment).collect(), ..Suite::default() }
    }

    fn named(environment: &str, test: u32) -> Vec<Needs> {
        vec![Needs { environment: environment.into(), tests: vec![TestIndex(test)] }]
    }

    fn numbers(manifest: &Manifest, suite: &Suite) -> Vec<u16> {
        environments(manifest, suite).unwrap().into_iter().map(|number| number.0).collect()
    }

    #[test]
    fn a_tests_own_word_wins_over_patterns_and_what_is_left_has_the_default() {
        let suite = suite(&[("db", &["tests/db"]), ("web", &["*::b"]), ("default", &[])]);
        let manifest = Manifest { environments: named("default", 1), ..manifest() };
        assert_eq!(numbers(&manifest, &suite), [1, 0, 0, 2]);
    }

    #[test]
    fn without_environments_nothing_is_said() {
        assert_eq!(numbers(&manifest(), &Suite::default()), [0; 0]);
        assert_eq!(numbers(&manifest(), &suite(&[("db", &["tests/none"])])), [0; 0]);
    }

    #[test]
    fn what_cannot_be_decided_is_an_error_that_names_the_test() {
        let refusal =
            |manifest: &Manifest, suite: &Suite| environments(manifest, suite).unwrap_err().to_string();
        let both = refusal(&manifest(), &suite(&[("db", &["tests/db"]), ("web", &["*::b"])]));
        assert!(
            both.starts_with(
                "tests/db/x.py::b is among the tests of [environment.db] and of [environment.web]\nhint: "
            ),
            "{both}"
        );
        let unknown = Manifest { environments: named("bd", 3), ..manifest() };
        let unknown = refusal(&unknown, &suite(&[("db", &[])]));
        assert_eq!(
            unknown,
            "tests/y.py::b needs the environment \"bd\"\nhint: there is no [environment.bd] in seagull.toml; there is db"
        );
        let relations = vec![Relation { ordered: false, tests: vec![TestIndex(0), TestIndex(2)] }];
        let torn = refusal(&Manifest { relations, ..manifest() }, &suite(&[("db", &["tests/db"])]));
        assert!(torn.starts_with("tests/db/x.py::a and tests/y.py::a are to run in one worker"), "{torn}");
        let strange = refusal(&manifest(), &suite(&[("db", &["/tests"])]));
        assert!(strange.starts_with("[environment.db] tests: invalid selection \"/tests\""), "{strange}");
    }
}
