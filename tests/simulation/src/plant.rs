//! Bugs that the harness can be told to have, to show that the oracle would find them in the real thing. Each is in
//! the shell or the network around the cores, never in the cores.

use std::collections::BTreeMap;

use seagull_domain::{AttemptState, EndCause, Instant, Report};
use seagull_scheduler_core::{Death, Plan, State};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// A verdict that was decided because a lease ran out never reaches the stream.
    VerdictDroppedAtLeaseExpiry,
    /// A report claims that everything asked back is given back, before the executor has done so.
    RetakenBeforeReportedGone,
    /// Effects are performed before their facts are durable.
    AcknowledgedBeforeDurable,
    /// A client is told that its run is cancelled before that is durable.
    CancellationHeardAtOnce,
    /// An answer that was overtaken is passed off as the newest.
    StaleDesiredApplied,
    /// A report claims that the slower copy of a test is gone, before it is.
    DecidedByTheFirstCopy,
    /// What is reported again is taken for the next batch.
    BatchCountedTwice,
    /// A report that was overtaken is taken for the newest, and what it delivers for the next batch.
    OvertakenCountedTwice,
    /// An executor that is to be woken at some time is not woken sooner.
    WakeUpLost,
    /// The last results in the journal are not read when a scheduler starts.
    FactNotReplayed,
    /// The scheduler does not notice that it stood still.
    PauseUnnoticed,
    /// Who waits for an answer that waits for the disk is taken for silent.
    UnansweredTakenForSilent,
    /// An executor does not notice that it stood still.
    StandstillUnnoticed,
    /// One effect of the recovery is not performed.
    EffectLostAtRecovery,
    /// What was kept of an anticipated plan is not told of when that is confirmed.
    BufferedDroppedAtConfirmation,
    /// What runs of an anticipated plan goes on under another manifest with its tests' old indices.
    TestsNotMoved,
    /// The scheduler forgets that what waits is to run alone.
    SuspectMarkLost,
    /// The scheduler counts what a test was lost with among others as if it had been alone.
    CondemnedForOneDeath,
    /// The scheduler forgets how many executors were lost.
    LossesForgotten,
    /// Half of a bundle that was cut in two is lost.
    HalfDropped,
    /// The scheduler forgets where attempts were red.
    RedForgotten,
    /// A cordon has no end.
    CordonNeverLifted,
    /// A cordon is forgotten as soon as it was told.
    CordonForgotten,
    /// The second half of a *together* relation is planned as a bundle of its own.
    RelationCut,
    /// Every sandbox is that of the default environment.
    EnvironmentIgnored,
    /// A run that waits for its client's word is told that there is nothing to say.
    SilenceTakenForConsent,
}

/// The planted bug: the rest of a relation goes to another slot.
pub fn cut_relation(plan: &mut Plan) {
    let Some(relation) = plan.relations.iter_mut().find(|relation| !relation.ordered) else { return };
    let rest = relation.tests.split_off(relation.tests.len() / 2);
    plan.relations.retain(|relation| relation.tests.len() > 1);
    plan.bundles.iter_mut().for_each(|bundle| bundle.retain(|test| !rest.contains(test)));
    plan.bundles.push(rest);
}

/// The planted bug: what a newer report has overtaken comes as the newest, and its batches as what is next.
pub fn overtake(state: &State, report: &mut Report) {
    let newest =
        state.executors.get(&report.executor).filter(|known| known.boot.as_ref() == Some(&report.boot));
    if let Some(known) = newest.filter(|known| known.sequence >= report.sequence) {
        report.sequence = known.sequence + 1;
        renumber(state, report);
    }
}

/// The planted bug: what was recorded comes as what is next.
pub fn renumber(state: &State, report: &mut Report) {
    for batch in &mut report.batches {
        let attempt = state.runs.get(&batch.run).and_then(|run| run.attempts.get(&batch.attempt));
        if attempt.is_some_and(|attempt| batch.number == attempt.batch) {
            batch.number += 1;
        }
    }
}

/// The planted bugs of what the scheduler knows.
pub fn spoil(plant: Plant, state: &mut State) {
    let runs = state.runs.values_mut();
    match plant {
        Plant::SuspectMarkLost => {
            for run in runs {
                let mut bundles = BTreeMap::clone(&run.pending);
                bundles.values_mut().for_each(|bundle| bundle.alone = false);
                run.pending = bundles.into();
            }
        }
        Plant::CondemnedForOneDeath => {
            let epoch = state.epoch;
            let suspects =
                runs.flat_map(|run| &mut run.tests).filter(|test| test.suspect && test.deaths.is_empty());
            let executor = "e0".parse().expect("a safe id");
            let death = Death { executor, alone_ms: Some(1), epoch };
            suspects.for_each(|test| test.deaths.push(death.clone()));
        }
        Plant::HalfDropped => {
            for run in runs {
                let mut bundles = BTreeMap::clone(&run.pending);
                let halves: Vec<_> = bundles.extract_if(.., |_, bundle| bundle.in_vain >= 2).collect();
                run.pending = bundles.into();
                let tests =
                    halves.iter().flat_map(|(_, half)| &half.entries).map(|(test, _)| test.0 as usize);
                tests.for_each(|test| run.tests[test].pending = None);
            }
        }
        Plant::RedForgotten => {
            runs.for_each(|run| run.sick.values_mut().for_each(|signs| signs.red = Default::default()));
        }
        Plant::LossesForgotten => state.losses.count = 0,
        Plant::CordonNeverLifted => {
            state.trials.values_mut().for_each(|trial| *trial = Some(Instant(1 << 50)));
        }
        Plant::CordonForgotten => {
            runs.for_each(|run| run.sick.values_mut().for_each(|signs| signs.cordon = None));
            state.trials.clear();
        }
        _ => {}
    }
}

/// The planted bug: says in an executor's name that it has given back all that was asked for.
pub fn claim_given_back(state: &State, report: &mut Report) {
    for status in &mut report.attempts {
        let run = state.runs.get(&status.run);
        if let Some(attempt) =
            run.and_then(|run| run.attempts.get(&status.attempt)).filter(|a| !a.asked.is_empty())
        {
            status.generation = attempt.generation;
            status.kept.clear();
        }
    }
}

/// The planted bug: says in an executor's name that what is superseded has ended.
pub fn claim_gone(state: &State, report: &mut Report) {
    for status in &mut report.attempts {
        let attempt = state.runs.get(&status.run).and_then(|run| run.attempts.get(&status.attempt));
        if attempt.is_some_and(|attempt| attempt.superseded) {
            status.state = AttemptState::Ended(EndCause::Cancelled);
        }
    }
}
