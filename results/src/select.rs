//! The selection language of `--select`: a path, an id, a glob, `last-failed`, `not-passed`, `failed@RUN`,
//! `not-passed@RUN`; several are a union.

use std::collections::HashSet;

use seagull_domain::{Manifest, RunId, Verdict};

use crate::gone::Gone;
use crate::last_verdicts::{LastVerdict, LastVerdicts};
use crate::reading::{Readings, Text};
use crate::{Error, History, Lineage};

const LAST_FAILED: &str = "last-failed";
const NOT_PASSED: &str = "not-passed";
/// What goes by the verdicts of one run.
const FAILED_AT: &str = "failed@";
const LAST_FAILED_AT: &str = "last-failed@";
const NOT_PASSED_AT: &str = "not-passed@";

#[derive(Debug, Clone)]
pub struct Selection {
    last_failed: bool,
    not_passed: bool,
    of_runs: Vec<OfRun>,
    /// The ids that `of_runs` come to.
    chosen: HashSet<String>,
    texts: Vec<Text>,
}

/// Tests by what they came to in a run.
#[derive(Debug, Clone)]
struct OfRun {
    run: RunId,
    /// All that did not pass; else what failed.
    not_passed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid selection {text:?}: {reason}\nhint: {hint}")]
pub struct InvalidSelection {
    pub text: String,
    pub reason: String,
    pub hint: String,
}

impl InvalidSelection {
    pub(crate) fn of(text: &str, reason: &str, hint: String) -> Self {
        Self { text: text.chars().take(200).collect(), reason: reason.to_owned(), hint }
    }
}

/// What a selection comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected {
    pub manifest: Manifest,
    /// Nothing is selected by the last verdicts, and the last run passed.
    pub empty_by_definition: bool,
    /// What selects nothing, however it is read.
    pub unmatched: Vec<String>,
}

impl Selection {
    pub fn parse(texts: &[String]) -> Result<Selection, InvalidSelection> {
        let mut selection = Selection {
            last_failed: false,
            not_passed: false,
            of_runs: Vec::new(),
            chosen: HashSet::new(),
            texts: Vec::new(),
        };
        for text in texts {
            match text.as_str() {
                LAST_FAILED => selection.last_failed = true,
                NOT_PASSED => selection.not_passed = true,
                _ => match OfRun::parse(text)? {
                    Some(of) => selection.of_runs.push(of),
                    None => selection.texts.push(Text::parse(text)?),
                },
            }
        }
        Ok(selection)
    }

    /// Whether it goes by paths, ids and globs alone.
    pub fn is_by_name(&self) -> bool {
        !self.by_history() && self.of_runs.is_empty()
    }

    /// The runs whose verdicts it goes by; it is to learn them before it is applied.
    pub fn runs(&self) -> impl Iterator<Item = &RunId> {
        self.of_runs.iter().map(|of| &of.run)
    }

    /// Learns what the tests of a run came to.
    pub fn learn(&mut self, run: &RunId, verdicts: impl Iterator<Item = (String, Verdict)>) {
        let of_run = self.of_runs.iter().filter(|of| of.run == *run);
        let not_passed = of_run.fold(None, |all, of| Some(all.unwrap_or(false) || of.not_passed));
        let Some(not_passed) = not_passed else { return };
        let is_wanted = |verdict| match verdict {
            Verdict::Failed => true,
            Verdict::Passed | Verdict::Skipped | Verdict::Flaky => false,
            Verdict::Quarantined | Verdict::NotExecuted(_) => not_passed,
        };
        self.chosen.extend(verdicts.filter(|(_, verdict)| is_wanted(*verdict)).map(|(id, _)| id));
    }

    fn by_history(&self) -> bool {
        self.last_failed || self.not_passed
    }

