//! How often each kind of event and of fault occurred.

use std::collections::BTreeMap;
use std::fmt;

use seagull_domain::{EndCause, Evidence, NotExecuted, Recall, Sickness};
use seagull_scheduler_core::{Effect, What};

use crate::oracle::Innocents;
use crate::pairs::{Pair, Pairs};

#[derive(Default, Clone)]
pub struct Census {
    kinds: BTreeMap<&'static str, u64>,
    /// Of all cores together.
    pub steps: u64,
    /// What events met in the scheduler's core.
    pub pairs: Pairs,
    pub innocents: Innocents,
    /// After so many steps a core's state is checked; 0 is after each.
    pub check_every: u64,
}

/// Every kind that must occur, so that one that never does is noticed.
pub const KINDS: &[&str] = &[
    "fact: submitted",
    "fact: assigned",
    "fact: planned",
    "fact: anticipated",
    "fact: provisional",
    "fact: confirmed",
    "fact: withdrawn",
    "fact: discarded",
    "fact: discovery failed",
    "fact: bundled",
    "fact: recorded",
    "fact: take back",
    "fact: taken back",
    "fact: attempt completed",
    "fact: attempt discovered",
    "fact: attempt cancelled",
    "fact: attempt gave back",
    "fact: attempt lost",
    "fact: condemned",
    "fact: given up",
    "fact: worker ended",
    "fact: executor lost",
    "fact: executor drained",
    "fact: executor cordoned",
    "fact: executor back",
    "fact: decided",
    "fact: stopping",
    "fact: judge found",
    "fact: judgement awaited",
    "fact: judged",
    "fact: ended",
    "fact: archived",
    "effect: answer",
    "effect: drop",
    "effect: submitted",
    "effect: attached",
    "effect: heard",
    "effect: plan",
    "effect: anticipate",
    "effect: archive",
    "effect: live",
    "met: result after decision",
    "met: predecessor run again",
    "met: retry",
    "met: answer kept waiting",
    "met: late result taken",
    "met: suspect to run alone",
    "met: bundle cut in two",
    "met: machine on which nothing starts cordoned",
    "met: machine on which tests fail cordoned",
    "met: asked back and kept",
    "met: second copy",
    "met: first memory kill",
    "met: larger slot",
    "met: slower copy cancelled",
    "met: given back by an executor that drains",
    "met: given back past twice the cap",
    "met: early start under another manifest",
    "met: run cancelled",
    "met: run failed fast",
    "met: run orphaned",
    "met: run given up after losses",
    "met: run judged by two clients",
    "met: run cancelled while it is judged",
    "met: two runs at a time",
    "met: worker for a whole collection",
    "met: worker of a named environment",
    "met: controller started",
    "services made clean",
    "fault: message lost",
    "fault: message repeated",
    "fault: message delayed",
    "fault: connection cut",
    "fault: call timed out",
    "fault: text late",
    "fault: executor died",
    "fault: executor killed by a test",
    "fault: executor came back",
    "fault: executor paused",
    "fault: executor paused past its lease",
    "fault: executor cut off",
    "fault: executor joined late",
    "fault: executor left",
    "fault: executor drained by an operator",
    "fault: scheduler crashed",
    "fault: facts lost in a crash",
    "fault: facts durable and not acknowledged",
    "fault: journal failed",
    "fault: journal stalled",
    "fault: scheduler paused",
    "fault: scheduler paused past all leases",
    "fault: recovered from a snapshot",
    "fault: client lost",
    "fault: clients cut off",
    "fault: clock too fast",
    "fault: clock too slow",
    "fault: client lost before it judged",
    "fault: contents unavailable",
    "fault: worker not started",
    "fault: worker not started on a sick machine",
    "fault: test failed on a sick machine",
    "fault: worker died before it was ready",
    "fault: worker stuck at start",
    "fault: worker died idle",
    "fault: worker died in session start",
    "fault: worker crashed by a test",
    "fault: worker killed for want of memory",
    "fault: worker crashed collecting",
    "fault: worker killed at a limit",
    "fault: worker killed at the grace",
    "fault: session ended by a test",
    "fault: session finish failed",
    "fault: worker died finishing",
    "fault: controller not started",
    "fault: controller stuck",
    "fault: controller died",
    "fault: controller stuck finishing",
    "fault: controller died finishing",
    "fault: test missing",
    "fault: test interrupted",
];

impl Census {
    pub fn count(&mut self, kind: &'static str) {
        debug_assert!(KINDS.contains(&kind), "{kind} is not a listed kind");
        *self.kinds.entry(kind).or_default() += 1;
    }

    /// Counts a step; says whether what it came to is to be checked as a whole.
    pub fn takes_a_close_look(&mut self) -> bool {
        self.steps += 1;
        self.steps.is_multiple_of(self.check_every.max(1))
    }

    pub fn meet(&mut self, pairs: Vec<Pair>) {
        for pair in pairs {
            *self.pairs.entry(pair).or_default() += 1;
        }
    }

    pub fn add(&mut self, other: &Census) {
        self.steps += other.steps;
        self.innocents.add(other.innocents);
        for (pair, count) in &other.pairs {
            *self.pairs.entry(*pair).or_default() += count;
        }
        for (kind, count) in &other.kinds {
            *self.kinds.entry(kind).or_default() += count;
        }
    }

