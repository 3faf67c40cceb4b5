//! From a worker's discovery events to a manifest, which is bounded while it grows: the suite may say anything.

use std::collections::{HashMap, HashSet};

use seagull_domain::{FileTests, Manifest, Needs, Relation, SkippedModule, TestIndex};
use seagull_proto::limits::{BUNDLE_ENTRIES, TESTS};

use super::adapter::Event;

/// How many duplicate ids are named in warnings.
const NAMED: usize = 5;
/// Bytes of lines. A manifest may have 256 MiB; only an index in a relation can take more room than its id in a line.
const BYTES: usize = 240 << 20;

/// A discovery under way.
#[derive(Debug, Default)]
pub(crate) struct Discovering {
    manifest: Manifest,
    /// Ids, and whether they are ordered.
    groups: Vec<(Vec<String>, bool)>,
    /// Ids, and the environment that they name.
    needs: Vec<(Vec<String>, String)>,
    duplicates: Vec<String>,
    /// How many ids there are in files, and in groups.
    tests: usize,
    grouped: usize,
    bytes: usize,
}

impl Discovering {
    /// After a worker that was to discover died as it is said, if one did.
    pub fn after(death: Option<&str>) -> Discovering {
        let warning = |how| format!("the discovery ended with {how}, and was made again");
        let manifest = Manifest { warnings: death.map(warning).into_iter().collect(), ..Manifest::default() };
        Discovering { manifest, ..Discovering::default() }
    }

    /// What the framework says it discovers with.
    pub fn begin(&mut self, found_with: String) {
        self.bytes += found_with.len();
        self.manifest.found_with = found_with;
    }

    /// Takes what a line of so many bytes said. The error is a sentence, and the end of the discovery.
    pub fn take(&mut self, event: Event, bytes: usize) -> Result<(), String> {
        self.bytes += bytes;
        match event {
            Event::Warning { message } => self.manifest.warnings.push(message),
            Event::File { path, suffixes } => self.file(path, suffixes),
            Event::Relation { tests, .. } if tests.len() > BUNDLE_ENTRIES => {
                return Err("over 50,000 tests have to stay together\nhint: make groups of fewer".to_owned());
            }
            Event::Relation { tests, ordered } => {
                self.grouped += tests.len();
                self.groups.push((tests, ordered));
            }
            Event::Needs { tests, environment } => {
                self.grouped += tests.len();
                self.needs.push((tests, environment));
            }
            Event::Skipped { path, reason } => {
                self.manifest.skipped_modules.push(SkippedModule { path, reason });
            }
            Event::Hooked { path, digest } => {
                self.manifest.hooked.insert(path, digest);
            }
            Event::Asks(asked) => self.manifest.asked = asked,
            Event::Duplicate { id } => self.duplicates.push(id),
            _ => {}
        }
        self.bounded()
    }

    fn bounded(&self) -> Result<(), String> {
        let excess = if self.tests.max(self.grouped) > TESTS as usize {
            "over 2,000,000 tests"
        } else if self.bytes > BYTES {
            "over 240 MiB of ids and warnings"
        } else {
            return Ok(());
        };
        Err(format!("{excess} were discovered\nhint: run a part of the suite at a time, by its paths"))
    }

    fn file(&mut self, path: String, suffixes: Vec<String>) {
        self.tests += suffixes.len();
        match self.manifest.files.last_mut() {
            Some(last) if last.path == path => last.suffixes.extend(suffixes),
            _ => self.manifest.files.push(FileTests { path, suffixes }),
        }
    }

    /// What was found; the framework passed over `deselected` tests.
    pub fn finish(mut self, deselected: u32) -> Manifest {
        (self.manifest.relations, self.manifest.environments) = self.told_of();
        if self.manifest.is_empty() {
            let passed_over =
                if deselected > 0 { format!(" ({deselected} deselected)") } else { String::new() };
            self.manifest.warnings.push(format!("no tests were found{passed_over}"));
        }
        if !self.duplicates.is_empty() {
            let count = self.duplicates.len();
            self.duplicates.truncate(NAMED);
            let names = self.duplicates.join(", ");
            let more = if count > NAMED { ", ..." } else { "" };
            let ids = if count == 1 { "id runs" } else { "ids run" };
            self.manifest.warnings.push(format!("{count} duplicate {ids} once: {names}{more}"));
        }
        self.manifest
    }

