//! What tests print, as the stream of a run tells of it: what is shown of a run, or of one test, and until when.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use seagull_domain::{AttemptId, Manifest, RunEvent, StreamItem, TestIndex};
use seagull_proto::convert::Printed;
use seagull_results::Found;

use super::story::{Execution, find};
use crate::report::names::Names;

/// Reads a stream for what one test prints, or all.
pub struct Printing<'t> {
    text: Option<&'t str>,
    names: Names,
    test: Option<Result<TestIndex, Found>>,
    /// Executions that have ended: what comes of them later was told with their end.
    ended: HashSet<(AttemptId, u64)>,
    over: bool,
}

impl<'t> Printing<'t> {
    /// `text`: which test is meant.
    pub fn new(text: Option<&'t str>) -> Printing<'t> {
        Printing { text, names: Names::default(), test: None, ended: HashSet::new(), over: false }
    }

    /// The error says which tests may be meant, if that is not one.
    pub fn manifest(&mut self, manifest: &Arc<Manifest>) -> Result<(), Found> {
        self.names = Names::new(manifest.clone());
        self.test = self.text.map(|text| find(text, manifest));
        match &self.test {
            Some(Err(found)) => Err(found.clone()),
            _ => Ok(()),
        }
    }

    /// An execution that has ended, and its test, if it is to be shown: of one test always, else if it has printed something.
    pub fn item(&mut self, item: StreamItem) -> Option<(String, Execution)> {
        match item.event {
            RunEvent::TestFinished { result, attempt, executor, slot, evidence } => {
                let id = self.names.id(result.test);
                if result.last {
                    self.ended.insert((attempt, hashed(&id)));
                }
                let is_shown = match &self.test {
                    Some(Ok(test)) => *test == result.test,
                    _ => result.text.is_some(),
                };
                let (before, images) = Default::default();
                let execution = Execution { result, attempt, executor, slot, evidence, before, images };
                is_shown.then_some((id, execution))
            }
            RunEvent::Verdict { test, .. } => {
                self.over |= matches!(self.test, Some(Ok(meant)) if meant == test);
                None
            }
            RunEvent::RunFinished { .. } => {
                self.over = true;
                None
            }
            _ => None,
        }
    }

    /// Whether that is to be shown.
    pub fn shows(&self, printed: &Printed) -> bool {
        let is_meant = match (&self.test, self.text) {
            (Some(Ok(test)), _) => printed.is_of(&self.names.id(*test)),
            (_, text) => text.is_none(),
        };
        is_meant && !self.ended.contains(&(printed.attempt, hashed(&printed.test)))
    }

    /// Whether nothing more will come.
    pub fn is_over(&self) -> bool {
        self.over
    }
}

fn hashed(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use seagull_domain::{FileTests, Outcome, Seq, SlotNumber, TestResult, TextRef, Verdict};

    use super::*;

    fn manifest() -> Arc<Manifest> {
        let suffixes = ["::x", "::y"].map(str::to_owned).to_vec();
        Arc::new(Manifest { files: vec![FileTests { path: "a.py".into(), suffixes }], ..Manifest::default() })
    }

    fn finished(test: u32, last: bool, text: bool) -> StreamItem {
        let log = AttemptId(1);
        let result = TestResult {
            cpu_us: 0,
            test: TestIndex(test),
            ordinal: 0,
            last,
            outcome: Outcome::Passed,
            detail: String::new(),
            cause: None,
            phases: [0; 3],
            peak_kib: 0,
            started_at: 0,
            message: String::new(),
            location: String::new(),
            text: text.then_some(TextRef { log, offset: 0, length: 1 }),
        };
        let (executor, slot) = ("e".parse().unwrap(), SlotNumber(0));
        let event = RunEvent::TestFinished { result, attempt: log, executor, slot, evidence: None };
        StreamItem { seq: Seq(1), event }
    }

    fn printed(test: &str) -> Printed {
        let (executor, test, text) = ("e".parse().unwrap(), test.to_owned(), "t\n".to_owned());
        Printed { executor, slot: SlotNumber(0), attempt: AttemptId(1), test, offset: 0, text }
    }

    #[test]
    fn of_one_test_all_is_shown_until_it_has_its_verdict() {
        let mut printing = Printing::new(Some("x"));
        assert!(!printing.shows(&printed("a.py::x")), "which test is meant is not known yet");
        printing.manifest(&manifest()).unwrap();
        assert!(printing.shows(&printed("a.py::x")) && !printing.shows(&printed("a.py::y")));
        assert!(printing.item(finished(1, true, true)).is_none());
        assert_eq!(printing.item(finished(0, false, false)).unwrap().0, "a.py::x");
        assert!(printing.shows(&printed("a.py::x")), "it is executed again");
        assert!(printing.item(finished(0, true, true)).is_some());
        assert!(!printing.shows(&printed("a.py::x")) && !printing.is_over());
        let verdict = RunEvent::Verdict { test: TestIndex(0), verdict: Verdict::Passed };
        assert!(printing.item(StreamItem { seq: Seq(2), event: verdict }).is_none() && printing.is_over());
        assert_eq!(Printing::new(Some("::")).manifest(&manifest()).unwrap_err().matching, 2);
    }

    #[test]
    fn of_a_run_what_has_printed_something_is_shown() {
        let mut printing = Printing::new(None);
        printing.manifest(&manifest()).unwrap();
        assert!(printing.shows(&printed("a.py::y")));
        assert!(printing.item(finished(0, true, false)).is_none());
        assert_eq!(printing.item(finished(1, true, true)).unwrap().0, "a.py::y");
        assert!(!printing.shows(&printed("a.py::y")));
    }
}
