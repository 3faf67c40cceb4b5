//! From a worker's discovery events to a manifest, which is bounded while it grows: the suite may say anything.

use std::collections::HashMap;

use seagull_domain::{FileTests, Manifest, Relation, SkippedModule, TestIndex};
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
    groups: Vec<Vec<String>>,
    duplicates: Vec<String>,
    /// How many ids there are in files, and in groups.
    tests: usize,
    grouped: usize,
    bytes: usize,
}

impl Discovering {
    /// Takes what a line of so many bytes said. The error is a sentence, and the end of the discovery.
    pub fn take(&mut self, event: Event, bytes: usize) -> Result<(), String> {
        self.bytes += bytes;
        match event {
            Event::Warning { message } => self.manifest.warnings.push(message),
            Event::File { path, suffixes } => self.file(path, suffixes),
            Event::Relation { tests } if tests.len() > BUNDLE_ENTRIES => {
                return Err("over 50,000 tests have to stay together\nhint: make groups of fewer".to_owned());
            }
            Event::Relation { tests } => {
                self.grouped += tests.len();
                self.groups.push(tests);
            }
            Event::Skipped { path, reason } => {
                self.manifest.skipped_modules.push(SkippedModule { path, reason });
            }
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
        self.manifest.relations = self.relations();
        if self.manifest.is_empty() {
            self.manifest.warnings.push(format!("no tests were collected ({deselected} deselected)"));
        }
        if !self.duplicates.is_empty() {
            let count = self.duplicates.len();
            self.duplicates.truncate(NAMED);
            let names = self.duplicates.join(", ");
            let more = if count > NAMED { ", ..." } else { "" };
            self.manifest.warnings.push(format!("{count} duplicate ids run once: {names}{more}"));
        }
        self.manifest
    }

    fn relations(&self) -> Vec<Relation> {
        if self.groups.is_empty() {
            return Vec::new();
        }
        let grouped: HashMap<&str, usize> = (0..)
            .zip(&self.groups)
            .flat_map(|(group, ids)| ids.iter().map(move |id| (id.as_str(), group)))
            .collect();
        let mut relations = vec![Vec::new(); self.groups.len()];
        for (index, id) in (0..).zip(self.manifest.ids()) {
            if let Some(group) = grouped.get(id.as_str()) {
                relations[*group].push(TestIndex(index));
            }
        }
        let relation = |tests: Vec<_>| Relation { ordered: false, tests };
        relations.into_iter().filter(|tests| tests.len() > 1).map(relation).collect()
    }
}

#[cfg(test)]
mod tests {
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
        let group = |count| (Event::Relation { tests: ids(count) }, 1);
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
    fn groups_become_relations_by_index() {
        let mut discovering = Discovering::default();
        let events = [
            Event::Warning { message: "--last-failed ignored".into() },
            file("a.py", &["::x", "::y"]),
            file("a.py", &["::z"]),
            file("b.py", &["::x"]),
            Event::Relation { tests: vec!["a.py::z".into(), "b.py::x".into(), "gone".into()] },
            Event::Duplicate { id: "a.py::x".into() },
        ];
        for event in events {
            discovering.take(event, 1).unwrap();
        }
        let manifest = discovering.finish(7);
        assert_eq!(manifest.files.len(), 2);
        let tests = vec![TestIndex(2), TestIndex(3)];
        assert_eq!(manifest.relations, [Relation { ordered: false, tests }]);
        assert_eq!(manifest.warnings, ["--last-failed ignored", "1 duplicate ids run once: a.py::x"]);
    }

    #[test]
    fn an_empty_discovery_says_how_many_tests_were_passed_over() {
        let warnings = Discovering::default().finish(3).warnings;
        assert_eq!(warnings, ["no tests were collected (3 deselected)"]);
    }
}