    /// Relations and environments, each in the manifest's order, which is the framework's final one.
    fn told_of(&self) -> (Vec<Relation>, Vec<Needs>) {
        let groups = self.groups.iter().map(|(ids, _)| ids);
        let told = groups.chain(self.needs.iter().map(|(ids, _)| ids)).flatten();
        let told: HashSet<&str> = told.map(String::as_str).collect();
        if told.is_empty() {
            return Default::default();
        }
        let ids = (0..).map(TestIndex).zip(self.manifest.ids()).filter(|(_, id)| told.contains(id.as_str()));
        let index: HashMap<String, TestIndex> = ids.map(|(test, id)| (id, test)).collect();
        let tests = |ids: &[String]| {
            let mut tests: Vec<_> = ids.iter().filter_map(|id| index.get(id).copied()).collect();
            tests.sort_unstable();
            tests.dedup();
            tests
        };
        let relations =
            self.groups.iter().map(|(ids, ordered)| Relation { ordered: *ordered, tests: tests(ids) });
        let needs =
            self.needs.iter().map(|(ids, name)| Needs { environment: name.clone(), tests: tests(ids) });
        (relations.filter(|relation| relation.tests.len() > 1).collect(), needs.collect())
    }
}

#[cfg(test)]
mod tests {
    use seagull_domain::Asked;

    use super::*;

    fn file(path: &str, suffixes: &[&str]) -> Event {
        Event::File { path: path.into(), suffixes: suffixes.iter().map(|s| (*s).to_owned()).collect() }
    }

    /// What a discovery of these says that it cannot be.
    fn refusal(events: impl IntoIterator<Item = (Event, usize)>) -> String {
        let mut discovering = Discovering::default();
        let mut taken = events.into_iter().map(|(event, bytes)| discovering.take(event, bytes));
        taken.find_map(Result::err).unwrap_or_default()
    }

    #[test]
    fn what_no_manifest_can_be_ends_the_discovery() {
        let ids = |count| vec![String::new(); count];
        let file = |count| (Event::File { path: "a.py".into(), suffixes: ids(count) }, 1);
        let group = |count| (Event::Relation { ordered: false, tests: ids(count) }, 1);
        let warning = || (Event::Warning { message: String::new() }, 1 << 20);
        assert_eq!(refusal([file(1_999_999), file(1)].into_iter().chain((0..40).map(|_| group(50_000)))), "");
        assert_eq!(refusal((0..240).map(|_| warning())), "");
        assert!(
            refusal([file(2_000_000), file(1)]).starts_with("over 2,000,000 tests were discovered\nhint: ")
        );
        assert!(refusal((0..41).map(|_| group(50_000))).starts_with("over 2,000,000 tests"));
        assert!(refusal([group(50_001)]).starts_with("over 50,000 tests have to stay together\nhint: "));
        assert!(refusal((0..241).map(|_| warning())).starts_with("over 240 MiB"));
    }

    #[test]
    fn groups_and_environments_become_tests_by_index() {
        let mut discovering = Discovering::default();
        let events = [
            Event::Warning { message: "--last-failed ignored".into() },
            file("a.py", &["::x", "::y"]),
            file("a.py", &["::z"]),
            file("b.py", &["::x"]),
            Event::Relation {
                tests: vec!["a.py::z".into(), "b.py::x".into(), "gone".into()],
                ordered: false,
            },
            Event::Relation { tests: vec!["b.py::x".into(), "a.py::y".into()], ordered: true },
            Event::Needs { tests: vec!["b.py::x".into(), "a.py::x".into()], environment: "db".into() },
            Event::Asks(Asked { fail_fast: Some(1), ..Asked::default() }),
            Event::Duplicate { id: "a.py::x".into() },
        ];
        for event in events {
            discovering.take(event, 1).unwrap();
        }
        let manifest = discovering.finish(7);
        assert_eq!(manifest.files.len(), 2);
        let relation = |ordered, tests: [u32; 2]| Relation { ordered, tests: tests.map(TestIndex).to_vec() };
        assert_eq!(manifest.relations, [relation(false, [2, 3]), relation(true, [1, 3])]);
        let needs = Needs { environment: "db".into(), tests: [0, 3].map(TestIndex).to_vec() };
        assert_eq!(manifest.environments, [needs]);
        assert_eq!(manifest.asked.fail_fast, Some(1));
        assert_eq!(manifest.warnings, ["--last-failed ignored", "1 duplicate id runs once: a.py::x"]);
    }

    #[test]
    fn an_empty_discovery_says_how_many_tests_were_passed_over() {
        let warnings = Discovering::default().finish(3).warnings;
        assert_eq!(warnings, ["no tests were found (3 deselected)"]);
        assert_eq!(Discovering::default().finish(0).warnings, ["no tests were found"]);
    }
}
