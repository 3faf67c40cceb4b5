//! Judgement: a run whose client judges its suite as a whole, as it does where that measures coverage, ends with that
//! client's word. The client is waited for as long as it is heard from. When that was is only seen, so it is volatile:
//! patience begins anew after recovery, and a pause of the scheduler itself extends it.

use std::time::Duration;

use seagull_domain::{NotExecuted, RunId, RunVerdict, SuiteError};

use crate::fact::What;
use crate::ledger::ledger;
use crate::run::{Phase, Run};
use crate::step::Step;
use crate::{Call, Effect};

/// How long nothing is heard of the client.
const PATIENCE: Duration = Duration::from_secs(120);
const TITLE: &str = "coverage";

impl Run {
    /// What it comes to if its client, which is to be asked, has nothing to say against it.
    fn to_be_judged(&self) -> Option<RunVerdict> {
        let cancelled = matches!(self.phase, Phase::Stopping(NotExecuted::Cancelled | NotExecuted::Orphaned));
        let open = !cancelled && self.phase != Phase::Judged && self.counts.total > 0;
        (self.has_judge && self.to_judge && open).then(|| ledger(self).close().0)
    }

    pub(crate) fn take_judgement(&mut self, errors: &[SuiteError]) {
        self.suite_errors += errors.len() as u32;
        self.phase = Phase::Judged;
    }
}

impl Step<'_> {
    /// A client that judges has asked for a run that is there already.
    pub fn take_judge(&mut self, run: &RunId) {
        let state = &self.state.runs[run];
        if !state.has_judge && !state.is_ended() {
            self.record(run, What::JudgeFound);
        }
    }

    /// Whether a run of which all is decided waits for its client's word.
    pub fn awaits_judgement(&mut self, run: &RunId) -> bool {
        let state = &self.state.runs[run];
        let Some(verdict) = state.to_be_judged() else { return false };
        if state.phase != Phase::Judging {
            self.record(run, What::JudgementAwaited { verdict });
            self.expect_judgement(run);
        }
        true
    }

    /// From now on the client of a run that waits for its word has some time.
    pub fn expect_judgement(&mut self, run: &RunId) {
        if self.state.runs[run].phase == Phase::Judging {
            self.state.judgements.insert(run.clone(), self.now + PATIENCE);
        }
    }

    /// The client's word, or that it is still at it. Of a run that does not wait for it, it is of no consequence.
    pub fn judge(&mut self, request: Call, run: RunId, word: Option<Vec<SuiteError>>) {
        if self.state.judgements.contains_key(&run) {
            match word {
                None => self.expect_judgement(&run),
                Some(errors) => self.judged(&run, errors),
            }
        }
        self.effect(Effect::Heard { request });
    }

    fn judged(&mut self, run: &RunId, errors: Vec<SuiteError>) {
        self.state.judgements.remove(run);
        self.record(run, What::Judged { errors });
    }

    /// Ends the runs whose client was lost. One that is incomplete stays that: losses are no failures.
    pub fn give_up_judges(&mut self) {
        let due = self.state.judgements.iter().filter(|(_, until)| **until <= self.now);
        let due: Vec<_> = due.map(|(run, _)| run.clone()).collect();
        for run in due {
            let incomplete = ledger(&self.state.runs[&run]).close().0 == RunVerdict::Incomplete;
            self.judged(&run, if incomplete { Vec::new() } else { vec![unjudged(&run)] });
        }
    }

    /// The scheduler itself stood still: nobody could be heard meanwhile.
    pub fn extend_judgements(&mut self, pause: Duration) {
        for until in self.state.judgements.values_mut() {
            *until = *until + pause;
        }
    }
}

fn unjudged(run: &RunId) -> SuiteError {
    let message = format!(
        "the coverage was not judged: its client was lost\n\
         hint: the same command with --run-id {run} shows it"
    );
    SuiteError { title: TITLE.to_owned(), message, text: None }
}