    /// The selected part of a manifest; all of it if nothing is selected by.
    pub fn apply(&self, manifest: &Manifest, history: &History, of: Lineage) -> Result<Selected, Error> {
        let last = if self.by_history() { history.last_verdicts(of)? } else { None };
        Ok(self.select(manifest, last.as_ref()))
    }

    /// As [`Selection::apply`]; `last` is None if no run has ended (or nothing is selected by history).
    pub fn select(&self, manifest: &Manifest, last: Option<&LastVerdicts>) -> Selected {
        if !self.by_history() && self.of_runs.is_empty() && self.texts.is_empty() {
            return Selected {
                manifest: manifest.clone(),
                empty_by_definition: false,
                unmatched: Vec::new(),
            };
        }
        let readings = Readings::of(&self.texts, manifest);
        let mut unmatched = readings.unmatched(&self.texts);
        let mut gone = Gone::of(self.by_verdict(last), manifest);
        let mut id = String::new();
        let mut selected = manifest.select(|path, suffix| {
            id.clear();
            id.extend([path, suffix]);
            let is_followed = gone.find(path, &id, |gone| {
                self.chosen.contains(gone) || last.is_some_and(|last| last.stands_for(gone, &id))
            });
            is_followed
                || self.by_last_verdict(&id, last)
                || self.chosen.contains(&id)
                || readings.select(path, &id)
        });
        selected.warnings.extend(gone.warning());
        let empty_by_definition = selected.is_empty() && self.nothing_to_do(manifest, last);
        if selected.is_empty() && !empty_by_definition {
            let words = [(self.last_failed, LAST_FAILED), (self.not_passed, NOT_PASSED)];
            unmatched.extend(words.into_iter().filter(|(asked, _)| *asked).map(|(_, word)| word.to_owned()));
            unmatched.extend(self.of_runs.iter().map(OfRun::to_string));
        }
        Selected { manifest: selected, empty_by_definition, unmatched }
    }

    /// The ids that are chosen by a verdict, but for those that no run had.
    fn by_verdict<'s>(&'s self, last: Option<&'s LastVerdicts>) -> HashSet<&'s str> {
        let is_asked = |verdict| self.not_passed || (self.last_failed && verdict == LastVerdict::Failed);
        let open = last.into_iter().flat_map(LastVerdicts::open);
        let open = open.filter(|(_, verdict)| is_asked(*verdict)).map(|(id, _)| id);
        self.chosen.iter().map(String::as_str).chain(open).collect()
    }

    fn by_last_verdict(&self, id: &str, last: Option<&LastVerdicts>) -> bool {
        let verdict = last.and_then(|last| last.of(id));
        (self.last_failed && verdict == Some(LastVerdict::Failed))
            || (self.not_passed && verdict != Some(LastVerdict::Good))
    }

    /// Whether an empty selection is good news. It is not if the last run did not pass, whatever became of its tests,
    /// nor if no test is found.
    fn nothing_to_do(&self, manifest: &Manifest, last: Option<&LastVerdicts>) -> bool {
        self.texts.is_empty()
            && self.of_runs.is_empty()
            && !manifest.is_empty()
            && last.is_some_and(|last| last.last_run_passed)
    }
}

impl OfRun {
    /// None for another kind of selection.
    fn parse(text: &str) -> Result<Option<OfRun>, InvalidSelection> {
        if let Some(run) = text.strip_prefix(LAST_FAILED_AT) {
            let meant = format!("did you mean {FAILED_AT}{run}?");
            return Err(InvalidSelection::of(text, "no such word", meant));
        }
        let (not_passed, run) = match (text.strip_prefix(FAILED_AT), text.strip_prefix(NOT_PASSED_AT)) {
            (Some(run), _) => (false, run),
            (_, Some(run)) => (true, run),
            (None, None) => return Ok(None),
        };
        if run == "last" {
            let of_the_last =
                "last-failed and not-passed are of the last run; seagull runs lists the others".to_owned();
            return Err(InvalidSelection::of(text, "last is no run's id", of_the_last));
        }
        let named = run.parse().map(|run| Some(OfRun { run, not_passed }));
        named.map_err(|_| {
            InvalidSelection::of(text, "it names no run", "seagull runs lists the runs there are".to_owned())
        })
    }
}

