//! The sentence that an event is worth to a person: what scrolls by above the bar, or down a CI log.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use seagull_domain::{
    ExecutorId, Framework, InfraCause, NotExecuted, Outcome, PlanSummary, Recall, RunEvent, Sickness,
    SlotNumber, TestCause, TestIndex, TestResult, Verdict,
};

use super::held;
use super::tally::Tally;
use super::text::{
    Paint, clean, count, duration, last_words, message, micros, millis, number, one_line, timeless,
};

/// So many tests are told of one by one; a run in which everything fails must not bury its log.
const MOST: u32 = 200;
/// Of many tests, so many are named.
const NAMED: usize = 5;
const ID_WIDTH: usize = 200;
const MESSAGE_WIDTH: usize = 500;
/// Instead of a message that was told.
const AGAIN: &str = "as before";
const REMEMBERED: usize = 1000;
/// Of a message, so many lines.
const LINES: usize = 12;
/// The sessions of workers may take so long to end without a word.
const SESSIONS_TAKE: Duration = Duration::from_secs(10);
/// A test that runs for so long is told of, and again when that has doubled.
const LONG: Duration = Duration::from_secs(30);

/// Turns events into lines.
pub struct Narrator {
    paint: Paint,
    told: u32,
    /// Messages that need not be repeated, without what differs each time, with what they are about.
    said: HashSet<(String, String)>,
    /// Whether it was told that sessions take long to end.
    waits: bool,
    /// Of slots, the test that was told to run on, and how often.
    long: BTreeMap<SlotNumber, (TestIndex, u32)>,
}

impl Narrator {
    pub fn new(paint: Paint) -> Self {
        Self { paint, told: 0, said: HashSet::new(), waits: false, long: BTreeMap::new() }
    }

    /// What takes long, for a log in which nobody sees what slots are at.
    pub fn runs_on(&mut self, tally: &Tally) -> Vec<String> {
        let mut lines = Vec::new();
        for (slot, state) in &tally.slots {
            let Some(test) = state.test else { continue };
            let since = tally.clock.now - state.since;
            let told = self.long.get(slot).filter(|(of, _)| *of == test).map_or(0, |(_, told)| *told);
            if since >= LONG.saturating_mul(1 << told.min(20)) {
                self.long.insert(*slot, (test, told + 1));
                let id = one_line(&tally.names.id(test), ID_WIDTH);
                let where_it_is = format!("on {}, slot {slot}", state.executor);
                let text = format!("still running after {}: {id} {where_it_is}", duration(since));
                lines.push(self.paint.dim(text));
            }
        }
        lines
    }

    /// What to print as time passes, once.
    pub fn waits(&mut self, tally: &Tally) -> Option<String> {
        let waits = !self.waits && tally.ends_since().is_some_and(|since| since >= SESSIONS_TAKE);
        self.waits |= waits;
        let text = "every test has its verdict; sessions of workers have not ended yet (fixtures that tear down), \
                    and --start-limit sets how long they may take";
        waits.then(|| self.paint.dim(text))
    }

    /// What to print for an event, without the last line end.
    pub fn tell(&mut self, tally: &Tally, event: &RunEvent) -> Option<String> {
        let text = self.sentence(tally, event)?;
        let about_a_test = matches!(
            event,
            RunEvent::TestFinished { .. } | RunEvent::Verdict { .. } | RunEvent::TestMissing { .. }
        );
        if !about_a_test {
            return Some(text);
        }
        self.told += 1;
        match self.told {
            told if told <= MOST => Some(text),
            told if told == MOST + 1 => Some(self.paint.odd("more is counted, and listed at the end")),
            _ => None,
        }
    }

