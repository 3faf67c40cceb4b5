//! The manifest: the tests of a run, in the framework's final order.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use crate::TestIndex;

/// The tests discovered for a run. Consecutive tests of one file share its path, so that a quarter of a million ids
/// stay small.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Manifest {
    pub files: Vec<FileTests>,
    /// Relations the framework told of (`xdist_group`, dependencies), by index in this manifest.
    #[serde(default)]
    pub relations: Vec<Relation>,
    /// Tests that name the environment that they need.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environments: Vec<Needs>,
    /// What the suite's hooks made of a file's tests, as a digest of the adapter's, of the files where they changed any. A
    /// worker that collects a file at a time holds what they do then against it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hooked: BTreeMap<String, String>,
    /// Files that are skipped whole: they have no test, so no entry and no verdict.
    #[serde(default)]
    pub skipped_modules: Vec<SkippedModule>,
    /// What a person should know of the discovery (duplicate ids, fewer tests than last time), a sentence each.
    #[serde(default)]
    pub warnings: Vec<String>,
    #[serde(default, skip_serializing_if = "Asked::is_nothing")]
    pub asked: Asked,
    /// What it was found with besides the suite's files and arguments (interpreter, plugins, configuration), in the
    /// framework's words; empty where it does not say.
    #[serde(default, alias = "environment", skip_serializing_if = "String::is_empty")]
    pub found_with: String,
}

/// What the suite's own options ask of the run as a whole, for no worker could do it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Asked {
    /// Stop after so many failed tests, if the run's own options do not say (`--maxfail`).
    #[serde(default)]
    pub fail_fast: Option<u32>,
    /// Only the tests that failed last time (`--last-failed`).
    #[serde(default)]
    pub last_failed: Option<WithoutFailures>,
    /// The tests that failed last time before the others (`--failed-first`).
    #[serde(default)]
    pub failed_first: bool,
    /// Only what has not passed yet (`--stepwise`).
    #[serde(default)]
    pub stepwise: bool,
    /// Where a JUnit report is expected, on the machine that discovered (`--junitxml`).
    #[serde(default)]
    pub junit: Option<String>,
    /// Where an HTML report is, likewise (`--html`).
    #[serde(default)]
    pub html: Option<String>,
    /// Combine and report what workers measure of the coverage (`--cov`). An interpreter that can, for a run in place: no
    /// other machine may say what is started here.
    #[serde(default)]
    pub coverage: Option<String>,
}

/// What `--last-failed` leaves where nothing is known to have failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WithoutFailures {
    All,
    None,
}

impl Asked {
    pub fn is_nothing(&self) -> bool {
        *self == Asked::default()
    }
}

/// A stretch of tests of one file. A test's id is `path` followed by its suffix (`::TestA::test_x[1]`); an entry for a
/// file that cannot be collected has the empty suffix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileTests {
    pub path: String,
    pub suffixes: Vec<String>,
}

/// Tests that belong on one worker; see the vocabulary of *together* and *ordered*.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relation {
    pub ordered: bool,
    pub tests: Vec<TestIndex>,
}

/// Tests that need an environment, by its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needs {
    pub environment: String,
    pub tests: Vec<TestIndex>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedModule {
    pub path: String,
    pub reason: String,
}