impl std::fmt::Display for OfRun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", if self.not_passed { NOT_PASSED_AT } else { FAILED_AT }, self.run)
    }
}

#[cfg(test)]
mod tests {
    use seagull_domain::{Counts, FileTests, Ledger, NotExecuted, RunId, RunVerdict, Verdict};

    use super::*;
    use crate::EndedRun;

    fn manifest(files: &[(&str, &[&str])]) -> Manifest {
        let file = |(path, suffixes): &(&str, &[&str])| FileTests {
            path: (*path).into(),
            suffixes: suffixes.iter().map(|s| (*s).to_owned()).collect(),
        };
        Manifest { files: files.iter().map(file).collect(), ..Manifest::default() }
    }

    fn usual() -> Manifest {
        manifest(&[
            ("t/a.py", &["::x[1]", "::x[2]", "::C::y"]),
            ("t/ab.py", &["::z", "::w[*]", "::w[q]"]),
            ("u.py", &["::x"]),
        ])
    }

    fn parse(terms: &[&str]) -> Result<Selection, InvalidSelection> {
        Selection::parse(&terms.iter().map(|term| (*term).to_owned()).collect::<Vec<_>>())
    }

    fn ids(terms: &[&str]) -> Vec<String> {
        parse(terms).unwrap().select(&usual(), None).manifest.ids().collect()
    }

    #[test]
    fn ids_and_beginnings_are_literal() {
        assert_eq!(ids(&["t/a.py"]), ["t/a.py::x[1]", "t/a.py::x[2]", "t/a.py::C::y"]);
        assert_eq!(ids(&["t/"]).len(), 6);
        assert_eq!(ids(&["./t"]).len(), 6);
        assert_eq!(ids(&["."]).len(), 7);
        assert_eq!(ids(&["t/a.py::x[2]"]), ["t/a.py::x[2]"]);
        assert_eq!(ids(&["t/a.py::x"]), ["t/a.py::x[1]", "t/a.py::x[2]"]);
        assert_eq!(ids(&["t/a.py::C"]), ["t/a.py::C::y"]);
        // As an id it is one test, though as a glob it were two.
        assert_eq!(ids(&["t/ab.py::w[*]"]), ["t/ab.py::w[*]"]);
        assert_eq!(ids(&["t/a"]), [""; 0]);
    }

    #[test]
    fn globs_are_over_paths_and_ids() {
        assert_eq!(ids(&["*::x*", "t/ab.py::z"]), ["t/a.py::x[1]", "t/a.py::x[2]", "t/ab.py::z", "u.py::x"]);
        assert_eq!(ids(&["t/?.py"]).len(), 3);
        assert_eq!(ids(&["*.py::x[?]"]), ["t/a.py::x[1]", "t/a.py::x[2]"]);
        assert_eq!(ids(&["t/a.py::[xy]*"]), ["t/a.py::x[1]", "t/a.py::x[2]"]);
        assert_eq!(ids(&["{u,t/ab}.py"]).len(), 4);
    }

    #[test]
    fn what_selects_nothing_is_named() {
        let selected = parse(&["nowhere", "u.py", "[", "no*"]).unwrap().select(&usual(), None);
        assert_eq!(selected.unmatched, ["nowhere", "[", "no*"]);
        assert_eq!(selected.manifest.len(), 1);
        assert!(!selected.empty_by_definition);
        assert_eq!(parse(&["last-failed"]).unwrap().select(&usual(), None).unmatched, ["last-failed"]);
        assert_eq!(parse(&[]).unwrap().select(&usual(), None).manifest, usual());
    }

