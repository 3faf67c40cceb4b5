//! Which events met which states of the scheduler's core: of runs, of attempts and of executors. A pair that no history
//! comes to is a gap, unless it is listed with why it cannot be, or why it hardly ever is; one that cannot be and is
//! reached is a mistake of that list, or of the core.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use seagull_domain::{
    AttemptId, AttemptReport, AttemptState, Batch, EndCause, ExecutorId, Instant, Report, RunId,
};
use seagull_scheduler_core::{Attempt, Event, Phase, Run, State, Status, Watch};

/// A state and an event.
pub type Pair = (&'static str, &'static str);
pub type Pairs = BTreeMap<Pair, u64>;

pub struct Table {
    states: &'static [&'static str],
    events: &'static [&'static str],
    /// Why a pair cannot be. No event stands for all of them.
    impossible: &'static [Reason],
    /// What takes more coincidence than the histories of CI are sure to have.
    rare: &'static [Reason],
}

type Reason = (&'static str, &'static [&'static str], &'static str);

pub const TABLES: &[Table] = &[RUNS, ATTEMPTS, EXECUTORS];

const RUNS: Table = Table {
    states: &[
        "run unknown",
        "run discovering",
        "run discovering, plan anticipated",
        "run planning",
        "run planning, plan anticipated",
        "run running",
        "run stopping",
        "run judging",
        "run judged",
        "run ended",
    ],
    events: &[
        "submitted",
        "cancelled",
        "judged",
        "still judged",
        "watched",
        "unwatched",
        "planned",
        "cannot be planned",
        "anticipated",
        "archived",
        "recovered",
        "unwatched for too long",
        "judge silent for too long",
        "trial due",
    ],
    impossible: &[
        ("run unknown", &["archived"], "what has ended is archived once"),
        (
            "run unknown",
            &["recovered", "unwatched for too long", "judge silent for too long", "trial due"],
            "nothing is known of it",
        ),
        ("run discovering", &["judge silent for too long"], NOT_JUDGED),
        ("run discovering, plan anticipated", &["judge silent for too long"], NOT_JUDGED),
        ("run planning", &["judge silent for too long"], NOT_JUDGED),
        ("run planning, plan anticipated", &["judge silent for too long"], NOT_JUDGED),
        ("run running", &["judge silent for too long"], NOT_JUDGED),
        ("run stopping", &["judge silent for too long"], NOT_JUDGED),
        ("run ended", &["judge silent for too long"], NOT_JUDGED),
        ("run stopping", &["unwatched for too long"], "what stops needs nobody to watch it"),
        ("run ended", &["unwatched for too long"], "what has ended needs nobody to watch it"),
        ("run discovering", &["archived"], NOT_ENDED),
        ("run discovering", &["planned", "cannot be planned"], NOT_ASKED),
        ("run discovering, plan anticipated", &["archived"], NOT_ENDED),
        ("run discovering, plan anticipated", &["planned", "cannot be planned"], NOT_ASKED),
        ("run planning", &["archived"], NOT_ENDED),
        ("run planning, plan anticipated", &["archived"], NOT_ENDED),
        ("run running", &["archived"], NOT_ENDED),
        (
            "run running",
            &["planned", "cannot be planned"],
            "what runs has its plan, and no other is asked for",
        ),
        ("run stopping", &["archived"], NOT_ENDED),
        ("run judging", &["archived"], NOT_ENDED),
        (
            "run judging",
            &["planned", "cannot be planned"],
            "what has no plan yet is stopped by its client alone, and then nobody judges it",
        ),
        ("run judged", &[], "what is judged has ended when the step is over"),
    ],
    rare: &[
        (
            "run discovering, plan anticipated",
            &["anticipated"],
            "an executor leaves while it discovers, and what was anticipated before comes late",
        ),
        (
            "run planning, plan anticipated",
            &["anticipated"],
            "an executor leaves while it discovers, and what was anticipated before comes later still",
        ),
        (
            "run planning, plan anticipated",
            &["cannot be planned", "judged", "still judged", "unwatched"],
            SHORT,
        ),
        ("run planning", &["unwatched", "unwatched for too long", "trial due"], SHORT),
        ("run planning, plan anticipated", &["unwatched for too long", "trial due"], SHORT),
        (
            "run discovering, plan anticipated",
            &["unwatched for too long"],
            "a discovery ends sooner than a client is waited for",
        ),
        ("run discovering", &["trial due"], NO_CORDON),
        ("run discovering, plan anticipated", &["trial due"], NO_CORDON),
        ("run judging", &["unwatched for too long"], "a client whose word is waited for watches, as a rule"),
        ("run ended", &["trial due"], "what has ended is archived before that"),
        ("run stopping", &["cannot be planned"], SHORT),
        ("run unknown", &["planned", "cannot be planned"], "a run is archived before it is planned"),
        ("run unknown", &["anticipated"], LATE),
        ("run stopping", &["anticipated"], LATE),
        ("run judging", &["anticipated"], LATE),
        ("run ended", &["anticipated"], LATE),
    ],
};

const NO_CORDON: &str = "an executor is cordoned when others do better, and that shows when there is a plan";
const SHORT: &str = "a plan takes less than a second";
const LATE: &str = "what is anticipated takes longer than the run does";
const NOT_JUDGED: &str = "it waits for its client's word when all is decided, and not before";
const NOT_ENDED: &str = "only what has ended is to be archived";
const NOT_ASKED: &str = "a plan is asked for when the discovery has ended, and none is made after it";

const ATTEMPTS: Table = Table {
    states: &[
        "attempt unknown",
        "attempt discovers",
        "attempt of an anticipated plan",
        "attempt runs",
        "attempt asked for tests",
        "attempt alone",
        "attempt beside another copy",
        "attempt superseded",
        "attempt withdrawn",
        "attempt ended",
        "attempt lost",
    ],
    events: &[
        "waits",
        "is at it",
        "completed",
        "discovered",
        "discovery failed",
        "stopped",
        "gave back",
        "next batch",
        "batch again",
        "batch too early",
        "recovered",
        "executor lost",
    ],
    impossible: &[
        (
            "attempt unknown",
            &["batch again", "batch too early"],
            "whatever is unknown is acknowledged as it comes",
        ),
        ("attempt discovers", &["completed"], "an executor says what it has found, or why it has not"),
        ("attempt discovers", &["batch too early"], IN_ORDER),
        ("attempt of an anticipated plan", &["discovered", "discovery failed"], NO_DISCOVERY),
        ("attempt of an anticipated plan", &["stopped"], "it is withdrawn before anything of it is stopped"),
        ("attempt of an anticipated plan", &["batch too early"], IN_ORDER),
        ("attempt runs", &["discovered", "discovery failed"], NO_DISCOVERY),
        ("attempt runs", &["batch too early"], IN_ORDER),
        ("attempt asked for tests", &["discovered", "discovery failed"], NO_DISCOVERY),
        ("attempt asked for tests", &["batch too early"], IN_ORDER),
        ("attempt alone", &["discovered", "discovery failed"], NO_DISCOVERY),
        ("attempt alone", &["batch too early"], IN_ORDER),
        ("attempt beside another copy", &["discovered", "discovery failed"], NO_DISCOVERY),
        ("attempt beside another copy", &["batch too early"], IN_ORDER),
        ("attempt superseded", &["discovered", "discovery failed"], NO_DISCOVERY),
        ("attempt superseded", &["batch too early"], IN_ORDER),
        ("attempt withdrawn", &["discovered", "discovery failed"], NO_DISCOVERY),
        ("attempt unknown", &["recovered", "executor lost"], "nothing is known of it"),
        ("attempt ended", &["executor lost"], NOT_THERE),
        ("attempt lost", &["executor lost"], NOT_THERE),
    ],
    rare: &[
        ("attempt unknown", &["gave back", "discovery failed"], "its run is archived before it has ended"),
        (
            "attempt alone",
            &["batch again"],
            "an answer is lost between the result of its one test and its end",
        ),
        (
            "attempt beside another copy",
            &["batch again", "gave back", "stopped", "recovered", "executor lost"],
            "few tests have a second copy, and for seconds",
        ),
        (
            "attempt superseded",
            &["waits", "completed", "gave back", "next batch", "batch again", "recovered", "executor lost"],
            "few tests have a second copy, and the slower one is stopped as soon as its executor hears of the other",
        ),
        ("attempt lost", &["discovery failed"], "an executor that was lost comes back with that"),
        ("attempt lost", &["batch too early"], "one before it came when the attempt was withdrawn"),
    ],
};

const NO_DISCOVERY: &str = "an executor does not say of a bundle what it says of a discovery";
const NOT_THERE: &str = "its executor has it no more";
const IN_ORDER: &str = "an executor sends in order all that is not acknowledged";

const EXECUTORS: Table = Table {
    states: &[
        "executor unknown",
        "executor not seen since recovery",
        "executor that has had no answer",
        "executor there",
        "executor cordoned",
        "executor draining",
    ],
    events: &[
        "reports",
        "reports late",
        "reports as a new boot",
        "reports as an old boot",
        "call closed",
        "old call closed",
        "call held long enough",
        "lease over",
        "scheduler stood still",
        "kept waiting",
        "asked to leave",
    ],
    impossible: &[
        (
            "executor unknown",
            &[
                "reports late",
                "reports as a new boot",
                "reports as an old boot",
                "call closed",
                "call held long enough",
                "lease over",
                "scheduler stood still",
            ],
            "there is nothing to compare with",
        ),
        (
            "executor not seen since recovery",
            &[
                "reports late",
                "reports as a new boot",
                "reports as an old boot",
                "call closed",
                "call held long enough",
                "kept waiting",
            ],
            "no boot and no call is known of it",
        ),
        (
            "executor that has had no answer",
            &["call held long enough"],
            "what does not know its newest desired state is answered at once",
        ),
    ],
    rare: &[
        (
            "executor draining",
            &["reports as a new boot", "reports as an old boot"],
            "an executor that drains dies, and another process has its name before its lease is over",
        ),
        (
            "executor cordoned",
            &["reports as an old boot", "asked to leave"],
            "few executors are cordoned, and each for a part of its run",
        ),
    ],
};

impl Table {
    /// Pairs that were neither reached nor listed, and pairs that cannot be and were reached.
    pub fn judge(&self, reached: &Pairs) -> (Vec<Pair>, Vec<Pair>) {
        let is_gap = |pair: &Pair| {
            !reached.contains_key(pair) && !is_listed(self.impossible, pair) && !is_listed(self.rare, pair)
        };
        let is_mistake = |pair: &Pair| reached.contains_key(pair) && is_listed(self.impossible, pair);
        (self.all().filter(is_gap).collect(), self.all().filter(is_mistake).collect())
    }

    fn all(&self) -> impl Iterator<Item = Pair> {
        self.states.iter().flat_map(|state| self.events.iter().map(move |event| (*state, *event)))
    }
}

fn is_listed(reasons: &[Reason], (state, event): &Pair) -> bool {
    reasons.iter().any(|(of, events, _)| of == state && (events.is_empty() || events.contains(event)))
}

/// What an event meets, before its step.
pub fn met(state: &State, now: Instant, event: &Event) -> Vec<Pair> {
    let of_run = |run: &RunId, event| vec![(run_state(state.runs.get(run)), event)];
    match event {
        Event::Submit { spec, .. } => of_run(&spec.id, "submitted"),
        Event::Cancel { run, .. } => of_run(run, "cancelled"),
        Event::Judge { run, word: Some(_), .. } => of_run(run, "judged"),
        Event::Judge { run, .. } => of_run(run, "still judged"),
        Event::Watched { run } => of_run(run, "watched"),
        Event::Unwatched { run } => of_run(run, "unwatched"),
        Event::Planned { run, outcome: Ok(_), .. } => of_run(run, "planned"),
        Event::Planned { run, .. } => of_run(run, "cannot be planned"),
        Event::Anticipated { run, .. } => of_run(run, "anticipated"),
        Event::Archived { run } => of_run(run, "archived"),
        Event::Report { report, .. } => of_report(state, report),
        Event::Drain { executors, .. } => {
            let of = |id| (executor_state(state, id), "asked to leave");
            executors.iter().map(of).collect()
        }
        Event::Disconnected { executor, boot, sequence } => {
            let known = state.executors.get(executor);
            let newest = known.is_some_and(|of| (of.boot.as_ref(), of.sequence) == (Some(boot), *sequence));
            vec![(executor_state(state, executor), if newest { "call closed" } else { "old call closed" })]
        }
        Event::Tick => {
            let executors = state.executors.keys().flat_map(|id| due(state, id, now));
            executors.chain(runs_due(state, now)).collect()
        }
        Event::Unanswered(executors) => {
            executors.iter().map(|id| (executor_state(state, id), "kept waiting")).collect()
        }
        Event::Paused(_) => {
            state.executors.keys().map(|id| (executor_state(state, id), "scheduler stood still")).collect()
        }
        Event::Recovered => {
            let attempts = |(id, run): (&RunId, &Run)| {
                run.attempts.keys().map(|attempt| attempt_state(state, id, *attempt)).collect::<Vec<_>>()
            };
            let attempts = state.runs.iter().flat_map(attempts);
            let all = state.runs.values().map(|run| run_state(Some(run))).chain(attempts);
            all.map(|of| (of, "recovered")).collect()
        }
    }
}

fn runs_due(state: &State, now: Instant) -> impl Iterator<Item = Pair> {
    let is_over = move |watch: &Watch| watch.watchers == 0 && watch.since + watch.patience <= now;
    let orphans = state.watches.iter().filter(move |(_, watch)| is_over(watch));
    let orphans = orphans.map(|(run, _)| (run, "unwatched for too long"));
    let silent = state.judgements.iter().filter(move |(_, until)| **until <= now);
    let silent = silent.map(|(run, _)| (run, "judge silent for too long"));
    let trials = state.trials.iter().filter(move |(_, at)| at.is_some_and(|at| at <= now));
    let trials = trials.map(|((run, _), _)| (run, "trial due"));
    orphans.chain(silent).chain(trials).map(|(run, what)| (run_state(state.runs.get(run)), what))
}

/// What an executor is lost with.
fn lost_with<'a>(state: &'a State, executor: &ExecutorId) -> impl Iterator<Item = Pair> + use<'a> {
    let placed = state.placed.get(executor).into_iter().flatten();
    placed.map(|(attempt, run)| (attempt_state(state, run, *attempt), "executor lost"))
}