impl Manifest {
    pub fn len(&self) -> usize {
        self.files.iter().map(|file| file.suffixes.len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.files.iter().all(|file| file.suffixes.is_empty())
    }

    /// Every test's (path, suffix), in order: position is [`TestIndex`].
    pub fn tests(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().flat_map(|file| file.suffixes.iter().map(|s| (file.path.as_str(), s.as_str())))
    }

    /// Every test's id, in order.
    pub fn ids(&self) -> impl Iterator<Item = String> {
        self.tests().map(|(path, suffix)| format!("{path}{suffix}"))
    }

    /// The environment that each of these tests names.
    pub fn named_environments(&self) -> HashMap<TestIndex, &str> {
        let all = self.environments.iter();
        all.flat_map(|needs| needs.tests.iter().map(|test| (*test, needs.environment.as_str()))).collect()
    }

    /// Every test's file, name, and the environment that it names, in order.
    fn with_environments(&self) -> impl Iterator<Item = ((&str, &str), Option<&str>)> {
        let named = self.named_environments();
        let tests = (0..).map(TestIndex).zip(self.tests());
        tests.map(move |(test, name)| (name, named.get(&test).copied()))
    }

    /// The class (or `""`) of a suffix: what stands before its last `::` outside brackets.
    pub fn class_of(suffix: &str) -> &str {
        let name = &suffix[..suffix.find('[').unwrap_or(suffix.len())];
        name.rfind("::").map_or("", |end| &name[..end])
    }

    /// The index in `new` of each of these tests that is there too, by file, name and environment. None where a test may now
    /// come to something else: found with something else, or related to other tests than before.
    pub fn moved(&self, new: &Manifest) -> Option<Vec<Option<TestIndex>>> {
        let mut places: HashMap<_, _> = new.with_environments().zip((0..).map(TestIndex)).collect();
        let moved: Vec<_> = self.with_environments().map(|test| places.remove(&test)).collect();
        let known: BTreeSet<_> = moved.iter().flatten().collect();
        let there = |test: &TestIndex| moved.get(test.0 as usize).copied().flatten();
        let before =
            self.relations.iter().map(|r| (r.ordered, r.tests.iter().map(there).collect::<Vec<_>>()));
        let before: BTreeSet<_> = before.filter(|(_, tests)| tests.iter().any(Option::is_some)).collect();
        let after = new.relations.iter().filter(|r| r.tests.iter().any(|test| known.contains(test)));
        let after: BTreeSet<_> =
            after.map(|r| (r.ordered, r.tests.iter().copied().map(Some).collect::<Vec<_>>())).collect();
        (self.found_with == new.found_with && before == after).then_some(moved)
    }

    /// The manifest of the tests that `keep` says true for; relations are cut to them.
    #[must_use]
    pub fn select(&self, mut keep: impl FnMut(&str, &str) -> bool) -> Manifest {
        let mut renumbered = vec![None; self.len()];
        let (mut old, mut new) = (0usize, 0u32);
        let mut files = Vec::new();
        for file in &self.files {
            let mut suffixes = Vec::new();
            for suffix in &file.suffixes {
                if keep(&file.path, suffix) {
                    renumbered[old] = Some(TestIndex(new));
                    new += 1;
                    suffixes.push(suffix.clone());
                }
                old += 1;
            }
            if !suffixes.is_empty() {
                files.push(FileTests { path: file.path.clone(), suffixes });
            }
        }
        let left = |tests: &[TestIndex]| {
            tests.iter().filter_map(|t| renumbered.get(t.0 as usize).copied().flatten()).collect::<Vec<_>>()
        };
        let moved =
            |relation: &Relation| Relation { ordered: relation.ordered, tests: left(&relation.tests) };
        let needs = |needs: &Needs| Needs { tests: left(&needs.tests), ..needs.clone() };
        Manifest {
            files,
            relations: self.relations.iter().map(moved).filter(|r| r.tests.len() > 1).collect(),
            environments: self.environments.iter().map(needs).filter(|n| !n.tests.is_empty()).collect(),
            hooked: self.hooked.clone(),
            skipped_modules: self.skipped_modules.clone(),
            warnings: self.warnings.clone(),
            asked: self.asked.clone(),
            found_with: self.found_with.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_class_ignores_brackets() {
        assert_eq!(Manifest::class_of("::test_x[a::b]"), "");
        assert_eq!(Manifest::class_of("::TestA::test_x[a::b]"), "::TestA");
        assert_eq!(Manifest::class_of(""), "");
    }

    #[test]
    fn selecting_renumbers_relations() {
        let file = |path: &str, n: usize| FileTests {
            path: path.into(),
            suffixes: (0..n).map(|i| format!("::t{i}")).collect(),
        };
        let manifest = Manifest {
            files: vec![file("a", 2), file("b", 3)],
            relations: vec![
                Relation { ordered: false, tests: vec![TestIndex(1), TestIndex(3), TestIndex(4)] },
                Relation { ordered: true, tests: vec![TestIndex(0), TestIndex(1)] },
            ],
            ..Manifest::default()
        };
        let needs = |environment: &str, tests: &[u32]| Needs {
            environment: environment.into(),
            tests: tests.iter().copied().map(TestIndex).collect(),
        };
        let manifest = Manifest { environments: vec![needs("db", &[1, 4]), needs("web", &[0])], ..manifest };
        let kept = manifest.select(|path, suffix| path == "b" && suffix != "::t0");
        assert_eq!(kept.environments, [needs("db", &[1])]);
        assert_eq!(kept.ids().collect::<Vec<_>>(), ["b::t1", "b::t2"]);
        assert_eq!(kept.relations, [Relation { ordered: false, tests: vec![TestIndex(0), TestIndex(1)] }]);
    }

    fn of(ids: &[&str], related: &[(bool, &[u32])]) -> Manifest {
        let file = |id: &&str| FileTests { path: "a.py".into(), suffixes: vec![(*id).to_owned()] };
        let relation = |(ordered, tests): &(bool, &[u32])| Relation {
            ordered: *ordered,
            tests: tests.iter().copied().map(TestIndex).collect(),
        };
        let (files, relations) = (ids.iter().map(file), related.iter().map(relation));
        Manifest { files: files.collect(), relations: relations.collect(), ..Manifest::default() }
    }

    #[test]
    fn tests_move_by_name_and_once() {
        let places = |old: &[&str], new: &[&str]| {
            let moved = of(old, &[]).moved(&of(new, &[])).unwrap();
            moved.into_iter().map(|test| test.map(|test| test.0)).collect::<Vec<_>>()
        };
        assert_eq!(places(&["x", "y", "z"], &["z", "new", "x"]), [Some(2), None, Some(0)]);
        assert_eq!(places(&["x", "x"], &["x"]), [Some(0), None]);
        let needs = vec![Needs { environment: "db".into(), tests: vec![TestIndex(0)] }];
        let needing = Manifest { environments: needs, ..of(&["x", "y"], &[]) };
        assert_eq!(of(&["x", "y"], &[]).moved(&needing), Some(vec![None, Some(TestIndex(1))]));
        assert_eq!(needing.moved(&needing), Some(vec![Some(TestIndex(0)), Some(TestIndex(1))]));
        let elsewhere = Manifest {
            files: vec![FileTests { path: "b.py".into(), suffixes: vec!["x".into()] }],
            ..of(&[], &[])
        };
        assert_eq!(of(&["x"], &[]).moved(&elsewhere), Some(vec![None]));
    }

    #[test]
    fn tests_that_are_related_or_found_otherwise_do_not_move() {
        let ids = ["x", "y", "z"];
        let moves = |old: &[(bool, &[u32])], new: &[(bool, &[u32])]| {
            of(&["gone", "x", "y"], old).moved(&of(&ids, new)).is_some()
        };
        assert!(moves(&[(true, &[1, 2])], &[(true, &[0, 1])]));
        assert!(!moves(&[(true, &[1, 2])], &[(false, &[0, 1])]));
        assert!(!moves(&[(true, &[1, 2])], &[(true, &[1, 0])]));
        assert!(!moves(&[], &[(false, &[0, 1])]));
        assert!(!moves(&[(false, &[0, 1])], &[]));
        assert!(
            !moves(&[(false, &[0, 1])], &[(false, &[0, 2])]),
            "another test in the place of the one that is gone"
        );
        let updated = Manifest { found_with: "pytest 9".into(), ..of(&ids, &[]) };
        assert_eq!(of(&ids, &[]).moved(&updated), None);
    }
}