    fn sentence(&mut self, tally: &Tally, event: &RunEvent) -> Option<String> {
        let paint = self.paint;
        match event {
            RunEvent::RunStarted(_) => Some(format!("run {}", paint.bold(&tally.run))),
            RunEvent::ManifestConfirmed { .. } => Some(self.manifest(tally)),
            RunEvent::Plan(plan) => (plan.bundles > 0).then(|| plan_line(plan)),
            RunEvent::AttemptAssigned { discovery: true, executor, .. } => {
                Some(format!("{} on {executor}", discovering(tally)))
            }
            RunEvent::AttemptAssigned { copy: Some(copy), executor, .. } => {
                let id = one_line(&tally.names.id(copy.test), ID_WIDTH);
                Some(
                    paint.dim(format!(
                        "{id} takes far longer than predicted: a second copy runs on {executor}"
                    )),
                )
            }
            RunEvent::TakenBack { tests: 0, .. } => None,
            RunEvent::TakenBack { tests, why, .. } => Some(self.taken_back(tally, *tests, *why)),
            RunEvent::TestFinished { result, executor, evidence: None, .. } => {
                self.finished(tally, result, executor)
            }
            RunEvent::Verdict { test, verdict } => self.verdict(tally, *verdict, &tally.names.id(*test)),
            RunEvent::TestMissing { test, executor, reason, .. } => {
                let id = one_line(&tally.names.id(*test), ID_WIDTH);
                let reason = self.anew("not found", block(reason));
                Some(format!("{} {id} on {executor}: {reason}", paint.odd("NOT FOUND")))
            }
            RunEvent::SuiteError { error, .. } => {
                let title = one_line(&error.title, ID_WIDTH);
                let message = self.anew(&title, message(&error.message, MESSAGE_WIDTH));
                Some(format!("{} {title}: {message}", paint.bad("SUITE ERROR")))
            }
            RunEvent::Held { test, hold, executor, .. } => {
                Some(format!("{} {}", paint.odd("HELD"), held::told(tally, *test, hold, executor)))
            }
            RunEvent::AttemptLost { executor, cause, message, tests, suspect, .. } => {
                let lost = self.attempt_lost(executor, *cause, message, *tests);
                let suspect = suspect.map(|test| one_line(&tally.names.id(test), ID_WIDTH));
                // In a run that stops nothing runs again.
                let alone = if tally.stopping.is_none() { " and runs alone from now on" } else { "" };
                let suspect = suspect.map(|id| format!("; {id} was in flight{alone}"));
                Some(lost + &suspect.unwrap_or_default())
            }
            RunEvent::ExecutorLost { executor, cause } => {
                let why = Some(*cause).filter(|cause| *cause != InfraCause::ExecutorLost);
                let why = why.map(|cause| format!(": {cause}")).unwrap_or_default();
                Some(format!("{} {executor}{why}", paint.odd("EXECUTOR LOST")))
            }
            RunEvent::ExecutorDrained { executor, cause, why } => {
                let (drains, why) = (paint.odd("EXECUTOR DRAINS"), one_line(why, ID_WIDTH));
                Some(format!("{drains} {executor}: {cause} ({why})"))
            }
            RunEvent::ExecutorCordoned { executor, sickness, attempts, elsewhere } => {
                Some(self.cordoned(executor, *sickness, *attempts, *elsewhere))
            }
            RunEvent::ExecutorBack { executor } => {
                let back = paint.good("EXECUTOR BACK");
                Some(format!("{back} {executor}: it was tried again, and that went well"))
            }
            // All of it follows at once, for the run has ended.
            RunEvent::DiscoveryFailed { message: said } => {
                let first = message(said.lines().next().unwrap_or_default(), MESSAGE_WIDTH);
                Some(format!("{} {first}", paint.bad("DISCOVERY FAILED")))
            }
            RunEvent::ResultsDiscarded { tests, count: discarded, .. } => {
                let named =
                    tests.iter().take(NAMED).map(|test| one_line(&tally.expected.id(*test), ID_WIDTH));
                let named = named.collect::<Vec<_>>().join(", ");
                let more = if *discarded as usize > NAMED { ", ..." } else { "" };
                let results = count(*discarded, "early result");
                Some(paint.dim(format!("{results} not counted: {named}{more}")))
            }
            RunEvent::JudgementAwaited { .. } => {
                Some(paint.dim("every test is decided; the coverage is combined where the run was asked for"))
            }
            RunEvent::Stopping { reason } => {
                let stopping = paint.odd("STOPPING");
                let limit = tally.limit().map(|limit| format!(" ({limit})")).unwrap_or_default();
                Some(format!("{stopping} {reason}{limit}: nothing more is started, what runs is interrupted"))
            }
            _ => None,
        }
    }