fn due(state: &State, id: &ExecutorId, now: Instant) -> Vec<Pair> {
    let executor = &state.executors[id];
    let own = executor_state(state, id);
    if executor.lease_until <= now {
        std::iter::once((own, "lease over")).chain(lost_with(state, id)).collect()
    } else if executor.held.is_some_and(|held| held.until <= now) {
        vec![(own, "call held long enough")]
    } else {
        Vec::new()
    }
}

fn run_state(run: Option<&Run>) -> &'static str {
    let Some(run) = run else { return "run unknown" };
    match (run.phase, run.anticipated.is_some()) {
        (Phase::Discovering, false) => "run discovering",
        (Phase::Discovering, true) => "run discovering, plan anticipated",
        (Phase::Planning { .. }, false) => "run planning",
        (Phase::Planning { .. }, true) => "run planning, plan anticipated",
        (Phase::Running, _) => "run running",
        (Phase::Stopping(_), _) => "run stopping",
        (Phase::Judging, _) => "run judging",
        (Phase::Judged, _) => "run judged",
        (Phase::Ended { .. }, _) => "run ended",
    }
}

fn executor_state(state: &State, id: &ExecutorId) -> &'static str {
    let is_cordoned = |run: &Run| run.sick.get(id).is_some_and(|signs| signs.cordon.is_some());
    match state.executors.get(id) {
        None => "executor unknown",
        Some(executor) if executor.boot.is_none() => "executor not seen since recovery",
        Some(executor) if executor.draining => "executor draining",
        Some(executor) if !executor.answered => "executor that has had no answer",
        Some(_) if state.runs.values().any(is_cordoned) => "executor cordoned",
        Some(_) => "executor there",
    }
}