    pub fn of(&self, kind: &str) -> u64 {
        self.kinds.get(kind).copied().unwrap_or(0)
    }

    /// Kinds seen less than `least` times.
    pub fn rare(&self, least: u64) -> Vec<&'static str> {
        KINDS.iter().filter(|kind| self.of(kind) < least).copied().collect()
    }
}

impl fmt::Display for Census {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        KINDS.iter().try_for_each(|kind| writeln!(f, "{:>10}  {kind}", self.of(kind)))
    }
}

pub fn fact_kind(what: &What) -> &'static str {
    match what {
        What::Submitted(_) => "fact: submitted",
        What::Assigned { .. } => "fact: assigned",
        What::Planned { .. } => "fact: planned",
        What::Anticipated { .. } => "fact: anticipated",
        What::Provisional { .. } => "fact: provisional",
        What::Confirmed { .. } => "fact: confirmed",
        What::Withdrawn => "fact: withdrawn",
        What::Discarded { .. } => "fact: discarded",
        What::DiscoveryFailed { .. } => "fact: discovery failed",
        What::Bundled { .. } => "fact: bundled",
        What::Recorded { .. } => "fact: recorded",
        What::TakeBack { .. } => "fact: take back",
        What::TakenBack { .. } => "fact: taken back",
        What::AttemptEnded { cause: EndCause::Completed, .. } => "fact: attempt completed",
        What::AttemptEnded { cause: EndCause::Discovered(_) | EndCause::DiscoveryFailed(_), .. } => {
            "fact: attempt discovered"
        }
        What::AttemptEnded { cause: EndCause::Cancelled, .. } => "fact: attempt cancelled",
        What::AttemptEnded { cause: EndCause::GaveBack(..), .. } => "fact: attempt gave back",
        What::AttemptLost { .. } => "fact: attempt lost",
        What::Condemned { .. } => "fact: condemned",
        What::GivenUp { .. } => "fact: given up",
        What::WorkerEnded { .. } => "fact: worker ended",
        What::ExecutorLost { .. } => "fact: executor lost",
        What::ExecutorDrained { .. } => "fact: executor drained",
        What::Cordoned { .. } => "fact: executor cordoned",
        What::Back { .. } => "fact: executor back",
        What::Decided { .. } => "fact: decided",
        What::Stopping { .. } => "fact: stopping",
        What::JudgeFound => "fact: judge found",
        What::JudgementAwaited { .. } => "fact: judgement awaited",
        What::Judged { .. } => "fact: judged",
        What::Ended { .. } => "fact: ended",
        What::Archived => "fact: archived",
    }
}

pub fn effect_kind(effect: &Effect) -> &'static str {
    match effect {
        Effect::Answer { .. } => "effect: answer",
        Effect::Drop { .. } | Effect::Displaced { .. } => "effect: drop",
        Effect::Submitted { attached: true, .. } => "effect: attached",
        Effect::Submitted { .. } => "effect: submitted",
        Effect::Refused { .. } => unreachable!("no run of a history is refused"),
        Effect::Heard { .. } => "effect: heard",
        Effect::Plan { .. } => "effect: plan",
        Effect::Anticipate { .. } => "effect: anticipate",
        Effect::Archive { .. } => "effect: archive",
        Effect::Live { .. } => "effect: live",
    }
}

/// Situations within facts that are worth counting of their own.
pub fn met(what: &What) -> Option<&'static str> {
    match what {
        What::Assigned { larger: true, .. } => Some("met: larger slot"),
        What::Assigned { copy: Some(_), .. } => Some("met: second copy"),
        What::Recorded { records, .. } => records.iter().find_map(|(_, evidence)| match evidence {
            Some(Evidence::AfterDecision) => Some("met: result after decision"),
            Some(Evidence::Predecessor) => Some("met: predecessor run again"),
            Some(Evidence::FirstMemoryKill) => Some("met: first memory kill"),
            // No disk has a bound there.
            Some(Evidence::FirstDiskKill) | None => None,
        }),
        What::Bundled { alone: true, .. } => Some("met: suspect to run alone"),
        What::Bundled { in_vain: 2.., .. } => Some("met: bundle cut in two"),
        What::Cordoned { sickness: Sickness::NothingStarts, .. } => {
            Some("met: machine on which nothing starts cordoned")
        }
        What::Cordoned { sickness: Sickness::TestsFail, .. } => {
            Some("met: machine on which tests fail cordoned")
        }
        What::Bundled { avoid, entries, .. } if !avoid.is_empty() && entries.len() == 1 => Some("met: retry"),
        What::TakenBack { given: 1.., why: Recall::Drained, .. } => {
            Some("met: given back by an executor that drains")
        }
        What::TakenBack { given: 1.., why: Recall::PastCap, .. } => {
            Some("met: given back past twice the cap")
        }
        What::TakenBack { kept, .. } if !kept.is_empty() => Some("met: asked back and kept"),
        What::Planned { plan, .. } if plan.moved.is_some() => Some("met: early start under another manifest"),
        What::Stopping { reason: NotExecuted::Cancelled } => Some("met: run cancelled"),
        What::Stopping { reason: NotExecuted::FailFast } => Some("met: run failed fast"),
        What::Stopping { reason: NotExecuted::Orphaned } => Some("met: run orphaned"),
        What::Stopping { reason: NotExecuted::Infra(_) } => Some("met: run given up after losses"),
        _ => None,
    }
}