    fn manifest(&self, tally: &Tally) -> String {
        let manifest = &tally.names.manifest;
        let mut paths: Vec<&str> = manifest.files.iter().map(|file| file.path.as_str()).collect();
        paths.dedup();
        let mut text =
            format!("{} in {}", count(number(manifest.len()), "test"), count(number(paths.len()), "file"));
        if !manifest.skipped_modules.is_empty() {
            let skipped = number(manifest.skipped_modules.len());
            text += &format!(", and {} skipped whole", count(skipped, "module"));
        }
        for warning in &manifest.warnings {
            text += &format!("\n{} {}", self.paint.odd("warning:"), message(warning, MESSAGE_WIDTH));
        }
        text
    }

    fn finished(&self, tally: &Tally, result: &TestResult, executor: &ExecutorId) -> Option<String> {
        if result.outcome != Outcome::Failed {
            return None;
        }
        let id = one_line(&tally.names.id(result.test), ID_WIDTH);
        let mut facts = Vec::new();
        let cause = result.cause.filter(|c| !matches!(c, TestCause::Assertion | TestCause::Error));
        facts.extend(cause.map(|cause| cause.to_string()));
        facts.extend(Some(one_line(&result.detail, ID_WIDTH)).filter(|detail| !detail.is_empty()));
        facts.push(format!("{} on {executor}", micros(result.micros())));
        let retries = tally.spec.as_ref().map_or(0, |spec| spec.retries);
        if retries > 0 {
            let run = tally.tests.get(result.test.0 as usize).map_or(1, |test| test.runs.len());
            facts.push(format!("run {run} of at most {}", u64::from(retries) + 1));
        }
        let mut text = format!(
            "{} {id} {}",
            self.paint.bad("FAILED"),
            self.paint.dim(format!("({})", facts.join(", ")))
        );
        for line in [&result.message, &result.location] {
            if !line.is_empty() {
                text += &format!("\n    {}", message(line, MESSAGE_WIDTH));
            }
        }
        Some(text)
    }

    /// A verdict is told only where no result told of it already.
    fn verdict(&self, tally: &Tally, verdict: Verdict, id: &str) -> Option<String> {
        let id = one_line(id, ID_WIDTH);
        match verdict {
            Verdict::Flaky => {
                Some(format!("{} {id}: passed and failed in this run", self.paint.odd("FLAKY")))
            }
            // Of a run that stops, the rest is known.
            Verdict::NotExecuted(NotExecuted::Cancelled | NotExecuted::Orphaned | NotExecuted::FailFast) => {
                None
            }
            Verdict::NotExecuted(cause) if tally.stopping.is_none() => {
                Some(format!("{} {id}: {cause}", self.paint.odd("NOT EXECUTED")))
            }
            _ => None,
        }
    }

    fn taken_back(&self, tally: &Tally, tests: u32, why: Recall) -> String {
        let tests = count(tests, "unstarted test");
        match why {
            Recall::Idle => self.paint.dim(format!("{tests} taken back from a busy slot for an idle one")),
            Recall::Drained => self.paint.dim(format!("{tests} given back by a slot that drains")),
            Recall::Cordoned => {
                self.paint.dim(format!("{tests} taken back from an executor that is cordoned"))
            }
            Recall::PastCap => {
                let cap =
                    tally.spec.as_ref().map_or(String::new(), |spec| format!(" of {}", millis(spec.cap_ms)));
                let late = self.paint.odd("BUNDLE PAST TWICE THE CAP");
                format!("{late}{cap}: {tests} taken back; --cap sets it")
            }
        }
    }

