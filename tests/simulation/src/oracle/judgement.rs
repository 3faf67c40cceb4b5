//! Judgement: a run whose client judges ends with one of the words that were said, or, where the client is gone, with one
//! that says so, and no sooner than it may be given up.

use seagull_domain::{NotExecuted, RunEvent, RunVerdict, SuiteError};

use super::{Story, ensure};

const PATIENCE_MS: u64 = 120_000;
/// That it waits may be told so much later than it began to: the disk may have stalled.
const COMMIT_MS: u64 = 28_000;

pub fn check(story: &Story) -> Result<(), String> {
    let Some((_, ended, RunEvent::RunFinished { verdict, counts, .. })) = story.told.last() else {
        return Err("it has no end".into());
    };
    let of_client = |event: &RunEvent| matches!(event, RunEvent::SuiteError { executor: None, .. });
    let Some(place) = story.first(|event| matches!(event, RunEvent::JudgementAwaited { .. })) else {
        let asks = story.plan.judge.is_some_and(|judge| !judge.comes_late);
        let open = asks && counts.total > 0 && *verdict != RunVerdict::Cancelled;
        ensure(!open, || "its client was not asked".into())?;
        return ensure(story.first(of_client).is_none(), || "it was judged before it was asked for".into());
    };
    ensure(story.plan.judge.is_some(), || "waits for a client that does not judge".into())?;
    ensure(story.first(of_client).is_none_or(|first| first > place), || "it was judged too early".into())?;
    let (_, awaited, _) = story.told[place];
    let after = || story.events().skip(place + 1);
    only_late(after())?;
    let stops = |event: &RunEvent| matches!(event, RunEvent::Stopping { reason: NotExecuted::Cancelled });
    if after().any(stops) {
        return ensure(!after().any(of_client), || "was judged and cancelled".into());
    }
    let said: Vec<_> = after().filter_map(error_of_client).collect();
    let by_client = story.words.iter().any(|word| word.iter().eq(said.iter().copied()));
    let is_lost = |error: &&SuiteError| error.message.contains("its client was lost");
    let given_up = story.unwatched_since.is_some()
        && *ended + COMMIT_MS >= awaited + PATIENCE_MS
        && (said.len() == 1 && said.iter().all(is_lost)
            || said.is_empty() && *verdict == RunVerdict::Incomplete);
    ensure(by_client || given_up, || format!("ends with what nobody said: {said:?} of {:?}", story.words))
}

fn error_of_client(event: &RunEvent) -> Option<&SuiteError> {
    match event {
        RunEvent::SuiteError { error, executor: None } => Some(error),
        _ => None,
    }
}

/// Nothing is decided or given out any more; what was lost may still be heard of.
fn only_late<'a>(mut events: impl Iterator<Item = &'a RunEvent>) -> Result<(), String> {
    let is_news = |event: &&RunEvent| {
        matches!(
            event,
            RunEvent::Verdict { .. }
                | RunEvent::AttemptAssigned { .. }
                | RunEvent::TestFinished { evidence: None, .. }
                | RunEvent::JudgementAwaited { .. }
        )
    };
    events.find(is_news).map_or(Ok(()), |event| Err(format!("goes on while it is judged: {event:?}")))
}
