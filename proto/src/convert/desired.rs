//! The state desired of an executor.

use std::collections::BTreeSet;

use seagull_domain::{Desired, DesiredAttempt, EnvironmentNumber, Resources, RunId, SlotIndex, Surroundings};

use super::Invalid;
use super::scalar::{self, Checked};
use super::words::{self, Word};
use crate::{limits, v1};

impl From<Desired> for v1::DesiredMessage {
    fn from(desired: Desired) -> Self {
        let acknowledged = desired.acknowledged.into_iter();
        Self {
            epoch: desired.epoch.0,
            version: desired.version,
            attempts: desired.attempts.into_iter().map(Into::into).collect(),
            runs: desired.runs.into_iter().map(Into::into).collect(),
            cancelled: desired.cancelled.into_iter().map(Into::into).collect(),
            acknowledged: acknowledged
                .map(|(attempt, batch)| v1::Acknowledged { attempt: attempt.0, batch })
                .collect(),
            lease_ms: desired.lease_ms.min(limits::MILLIS),
            drain_ms: desired.drain_ms.map(|limit| limit.min(limits::MILLIS)),
            followed: Vec::new(),
        }
    }
}

/// The answer to a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub desired: Desired,
    /// Runs of which somebody wants to see what tests print while they run.
    pub followed: Vec<RunId>,
}

impl From<Answer> for v1::DesiredMessage {
    fn from(answer: Answer) -> Self {
        let followed = answer.followed.into_iter().map(Into::into).collect();
        Self { followed, ..answer.desired.into() }
    }
}

impl TryFrom<v1::DesiredMessage> for Answer {
    type Error = Invalid;

    fn try_from(mut message: v1::DesiredMessage) -> Checked<Self> {
        let followed = std::mem::take(&mut message.followed);
        let run = |run| scalar::id(run, "DesiredMessage.followed");
        let followed = scalar::list(followed, limits::RUNS, "DesiredMessage.followed", run)?;
        Ok(Self { desired: message.try_into()?, followed })
    }
}

impl TryFrom<v1::DesiredMessage> for Desired {
    type Error = Invalid;

    fn try_from(message: v1::DesiredMessage) -> Checked<Self> {
        let attempts = scalar::list(
            message.attempts,
            limits::ATTEMPTS,
            "DesiredMessage.attempts",
            DesiredAttempt::try_from,
        )?;
        let mut seen = BTreeSet::new();
        if !attempts.iter().all(|desired| seen.insert(desired.attempt)) {
            return Err(Invalid::new("DesiredMessage.attempts", "has an attempt twice"));
        }
        // Not bounded in number: it has no more than the report it answers, whose size is.
        let acknowledged = message.acknowledged.into_iter().map(|acknowledged| {
            let batch = scalar::at_most(acknowledged.batch, limits::SMALL_NUMBER, "Acknowledged.batch")?;
            Ok((scalar::attempt(acknowledged.attempt, "Acknowledged.attempt")?, batch))
        });
        Ok(Self {
            epoch: scalar::epoch(message.epoch, "DesiredMessage.epoch")?,
            version: scalar::number(message.version, "DesiredMessage.version")?,
            attempts,
            runs: scalar::list(message.runs, limits::RUNS, "DesiredMessage.runs", |run| {
                scalar::id(run, "DesiredMessage.runs")
            })?,
            cancelled: scalar::list(message.cancelled, limits::RUNS, "DesiredMessage.cancelled", |run| {
                scalar::id(run, "DesiredMessage.cancelled")
            })?,
            acknowledged: acknowledged.collect::<Checked<_>>()?,
            lease_ms: scalar::at_most(message.lease_ms, limits::MILLIS, "DesiredMessage.lease_ms")?,
            drain_ms: message
                .drain_ms
                .map(|limit| scalar::at_most(limit, limits::MILLIS, "DesiredMessage.drain_ms"))
                .transpose()?,
        })
    }
}

impl From<DesiredAttempt> for v1::DesiredAttempt {
    fn from(desired: DesiredAttempt) -> Self {
        Self {
            attempt: desired.attempt.0,
            run: desired.run.into(),
            kind: desired.kind.number(),
            slot: desired.slot.0.into(),
            number: desired.number.0,
            slots: desired.slots,
            generation: desired.generation.0,
            cancel: desired.cancel,
            superseded: desired.superseded,
            environment: desired.surroundings.environment.0.into(),
            larger: desired.surroundings.larger,
            memory_kib: desired.surroundings.needs.memory_kib.min(limits::NUMBER),
            millicpus: desired.surroundings.needs.millicpus.min(limits::NUMBER),
            shared_memory_kib: desired.surroundings.shared.memory_kib.min(limits::NUMBER),
            shared_millicpus: desired.surroundings.shared.millicpus.min(limits::NUMBER),
        }
    }
}

impl TryFrom<v1::DesiredAttempt> for DesiredAttempt {
    type Error = Invalid;

    fn try_from(message: v1::DesiredAttempt) -> Checked<Self> {
        let number = scalar::slot_number(message.number, "DesiredAttempt.number")?;
        let slots = scalar::at_most(message.slots, limits::SLOT_NUMBERS, "DesiredAttempt.slots")?;
        if slots <= number.0 {
            return Err(Invalid::new("DesiredAttempt.slots", format!("is {slots} with the number {number}")));
        }
        Ok(Self {
            attempt: scalar::attempt(message.attempt, "DesiredAttempt.attempt")?,
            run: scalar::id(message.run, "DesiredAttempt.run")?,
            kind: words::word(message.kind, "DesiredAttempt.kind")?,
            slot: slot_index(message.slot, limits::SLOTS, "DesiredAttempt.slot")?,
            number,
            slots,
            generation: scalar::generation(message.generation, "DesiredAttempt.generation")?,
            cancel: message.cancel,
            superseded: message.superseded,
            surroundings: Surroundings {
                environment: environment(message.environment)?,
                larger: message.larger,
                needs: Resources {
                    memory_kib: scalar::number(message.memory_kib, "DesiredAttempt.memory_kib")?,
                    millicpus: scalar::number(message.millicpus, "DesiredAttempt.millicpus")?,
                },
                shared: Resources {
                    memory_kib: scalar::number(
                        message.shared_memory_kib,
                        "DesiredAttempt.shared_memory_kib",
                    )?,
                    millicpus: scalar::number(message.shared_millicpus, "DesiredAttempt.shared_millicpus")?,
                },
            },
        })
    }
}

fn environment(number: u32) -> Checked<EnvironmentNumber> {
    let field = "DesiredAttempt.environment";
    let number = scalar::at_most(number, limits::ENVIRONMENTS as u32, field)?;
    Ok(EnvironmentNumber(u16::try_from(number).unwrap_or_default()))
}

/// The index of one of so many slots.
pub(super) fn slot_index(index: u32, slots: u32, field: &'static str) -> Checked<SlotIndex> {
    match u16::try_from(index) {
        Ok(small) if index < slots => Ok(SlotIndex(small)),
        _ => Err(Invalid::new(field, format!("is {index} of {slots} slots"))),
    }
}
