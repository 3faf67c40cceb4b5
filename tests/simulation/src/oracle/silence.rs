//! An executor is given up for silence only after the lease, or the shorter one after its connection closed.

use std::collections::BTreeMap;

use seagull_domain::{BootId, ExecutorId};

use super::ensure;
use crate::physical::{Physical, Sign};

const LEASE_MS: u64 = 15_000;
const LEASE_CLOSED_MS: u64 = 3_000;
/// A scheduler that stood still for so short does not notice.
const UNNOTICED_MS: u64 = 1_000;

/// What is known of an executor by its signs.
struct Heard {
    /// The newest report.
    report: Option<(BootId, u64)>,
    /// To when it need not be heard from.
    until: u64,
    /// A newer report is there, and the scheduler has not taken it.
    waits: bool,
    /// The call of the newest report ended.
    closed: bool,
    /// When a boot was first heard of: it shows that an earlier one is gone.
    booted: u64,
    /// The report of a boot from before that may have replaced the one that is there.
    may_replace: Option<(BootId, u64)>,
    /// Boots that another has replaced, in order; what still comes of them is late, as long as that one is there.
    gone: Vec<BootId>,
}

pub fn check(physical: &Physical) -> Result<(), String> {
    let mut executors: BTreeMap<&ExecutorId, Heard> = BTreeMap::new();
    let mut started = 0;
    // Boots heard of before the scheduler's last start, in order.
    let mut before: BTreeMap<&ExecutorId, Vec<BootId>> = BTreeMap::new();
    for (at, sign) in &physical.signs {
        match sign {
            Sign::SchedulerStarted => {
                for (executor, heard) in std::mem::take(&mut executors) {
                    before.entry(executor).or_default().extend(heard.boots());
                }
                started = *at;
            }
            Sign::SchedulerStoodStill(pause) => {
                started += pause;
                executors.values_mut().for_each(|heard| heard.until += pause);
            }
            Sign::Reported { executor, boot, sequence } => {
                let fresh = Heard {
                    report: None,
                    until: 0,
                    waits: false,
                    closed: false,
                    booted: 0,
                    may_replace: None,
                    gone: Vec::new(),
                };
                let earlier = before.get(executor).map_or(&[][..], Vec::as_slice);
                let heard = executors.entry(executor).or_insert(fresh);
                if heard.report.is_none() && *at < started + LEASE_MS && is_succeeded(boot, earlier) {
                    // The journal may know its successor, which is waited for.
                    heard.until = started + LEASE_MS;
                } else {
                    heard.reported(*at, boot, *sequence, earlier);
                }
            }
            Sign::Waits { executor, boot, sequence } => {
                if let Some(heard) = executors.get_mut(executor) {
                    let newer = |(known, newest): &(BootId, u64)| known == boot && newest < sequence;
                    heard.waits |= heard.report.as_ref().is_some_and(newer);
                }
            }
            Sign::Closed { executor, boot, sequence } => {
                let newest = Some((boot.clone(), *sequence));
                if let Some(heard) = executors.get_mut(executor).filter(|heard| heard.report == newest) {
                    heard.until = heard.until.min(at + LEASE_CLOSED_MS);
                    heard.closed = true;
                }
            }
            Sign::Unanswered(executor) => {
                if let Some(heard) =
                    executors.get_mut(executor).filter(|heard| heard.report.is_some() && !heard.closed)
                {
                    heard.until = heard.until.max(at + LEASE_CLOSED_MS);
                }
            }
            Sign::GivenUp(executor) => {
                let heard = executors.get_mut(executor);
                let until = heard.as_ref().map_or(started + LEASE_MS, |heard| heard.until);
                let waits = heard.as_ref().is_some_and(|heard| heard.waits) && *at > until + UNNOTICED_MS;
                let replaces = heard.filter(|heard| heard.booted == *at);
                ensure(until <= *at || replaces.is_some(), || {
                    format!("{executor} is given up at {at}, due only at {until}")
                })?;
                ensure(!waits || replaces.is_some(), || {
                    format!("{executor} is given up at {at}, though its report was there")
                })?;
                // What it replaces may be known from the journal alone.
                if let Some(heard) = replaces {
                    if let Some(report) = heard.may_replace.take() {
                        heard.replaced(*at, report);
                    }
                    heard.gone.extend(before.remove(executor).into_iter().flatten());
                }
            }
        }
    }
    Ok(())
}

/// Whether another boot was heard of later, before the scheduler started.
fn is_succeeded(boot: &BootId, earlier: &[BootId]) -> bool {
    earlier.iter().rposition(|known| known == boot).is_some_and(|place| place + 1 < earlier.len())
}

impl Heard {
    fn boots(self) -> impl Iterator<Item = BootId> {
        self.gone.into_iter().chain(self.report.map(|(boot, _)| boot))
    }

    fn replaced(&mut self, at: u64, by: (BootId, u64)) {
        self.gone.extend(self.report.replace(by).map(|(boot, _)| boot));
        (self.waits, self.closed, self.until) = (false, false, at + LEASE_MS);
    }

    fn reported(&mut self, at: u64, boot: &BootId, sequence: u64, earlier: &[BootId]) {
        let place = |of: &BootId| earlier.iter().rposition(|known| known == of);
        match &self.report {
            Some((known, newest)) if known == boot && *newest >= sequence => return,
            Some((known, _)) if known == boot => {}
            _ if self.gone.contains(boot) && self.until > at => return,
            // By what was given to it the scheduler knows that it is gone; if it was given nothing, it may replace.
            Some((known, _))
                if place(boot).is_some_and(|of| place(known).is_none_or(|by| of < by)) && self.until > at =>
            {
                self.booted = at;
                self.may_replace = Some((boot.clone(), sequence));
                return;
            }
            known => {
                self.booted = at;
                self.gone.extend(known.iter().map(|(boot, _)| boot.clone()));
            }
        }
        self.report = Some((boot.clone(), sequence));
        (self.waits, self.closed, self.until) = (false, false, at + LEASE_MS);
    }
}
