//! The stream of a run: what a fact means to its readers. Pure, so that it is the same after recovery.

use seagull_domain::{
    Alone, Digest, EndCause, Generation, InfraCause, PlanSummary, Record, RunEvent, SuiteError,
};

use crate::fact::{CutOff, Fact, What};

/// The events that a fact projects to, in order; often one, for bookkeeping none.
pub fn project(fact: &Fact) -> Vec<RunEvent> {
    match &fact.what {
        What::Submitted(spec) => vec![RunEvent::RunStarted(Box::new(spec.shown()))],
        What::Assigned { attempt, bundle, executor, number, tests, copy, .. } => {
            vec![RunEvent::AttemptAssigned {
                attempt: *attempt,
                executor: executor.clone(),
                slot: *number,
                discovery: bundle.is_none(),
                tests: *tests,
                copy: *copy,
            }]
        }
        What::Planned { generation, plan } => {
            confirmed(*generation, plan.manifest, plan.predicted_us.len() as u32, &plan.summary)
        }
        What::Confirmed { generation, manifest, tests, summary } => {
            confirmed(*generation, *manifest, *tests, summary)
        }
        What::Discarded { manifest, tests, count } => {
            let (manifest, tests, count) = (*manifest, tests.clone(), *count);
            vec![RunEvent::ResultsDiscarded { manifest, tests, count }]
        }
        What::DiscoveryFailed { message } => vec![RunEvent::DiscoveryFailed { message: message.clone() }],
        What::Recorded { .. } => recorded(&fact.what),
        What::TakenBack { attempt, given, why, .. } => {
            vec![RunEvent::TakenBack { attempt: *attempt, tests: *given, why: *why }]
        }
        What::AttemptEnded { .. } | What::AttemptLost { .. } => {
            lost(&fact.what).into_iter().chain(cut_off(&fact.what)).collect()
        }
        What::Condemned { attempt, executor, slot, result } => vec![RunEvent::TestFinished {
            result: (**result).clone(),
            attempt: *attempt,
            executor: executor.clone(),
            slot: *slot,
            evidence: None,
        }],
        What::ExecutorLost { executor, cause } => {
            vec![RunEvent::ExecutorLost { executor: executor.clone(), cause: *cause }]
        }
        What::ExecutorDrained { executor, cause, why, .. } => {
            let (executor, cause, why) = (executor.clone(), *cause, why.clone());
            vec![RunEvent::ExecutorDrained { executor, cause, why }]
        }
        What::Cordoned { executor, sickness, attempts, elsewhere, .. } => vec![RunEvent::ExecutorCordoned {
            executor: executor.clone(),
            sickness: *sickness,
            attempts: *attempts,
            elsewhere: *elsewhere,
        }],
        What::Back { executor } => vec![RunEvent::ExecutorBack { executor: executor.clone() }],
        What::Decided { verdicts } => {
            let event = |(test, verdict): &(_, _)| RunEvent::Verdict { test: *test, verdict: *verdict };
            verdicts.iter().map(event).collect()
        }
        What::Stopping { reason } => vec![RunEvent::Stopping { reason: *reason }],
        What::JudgementAwaited { verdict } => vec![RunEvent::JudgementAwaited { verdict: *verdict }],
        What::Judged { errors } => {
            let event = |error: &SuiteError| RunEvent::SuiteError { error: error.clone(), executor: None };
            errors.iter().map(event).collect()
        }
        What::Ended { verdict, counts, exit_code, .. } => {
            vec![RunEvent::RunFinished { verdict: *verdict, counts: *counts, exit_code: *exit_code }]
        }
        What::Bundled { .. }
        | What::Anticipated { .. }
        | What::Provisional { .. }
        | What::Withdrawn
        | What::TakeBack { .. }
        | What::GivenUp { .. }
        | What::WorkerEnded { .. }
        | What::JudgeFound
        | What::Archived => Vec::new(),
    }
}

