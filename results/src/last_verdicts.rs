//! What each test of a project came to last: what selections by verdict go by.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

/// The last verdict of each test of a project. Ids are kept as keyed hashes, as in [`crate::Timings`].
#[derive(Debug, Clone, Default)]
pub struct LastVerdicts {
    key: RandomState,
    /// With the number of the last run that had the test.
    by_id: HashMap<u64, (LastVerdict, i64)>,
    /// The ids whose last verdict is not good.
    open: Vec<(String, LastVerdict)>,
    /// Whether the run that ended last passed.
    pub last_run_passed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastVerdict {
    /// Passed, skipped or flaky.
    Good,
    /// Its last execution failed.
    Failed,
    /// Not executed in its last run, or its failure did not count.
    NotGood,
}

impl LastVerdict {
    /// By the history's word.
    pub(crate) fn of_word(word: &str) -> Self {
        match word {
            "passed" | "skipped" | "flaky" => Self::Good,
            "failed" => Self::Failed,
            _ => Self::NotGood,
        }
    }
}

impl LastVerdicts {
    pub(crate) fn new(last_run_passed: bool) -> LastVerdicts {
        LastVerdicts { last_run_passed, ..LastVerdicts::default() }
    }

    /// A test's last verdict in the history's word, and the number of the last run that had it.
    pub(crate) fn add(&mut self, id: &str, word: &str, number: i64) {
        let verdict = LastVerdict::of_word(word);
        self.by_id.insert(self.key.hash_one(id), (verdict, number));
        if verdict != LastVerdict::Good {
            self.open.push((id.to_owned(), verdict));
        }
    }

    /// None for a test that no ended run had.
    pub fn of(&self, id: &str) -> Option<LastVerdict> {
        self.known(id).map(|(verdict, _)| verdict)
    }

    /// The ids whose last verdict is not good.
    pub fn open(&self) -> impl Iterator<Item = (&str, LastVerdict)> {
        self.open.iter().map(|(id, verdict)| (id.as_str(), *verdict))
    }

    /// Whether a test has not been executed since what it was called before had its last verdict.
    pub fn stands_for(&self, earlier: &str, id: &str) -> bool {
        match (self.known(earlier), self.known(id)) {
            (Some((_, earlier)), Some((LastVerdict::Good | LastVerdict::Failed, number))) => number < earlier,
            (earlier, _) => earlier.is_some(),
        }
    }

    fn known(&self, id: &str) -> Option<(LastVerdict, i64)> {
        self.by_id.get(&self.key.hash_one(id)).copied()
    }
}
