//! Numbering: what was given out by an anticipated manifest goes on under the one that was found instead. Its executor
//! goes on to know the tests by their old indices: what it says is renumbered where it comes in, what it is told where
//! that goes out.

use std::collections::BTreeMap;

use seagull_domain::{AttemptReport, AttemptState, Digest, Record, TestIndex};
use serde::{Deserialize, Serialize};

use crate::run::{Attempt, Test};

/// What the executor of an attempt calls its tests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbering {
    pub manifest: Digest,
    /// The index in the run's manifest by that in this one, of the tests that are in both.
    tests: BTreeMap<TestIndex, TestIndex>,
}

impl Numbering {
    /// The other way round.
    pub(crate) fn old(&self) -> BTreeMap<TestIndex, TestIndex> {
        self.tests.iter().map(|(old, new)| (*new, *old)).collect()
    }

    fn renumber(&self, test: &mut TestIndex) -> bool {
        let new = self.tests.get(test);
        *test = new.copied().unwrap_or(*test);
        new.is_some()
    }
}

impl Attempt {
    /// Goes on in another manifest, of `tests`, in which each test of its own is `moved`. What is not there is not left
    /// to do, which is news to its executor.
    pub(crate) fn move_to(&mut self, manifest: Digest, moved: &[Option<TestIndex>], tests: &[Test]) {
        let known = |test: &TestIndex| (test.0 as usize) < tests.len();
        let new = |test: TestIndex| moved.get(test.0 as usize).copied().flatten().filter(known);
        let before = self.left.len();
        let old = self.left.values().map(|(test, _)| *test);
        self.numbering =
            Some(Numbering { manifest, tests: old.filter_map(|test| Some((test, new(test)?))).collect() });
        let left = std::mem::take(&mut self.left).into_iter();
        self.left = left.filter_map(|(place, (test, role))| Some((place, (new(test)?, role)))).collect();
        self.place = self.left.iter().map(|(place, (test, _))| (*test, *place)).collect();
        self.left_us = self.left.values().map(|(test, _)| tests[test.0 as usize].predicted_us).sum();
        if self.left.len() < before {
            self.generation = self.generation.next();
        }
    }

    /// Records by the run's manifest, and the tests of the results that are of none in it.
    pub(crate) fn renumbered(&self, mut records: Vec<Record>) -> (Vec<Record>, Vec<TestIndex>) {
        let mut discarded = Vec::new();
        let Some(numbering) = &self.numbering else { return (records, discarded) };
        records.retain_mut(|record| match record {
            Record::Result(result) => {
                let is_there = numbering.renumber(&mut result.test);
                discarded.extend((!is_there && result.last).then_some(result.test));
                is_there
            }
            Record::Missing { test, .. } => numbering.renumber(test),
            Record::Attached { test: Some(test), .. } | Record::Held { test: Some(test), .. } => {
                numbering.renumber(test)
            }
            // It may be of an attempt that its worker had before.
            Record::Left { test, .. } => {
                *test = test.take_if(|test| numbering.renumber(test));
                true
            }
            Record::SuiteError(_)
            | Record::Coverage(_)
            | Record::Attached { test: None, .. }
            | Record::Images(_)
            | Record::Used(_)
            | Record::Held { test: None, .. } => true,
        });
        (records, discarded)
    }

    pub(crate) fn renumber_report(&self, status: &mut AttemptReport) {
        let Some(numbering) = &self.numbering else { return };
        status.kept.retain_mut(|test| numbering.renumber(test));
        if let AttemptState::Running(running) = &mut status.state {
            *running = running.take_if(|test| numbering.renumber(test));
        }
    }
}