    fn attempt_lost(&mut self, executor: &ExecutorId, cause: InfraCause, why: &str, tests: u32) -> String {
        if !cause.is_charged() {
            return self.paint.dim(format!("{} given back by {executor} ({cause})", count(tests, "test")));
        }
        let lost = self.paint.odd("ATTEMPT LOST");
        let why = self.told_once("", block(why), last_words);
        let colon = if why.is_empty() { "" } else { ": " };
        // A discovery has none.
        let without =
            if tests == 0 { String::new() } else { format!(", {} without a result", count(tests, "test")) };
        format!("{lost} on {executor} ({cause}){without}{colon}{why}")
    }

    fn cordoned(&self, executor: &ExecutorId, sickness: Sickness, attempts: u32, elsewhere: u32) -> String {
        let cordoned = self.paint.odd("EXECUTOR CORDONED");
        let attempts = count(attempts, "attempt");
        let shown = match sickness {
            Sickness::NothingStarts => {
                let others = match elsewhere {
                    0 => "from another executor nothing came back".to_owned(),
                    began => format!("{began} began elsewhere"),
                };
                format!("{attempts} in a row came back with nothing done, while {others}")
            }
            Sickness::TestsFail => {
                format!("in {attempts} in a row most tests failed, while {elsewhere} went well elsewhere")
            }
        };
        format!(
            "{cordoned} {executor} ({sickness} there): {shown}; it gets nothing more until it is tried again"
        )
    }

    /// What is said of something; of what was said already, whenever and however slowly, only that.
    fn anew(&mut self, what: &str, message: String) -> String {
        self.told_once(what, message, timeless)
    }

    /// `kept`: what of a message differs only where it is another.
    fn told_once(&mut self, what: &str, message: String, kept: fn(&str) -> String) -> String {
        let said = (what.to_owned(), kept(&message));
        if self.said.contains(&said) && message.len() > AGAIN.len() {
            return AGAIN.to_owned();
        }
        if self.said.len() < REMEMBERED {
            self.said.insert(said);
        }
        message
    }
}

/// What is done before there are tests.
pub fn discovering(tally: &Tally) -> &'static str {
    let framework = tally.spec.as_deref().map(|spec| &spec.suite.framework);
    if framework == Some(&Framework::Cargo) {
        "building the tests, then discovering them"
    } else {
        "discovering tests"
    }
}

/// A few lines, each but the first below what it belongs to.
fn block(text: &str) -> String {
    let lines: Vec<String> =
        clean(text).trim_end().lines().take(LINES).map(|line| one_line(line, MESSAGE_WIDTH)).collect();
    lines.join("\n    ")
}

/// A plan in one line.
pub fn plan_line(plan: &PlanSummary) -> String {
    let mut text = format!(
        "plan: {} of at most {} on {}, {} predicted",
        count(plan.bundles, "bundle"),
        millis(plan.cap_ms),
        count(plan.slots, "slot"),
        millis(plan.makespan_ms)
    );
    if plan.lower_bound > 0 {
        let bound = one_line(&plan.bound, ID_WIDTH);
        text += &format!("; no plan has fewer than {} ({bound})", count(plan.lower_bound, "bundle"));
    }
    if plan.oversize > 0 {
        text += &format!("; {} longer than the cap, for one test or relation is", plan.oversize);
    }
    if plan.unknown > 0 {
        let whose = if plan.unknown == 1 { "its" } else { "their" };
        text += &format!("; {} without a history of {whose} own", count(plan.unknown, "test"));
    }
    text
}
