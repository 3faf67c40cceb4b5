//! Tells results from evidence, and turns what cannot be into a suite error: a result for a test that is not in the
//! manifest is never green.

use std::collections::BTreeSet;

use seagull_domain::{Evidence, Record, Role, SuiteError, TestIndex};

use crate::State;
use crate::run::{Attempt, Run, Status};
use crate::sizes::evidence_of_limit;

/// Said of a test that was over its memory or disk limit, and has no larger slot to go to.
const NO_LARGER: &str = "; no executor has the memory for another try with twice as much";

pub(crate) struct Weighing<'a> {
    state: &'a State,
    run: &'a Run,
    attempt: &'a Attempt,
    finished: BTreeSet<TestIndex>,
}

impl<'a> Weighing<'a> {
    pub fn of(state: &'a State, run: &'a Run, attempt: &'a Attempt) -> Weighing<'a> {
        Weighing { state, run, attempt, finished: BTreeSet::new() }
    }

    /// Why a test gets no try in a larger slot, where it would.
    fn with_reason(&self, mut record: Record) -> Record {
        if let Record::Result(result) = &mut record
            && evidence_of_limit(result).is_some()
            && self.run.lacks_larger(self.attempt)
        {
            result.message += NO_LARGER;
        }
        record
    }

    pub fn weigh(&mut self, record: Record) -> (Record, Option<Evidence>) {
        let (test, last) = match &record {
            Record::Result(result) => (result.test, result.last),
            Record::Missing { test, .. } => (*test, true),
            Record::Attached { test: Some(test), file } if test.0 as usize >= self.run.tests.len() => {
                return (Record::Attached { test: None, file: file.clone() }, None);
            }
            Record::Held { test: Some(test), hold } if test.0 as usize >= self.run.tests.len() => {
                return (Record::Held { test: None, hold: hold.clone() }, None);
            }
            Record::Left { test: Some(test), left } if test.0 as usize >= self.run.tests.len() => {
                return (Record::Left { test: None, left: left.clone() }, None);
            }
            Record::SuiteError(_)
            | Record::Coverage(_)
            | Record::Attached { .. }
            | Record::Images(_)
            | Record::Held { .. }
            | Record::Used(_)
            | Record::Left { .. } => return (record, None),
        };
        // Before the manifest is confirmed there is none.
        if self.run.anticipated.is_some() || test.0 as usize >= self.run.tests.len() {
            let message = format!("test {test} of {}", self.run.tests.len());
            let title = "a result for a test that is not in the manifest".into();
            return (Record::SuiteError(SuiteError { title, message, text: None }), None);
        }
        let role = self.attempt.place.get(&test).map(|place| self.attempt.left[place].1);
        let decided = self.run.test(test).verdict.is_some();
        let lost_and_missing =
            self.attempt.status != Status::Live && matches!(record, Record::Missing { .. });
        let repeated = self.finished.contains(&test);
        if last {
            self.finished.insert(test);
        }
        let evidence = match role {
            Some(Role::Predecessor) => Some(Evidence::Predecessor),
            None => Some(Evidence::AfterDecision),
            Some(Role::Run) if decided || lost_and_missing || repeated => Some(Evidence::AfterDecision),
            Some(Role::Run) => match &record {
                Record::Result(result) => self.state.first_kill(self.run, self.attempt, result),
                _ => None,
            },
        };
        let record = if evidence.is_none() { self.with_reason(record) } else { record };
        (record, evidence)
    }
}