    #[test]
    fn tests_are_selected_by_what_they_came_to_in_a_run() {
        let run = "r-1".parse().unwrap();
        let verdicts = [
            ("u.py::x", Verdict::Failed),
            ("t/ab.py::z", Verdict::NotExecuted(NotExecuted::FailFast)),
            ("t/a.py::x[1]", Verdict::Flaky),
            ("gone.py::x", Verdict::Failed),
        ];
        let select = |terms: &[&str]| {
            let mut selection = parse(terms).unwrap();
            for run in selection.runs().cloned().collect::<Vec<_>>() {
                selection.learn(&run, verdicts.iter().map(|(id, verdict)| ((*id).to_owned(), *verdict)));
            }
            selection.learn(&"r-2".parse().unwrap(), [("t/a.py::C::y".into(), Verdict::Failed)].into_iter());
            let selected = selection.select(&usual(), None);
            assert_eq!(
                selected.manifest.warnings,
                ["1 test chosen by verdict, not discovered any more: gone.py::x"]
            );
            (selected.manifest.ids().collect::<Vec<_>>(), selected.unmatched)
        };
        assert_eq!(select(&["failed@r-1"]), (vec!["u.py::x".to_owned()], vec![]));
        assert_eq!(select(&["not-passed@r-1"]).0, ["t/ab.py::z", "u.py::x"]);
        assert_eq!(select(&["failed@r-1", "t/ab.py::w[q]"]).0, ["t/ab.py::w[q]", "u.py::x"]);
        assert_eq!(parse(&["not-passed@r-1"]).unwrap().runs().collect::<Vec<_>>(), [&run]);
        let never = parse(&["failed@r-1"]).unwrap().select(&usual(), None);
        assert_eq!((never.unmatched, never.empty_by_definition), (vec!["failed@r-1".to_owned()], false));
    }

    /// What a selection of all these failed tests leaves of a manifest, and what is warned of.
    fn failed(ids: &[&str], manifest: &Manifest) -> (Vec<String>, Vec<String>) {
        let mut selection = parse(&["failed@r-1"]).unwrap();
        let verdicts = ids.iter().map(|id| ((*id).to_owned(), Verdict::Failed));
        selection.learn(&"r-1".parse().unwrap(), verdicts);
        let selected = selection.select(manifest, None).manifest;
        (selected.ids().collect(), selected.warnings)
    }

    #[test]
    fn what_became_of_an_id_stands_for_it() {
        let of_a = ["t/a.py::x[1]", "t/a.py::x[2]", "t/a.py::C::y"].map(str::to_owned).to_vec();
        let (mended, warnings) = failed(&["t/a.py", "u.py::x"], &usual());
        assert_eq!((&mended[..3], &mended[3..]), (&of_a[..], &["u.py::x".to_owned()][..]));
        assert_eq!(warnings, [""; 0]);
        // It has parameters now.
        assert_eq!(failed(&["t/a.py::x"], &usual()).0, of_a[..2]);
        // A test that is there stands for itself alone.
        let both = manifest(&[("a", &["", "::b"])]);
        assert_eq!(failed(&["a"], &both).0, ["a"]);
        let broken = manifest(&[("t/a.py", &[""]), ("u.py", &["::x"])]);
        assert_eq!(failed(&["t/a.py::x[1]", "t/a.py::C::y"], &broken), (vec!["t/a.py".into()], vec![]));
    }