/// What is out of date is looked at no further.
fn of_report(state: &State, report: &Report) -> Vec<Pair> {
    let known = state.executors.get(&report.executor);
    let boot = known.and_then(|known| known.boot.as_ref());
    let had_it = state.names.contains(&(report.executor.clone(), report.boot.clone()));
    let what = match known {
        Some(known) if boot == Some(&report.boot) && report.sequence <= known.sequence => "reports late",
        Some(_) if boot.is_some_and(|boot| *boot != report.boot) && had_it => "reports as an old boot",
        Some(_) if boot.is_some_and(|boot| *boot != report.boot) => "reports as a new boot",
        _ => "reports",
    };
    let mut pairs = vec![(executor_state(state, &report.executor), what)];
    if what == "reports as a new boot" {
        pairs.extend(lost_with(state, &report.executor));
    }
    if matches!(what, "reports" | "reports as a new boot") {
        let mut next = BTreeMap::new();
        pairs.extend(report.batches.iter().map(|batch| of_batch(state, batch, &mut next)));
        pairs.extend(report.attempts.iter().map(|status| of_attempt(state, status)));
    }
    pairs
}

/// `next` has the numbers that are due after the batches of the report before.
fn of_batch(state: &State, batch: &Batch, next: &mut BTreeMap<AttemptId, u32>) -> Pair {
    let attempt = state.runs.get(&batch.run).and_then(|run| run.attempts.get(&batch.attempt));
    let due = attempt.map_or(batch.number, |attempt| attempt.batch + 1);
    let due = next.entry(batch.attempt).or_insert(due);
    let what = match batch.number.cmp(due) {
        Ordering::Equal => "next batch",
        Ordering::Less => "batch again",
        Ordering::Greater => "batch too early",
    };
    *due += u32::from(batch.number == *due);
    (attempt_state(state, &batch.run, batch.attempt), what)
}