fn lost(what: &What) -> Option<RunEvent> {
    match what {
        What::AttemptEnded {
            attempt,
            cause: EndCause::GaveBack(cause, message),
            executor,
            left,
            charged,
            free,
            ..
        } => Some(RunEvent::AttemptLost {
            attempt: *attempt,
            executor: executor.clone(),
            cause: *cause,
            message: message.clone(),
            tests: *left,
            charged: charged.clone(),
            suspect: None,
            alone: None,
            free: *free,
        }),
        // Of what goes on without its worker, only that it is paid for is news.
        What::AttemptEnded { attempt, cause: EndCause::Completed, executor, left, charged, .. }
            if !charged.is_empty() =>
        {
            Some(RunEvent::AttemptLost {
                attempt: *attempt,
                executor: executor.clone(),
                cause: InfraCause::SandboxFailed,
                message: "its worker ended in the middle of an ordered relation".to_owned(),
                tests: *left,
                charged: charged.clone(),
                suspect: None,
                alone: None,
                free: true,
            })
        }
        What::AttemptLost { attempt, cause, executor, left, charged, suspect, alone_ms, chance, .. } => {
            Some(RunEvent::AttemptLost {
                attempt: *attempt,
                executor: executor.clone(),
                cause: *cause,
                message: String::new(),
                tests: *left,
                charged: charged.iter().copied().collect(),
                suspect: *suspect,
                alone: chance.map(|chance| Alone { ms: *alone_ms, chance }),
                free: false,
            })
        }
        _ => None,
    }
}

fn cut_off(what: &What) -> Option<RunEvent> {
    let (attempt, executor, cut_off, cause) = match what {
        What::AttemptEnded { attempt, executor, cut_off, cause, .. } => {
            let cause = if let EndCause::GaveBack(cause, _) = cause { Some(*cause) } else { None };
            (attempt, executor, cut_off, cause)
        }
        What::AttemptLost { attempt, executor, cut_off, cause, .. } => {
            (attempt, executor, cut_off, Some(*cause))
        }
        _ => return None,
    };
    let CutOff { test, ran_ms } = (*cut_off)?;
    Some(RunEvent::TestCutOff { test, attempt: *attempt, executor: executor.clone(), ran_ms, cause })
}

fn confirmed(generation: Generation, manifest: Digest, tests: u32, summary: &PlanSummary) -> Vec<RunEvent> {
    vec![RunEvent::ManifestConfirmed { generation, manifest, tests }, RunEvent::Plan(summary.clone())]
}

fn recorded(what: &What) -> Vec<RunEvent> {
    let What::Recorded { attempt, executor, slot, records, .. } = what else { return Vec::new() };
    let event = |(record, evidence): &(Record, _)| match record {
        Record::Result(result) => RunEvent::TestFinished {
            result: result.clone(),
            attempt: *attempt,
            executor: executor.clone(),
            slot: *slot,
            evidence: *evidence,
        },
        Record::Missing { test, reason } => RunEvent::TestMissing {
            test: *test,
            attempt: *attempt,
            executor: executor.clone(),
            reason: reason.clone(),
        },
        Record::SuiteError(error) => suite_error(error, executor),
        Record::Attached { test, file } => RunEvent::Attached {
            test: *test,
            file: file.clone(),
            attempt: *attempt,
            executor: executor.clone(),
            slot: *slot,
        },
        Record::Held { test, hold } => RunEvent::Held {
            test: *test,
            hold: hold.clone(),
            attempt: *attempt,
            executor: executor.clone(),
            slot: *slot,
        },
        Record::Left { test, left } => RunEvent::Left {
            test: *test,
            left: left.clone(),
            attempt: *attempt,
            executor: executor.clone(),
            slot: *slot,
        },
        Record::Used(used) => {
            RunEvent::Used { used: *used, attempt: *attempt, executor: executor.clone(), slot: *slot }
        }
        Record::Images(images) => RunEvent::Images {
            images: images.clone(),
            attempt: *attempt,
            executor: executor.clone(),
            slot: *slot,
        },
        Record::Coverage(data) => RunEvent::Coverage { data: *data, executor: executor.clone(), slot: *slot },
    };
    records.iter().map(event).collect()
}

fn suite_error(error: &SuiteError, executor: &seagull_domain::ExecutorId) -> RunEvent {
    RunEvent::SuiteError { error: error.clone(), executor: Some(executor.clone()) }
}