    #[test]
    fn what_nothing_stands_for_is_counted_and_named() {
        let long = format!("b.py::{}", "x".repeat(9999));
        let (selected, warnings) = failed(&["u.py::x", "d.py", "u.py::gone", &long, "a.py::x"], &usual());
        assert_eq!(selected, ["u.py::x"]);
        let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
        assert!(
            warning.starts_with("4 tests chosen by verdict, not discovered any more: a.py::x, b.py::x"),
            "{warning}"
        );
        assert!(warning.ends_with("x, d.py and 1 more") && warning.len() < 500, "{warning}");
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_a_hint() {
        for (text, hint) in [
            ("", "a path"),
            ("/t/a.py", "relative"),
            ("failed@", "seagull runs"),
            ("not-passed@last", "last-failed and not-passed are of the last run"),
            ("not-passed@a/b", "seagull runs"),
            ("last_failed", "last-failed"),
            ("last-failed@r-1", "did you mean failed@r-1?"),
            ("not_passed", "not-passed"),
        ] {
            let error = parse(&["u.py", text]).unwrap_err().to_string();
            assert!(error.contains("\nhint: ") && error.contains(hint), "{error}");
        }
    }

    #[test]
    fn thousands_of_ids_are_selected_at_once() {
        let suffixes: Vec<String> = (0..50_000).map(|n| format!("::t[{n}]")).collect();
        let file = FileTests { path: "a.py".into(), suffixes };
        let manifest = Manifest { files: vec![file], ..Manifest::default() };
        let texts: Vec<String> = manifest.ids().step_by(2).collect();
        let selected = Selection::parse(&texts).unwrap().select(&manifest, None);
        assert_eq!(selected.manifest.len(), 25_000);
        assert!(selected.unmatched.is_empty());
    }

    struct Runs {
        _directory: tempfile::TempDir,
        history: History,
        recorded: u32,
    }

    impl Runs {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let history = History::open(&directory.path().join("history.sqlite")).unwrap();
            Self { _directory: directory, history, recorded: 0 }
        }

        fn record(&mut self, verdicts: &[(&str, Verdict)]) {
            let mut counts = Counts { total: verdicts.len() as u32, ..Counts::default() };
            verdicts.iter().for_each(|(_, verdict)| counts.add(*verdict));
            self.record_as(Ledger { counts, ..Ledger::default() }.close().0, verdicts);
        }

        fn record_as(&mut self, verdict: RunVerdict, verdicts: &[(&str, Verdict)]) {
            self.recorded += 1;
            let run: RunId = format!("r{}", self.recorded).parse().unwrap();
            let rows = verdicts.iter().map(|(id, verdict)| ((*id).to_owned(), None, *verdict));
            let ended = EndedRun {
                of: Lineage::trunk("p"),
                run: &run,
                submitted_at: 0,
                verdict,
                arguments: None,
                discovered: None,
                bundles: &[],
                setups: &[],
            };
            self.history.record(&ended, rows).unwrap();
        }

        fn select(&self, terms: &[&str], manifest: &Manifest) -> (Vec<String>, bool) {
            let selected = parse(terms).unwrap().apply(manifest, &self.history, Lineage::trunk("p")).unwrap();
            (selected.manifest.ids().collect(), selected.empty_by_definition)
        }
    }

    #[test]
    fn what_failed_last_time() {
        let mut runs = Runs::new();
        assert_eq!(runs.select(&["last-failed"], &usual()), (vec![], false));
        let not_executed = Verdict::NotExecuted(NotExecuted::FailFast);
        runs.record(&[
            ("u.py::x", Verdict::Failed),
            ("t/ab.py::z", Verdict::Flaky),
            ("t/a.py::C::y", not_executed),
        ]);
        assert_eq!(runs.select(&["last-failed"], &usual()), (vec!["u.py::x".to_owned()], false));
        // Tests that no run had are not passed.
        assert_eq!(runs.select(&["not-passed"], &usual()).0.len(), 6);
        assert_eq!(runs.select(&["last-failed", "t/ab.py::z"], &usual()).0, ["t/ab.py::z", "u.py::x"]);
        runs.record(&[("u.py::x", Verdict::Passed)]);
        assert_eq!(runs.select(&["last-failed"], &usual()), (vec![], true));
        let two = manifest(&[("u.py", &["::x"]), ("t/ab.py", &["::z"])]);
        assert_eq!(runs.select(&["not-passed"], &two), (vec![], true));
    }

