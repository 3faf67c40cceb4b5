//! What an ended run says about its tests: how long each took, by itself and together with others, and what it came to.

use std::collections::BTreeMap;

use seagull_domain::{
    AttemptId, Digest, EndCause, Manifest, Outcome, Record, RunId, RunSpec, RunVerdict, TestIndex,
    TestResult, Verdict,
};
use seagull_proto::limits;
use seagull_results::{Blobs, EndedRun, Excess, History, Lineage};
use seagull_scheduler_core::What;

use crate::executed::Executed;
use crate::plan;

/// What a test took. A failure may have ended early, or at a limit: it is less than any other execution, and the longest of
/// several says most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Took {
    Failed(u64),
    Whole(u64),
}

impl Took {
    fn of(result: &TestResult) -> Self {
        if result.outcome == Outcome::Failed {
            Self::Failed(result.micros())
        } else {
            Self::Whole(result.micros())
        }
    }

    /// After another execution, which counts in its place if both are whole.
    fn then(self, next: Self) -> Self {
        if let (Self::Whole(_), Self::Whole(_)) = (self, next) { next } else { self.max(next) }
    }

    fn micros(self) -> u64 {
        match self {
            Self::Failed(micros) | Self::Whole(micros) => micros,
        }
    }
}

/// What an ended run says about its tests.
#[derive(Default)]
pub(crate) struct Learned {
    spec: Option<Box<RunSpec>>,
    verdict: Option<RunVerdict>,
    discovered: Option<Digest>,
    manifest: Option<Digest>,
    took: Vec<Option<Took>>,
    /// The attempt that each was executed by last.
    attempts: Vec<Option<AttemptId>>,
    verdicts: Vec<Option<Verdict>>,
    executed: Executed,
}

impl Learned {
    pub fn take(&mut self, what: What) {
        match what {
            What::Submitted(spec) => self.spec = Some(spec),
            What::AttemptEnded { cause: EndCause::Discovered(discovery), .. } => {
                self.discovered = Some(discovery.manifest);
            }
            What::Planned { plan, .. } => self.confirmed(plan.manifest, plan.predicted_us.len()),
            What::Confirmed { manifest, tests, .. } => self.confirmed(manifest, tests as usize),
            What::Recorded { attempt, executor, slot, records, .. } => {
                for (record, evidence) in records {
                    let (Record::Result(result), None) = (record, evidence) else { continue };
                    let place = result.test.0 as usize;
                    // A stream of elsewhere may be of anything.
                    if let (Some(by), Some(took)) = (self.attempts.get_mut(place), self.took.get_mut(place)) {
                        *by = Some(attempt);
                        self.executed.add((&executor, slot), attempt, &result);
                        let next = Took::of(&result);
                        *took = Some(took.map_or(next, |took| took.then(next)));
                    }
                }
            }
            What::Decided { verdicts } => {
                for (TestIndex(test), verdict) in verdicts {
                    if let Some(of) = self.verdicts.get_mut(test as usize) {
                        *of = Some(verdict);
                    }
                }
            }
            What::Ended { verdict, .. } => self.verdict = Some(verdict),
            _ => {}
        }
    }

    fn confirmed(&mut self, manifest: Digest, tests: usize) {
        self.manifest = Some(manifest);
        let tests = tests.min(limits::TESTS as usize);
        self.took = vec![None; tests];
        self.attempts = vec![None; tests];
        self.verdicts = vec![None; tests];
        let isolation = self.spec.as_ref().map(|spec| spec.isolation).unwrap_or_default();
        self.executed = Executed::new(isolation);
    }

    /// A run without a manifest has no tests, but it was the project's last. Recorded before, it changes nothing.
    pub fn keep(&self, history: &History, blobs: &Blobs, run: &RunId) -> Result<(), String> {
        let (Some(spec), Some(verdict)) = (&self.spec, self.verdict) else {
            return Err("its stream has no beginning or no end".to_owned());
        };
        let manifest = self.manifest.map_or(Ok(Manifest::default()), |of| plan::manifest_in(blobs, &of))?;
        if manifest.len() != self.took.len() {
            return Err(format!("its manifest has {} tests, not {}", manifest.len(), self.took.len()));
        }
        let environments = seagull_results::environments(&manifest, &spec.suite).unwrap_or_default();
        let excesses = self.executed.excesses(&manifest, &environments);
        let mut took = self.took.clone();
        for (attempt, test, excess) in &excesses {
            let test = test.0 as usize;
            if let (Some(Took::Whole(micros)), true) =
                (&mut took[test], self.attempts[test] == Some(*attempt))
            {
                *micros = micros.saturating_sub(excess.micros);
            }
        }
        let starts = self.executed.starts(&environments).into_iter();
        let starts =
            starts.filter_map(|(number, micros)| Some(Excess::start(spec.suite.name_of(number)?, micros)));
        let setups: Vec<_> = excesses.into_iter().map(|(.., excess)| excess).chain(starts).collect();
        let rows = manifest.ids().zip(&took).zip(&self.verdicts);
        let rows = rows.filter_map(|((id, took), verdict)| Some((id, took.map(Took::micros), (*verdict)?)));
        let bundles = self.bundles();
        let is_whole = self.manifest.is_some() && spec.select.is_empty();
        let arguments = is_whole.then_some(spec.arguments.as_slice());
        let ended = EndedRun {
            of: Lineage::of(spec),
            run,
            submitted_at: spec.submitted_at,
            verdict,
            arguments,
            discovered: self.discovered,
            bundles: &bundles,
            setups: &setups,
        };
        history.record(&ended, rows).map_err(|error| error.to_string())
    }

    /// Tests that did not fail, by the attempt that executed them, each by its place among those with a verdict.
    fn bundles(&self) -> Vec<Vec<usize>> {
        let decided = self.attempts.iter().zip(&self.took).zip(&self.verdicts);
        let decided = decided.filter(|(_, verdict)| verdict.is_some());
        let mut bundles: BTreeMap<AttemptId, Vec<usize>> = BTreeMap::new();
        for (place, ((attempt, took), _)) in decided.enumerate() {
            if let (Some(attempt), Some(Took::Whole(_))) = (attempt, took) {
                bundles.entry(*attempt).or_default().push(place);
            }
        }
        bundles.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_how_long_a_test_takes_only_where_nothing_else_does() {
        let after = |executions: &[Took]| executions.iter().copied().reduce(Took::then).map(Took::micros);
        let (failed, whole) = (Took::Failed, Took::Whole);
        assert_eq!(after(&[failed(900), whole(100)]), Some(100));
        assert_eq!(after(&[whole(100), failed(900), failed(1)]), Some(100), "whatever came later");
        assert_eq!(after(&[failed(900), failed(5)]), Some(900));
        assert_eq!(after(&[whole(100), whole(70)]), Some(70));
    }
}