fn of_attempt(state: &State, status: &AttemptReport) -> Pair {
    let what = match &status.state {
        AttemptState::Waiting => "waits",
        AttemptState::Running(_) => "is at it",
        AttemptState::Ended(EndCause::Completed) => "completed",
        AttemptState::Ended(EndCause::Discovered(_)) => "discovered",
        AttemptState::Ended(EndCause::DiscoveryFailed(_)) => "discovery failed",
        AttemptState::Ended(EndCause::Cancelled) => "stopped",
        AttemptState::Ended(EndCause::GaveBack(..)) => "gave back",
    };
    (attempt_state(state, &status.run, status.attempt), what)
}

fn attempt_state(state: &State, run: &RunId, id: AttemptId) -> &'static str {
    let run = state.runs.get(run);
    let Some((run, attempt)) = run.and_then(|run| Some((run, run.attempts.get(&id)?))) else {
        return "attempt unknown";
    };
    let Attempt { status, withdrawn, bundle, asked, alone, superseded, left, .. } = attempt;
    let is_copied =
        || left.values().any(|(test, _)| run.test(*test).copied.is_some_and(|of| of.contains(&id)));
    match status {
        Status::Ended => "attempt ended",
        Status::Lost => "attempt lost",
        Status::Live if *withdrawn => "attempt withdrawn",
        Status::Live if bundle.is_none() => "attempt discovers",
        Status::Live if run.anticipated.is_some() => "attempt of an anticipated plan",
        Status::Live if *superseded => "attempt superseded",
        Status::Live if is_copied() => "attempt beside another copy",
        Status::Live if !asked.is_empty() => "attempt asked for tests",
        Status::Live if *alone => "attempt alone",
        Status::Live => "attempt runs",
    }
}