    #[test]
    fn a_file_that_could_not_be_collected_failed_until_its_tests_are_executed() {
        let mut runs = Runs::new();
        let two = manifest(&[("t/a.py", &["::x", "::y"]), ("u.py", &["::x"])]);
        let all = |verdict| [("t/a.py::x", verdict), ("t/a.py::y", verdict), ("u.py::x", Verdict::Passed)];
        runs.record(&all(Verdict::Passed));
        runs.record(&[("t/a.py", Verdict::Failed), ("u.py::x", Verdict::Passed)]);
        let of_a = (vec!["t/a.py::x".to_owned(), "t/a.py::y".to_owned()], false);
        for term in ["last-failed", "not-passed"] {
            assert_eq!(runs.select(&[term], &two), of_a, "{term}");
        }
        runs.record_as(RunVerdict::Cancelled, &all(Verdict::NotExecuted(NotExecuted::Cancelled)));
        assert_eq!(runs.select(&["last-failed"], &two), of_a);
        runs.record(&all(Verdict::Passed));
        for term in ["last-failed", "not-passed"] {
            assert_eq!(runs.select(&[term], &two), (vec![], true), "{term}");
        }
        runs.record(&all(Verdict::Failed));
        let broken = manifest(&[("t/a.py", &[""]), ("u.py", &["::x"])]);
        assert_eq!(runs.select(&["last-failed"], &broken).0, ["t/a.py"]);
    }

    #[test]
    fn a_cancelled_run_hides_no_failure() {
        let mut runs = Runs::new();
        runs.record(&[("u.py::x", Verdict::Failed), ("t/ab.py::z", Verdict::Passed)]);
        let cancelled = Verdict::NotExecuted(NotExecuted::Cancelled);
        runs.record_as(RunVerdict::Cancelled, &[("u.py::x", cancelled), ("t/ab.py::z", cancelled)]);
        assert_eq!(runs.select(&["last-failed"], &usual()), (vec!["u.py::x".to_owned()], false));
        // What passed before that run was still to be run by it.
        let two = manifest(&[("u.py", &["::x"]), ("t/ab.py", &["::z"])]);
        assert_eq!(runs.select(&["not-passed"], &two).0.len(), 2);
        runs.record(&[("u.py::x", Verdict::Passed)]);
        assert_eq!(runs.select(&["last-failed"], &usual()), (vec![], true));
    }

    #[test]
    fn nothing_is_left_to_do_only_by_a_run_that_passed() {
        let mut runs = Runs::new();
        let one = manifest(&[("u.py", &["::x"])]);
        // Failed by a suite error alone, or ended before its time.
        for verdict in [RunVerdict::Failed, RunVerdict::Incomplete, RunVerdict::Cancelled] {
            runs.record_as(verdict, &[("u.py::x", Verdict::Passed)]);
            for term in ["last-failed", "not-passed"] {
                assert_eq!(runs.select(&[term], &one), (vec![], false), "{term} after {verdict:?}");
            }
        }
        runs.record(&[("u.py::x", Verdict::Passed)]);
        for term in ["last-failed", "not-passed"] {
            assert_eq!(runs.select(&[term], &one), (vec![], true), "{term}");
        }
    }

    #[test]
    fn failed_tests_that_are_gone_are_no_good_news() {
        let mut runs = Runs::new();
        runs.record(&[("renamed.py::x", Verdict::Failed), ("u.py::x", Verdict::Passed)]);
        assert_eq!(runs.select(&["last-failed"], &usual()), (vec![], false));
        // Nor is a discovery that finds no test, whatever the last run was.
        runs.record(&[("u.py::x", Verdict::Passed)]);
        for term in ["last-failed", "not-passed"] {
            assert_eq!(runs.select(&[term], &Manifest::default()), (vec![], false));
        }
    }
}
