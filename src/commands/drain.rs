//! `seagull executor drain`: has executors leave, and says how far each has come.
//!
//! The wish is repeated until each executor has taken it, so that it outlives a scheduler that restarts.
#![expect(clippy::disallowed_methods, reason = "a shell: it asks again after a while")]

use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use seagull_domain::{DrainState, ExecutorId};
use seagull_proto::convert::DrainAsked;

use crate::cli;
use crate::client::Error;
use crate::duration;
use crate::errors::say;

/// How long until it is looked again.
const AGAIN: Duration = Duration::from_millis(500);
/// A scheduler that is away for longer is not waited for: whoever drains has little time.
const PATIENCE: Duration = Duration::from_secs(60);
const AWAY: &str = "the executors cannot be asked; those that drain already go on with it";

pub async fn run(args: &cli::Drain) -> anyhow::Result<u8> {
    let client = super::client(&args.scheduler, &super::token(&args.token)?, &args.tls)?;
    let limit_ms = duration::millis(args.limit);
    let mut drains = Drains::of(&args.names);
    let mut away: Option<Instant> = None;
    loop {
        let executors = drains.0.iter().map(|(executor, _)| executor.clone()).collect();
        match client.drain(DrainAsked { executors, limit_ms }).await {
            Ok(states) => {
                if away.take().is_some() {
                    say!("connected again");
                }
                for line in drains.hear(&states, &duration::written(limit_ms)) {
                    say!("{line}");
                }
            }
            Err(error) => {
                let waited = away.map(|since| since.elapsed());
                if let Some(line) = waiting(&error, waited)? {
                    say!("{line}");
                }
                away.get_or_insert_with(Instant::now);
            }
        }
        if drains.are_done(args.wait) {
            break;
        }
        drains.goes_on()?;
        tokio::time::sleep(AGAIN).await;
    }
    drains.check()?;
    Ok(0)
}

/// What to say of a scheduler that does not answer, and has not for so long: the first time, that it is waited for; after
/// a while that is the end.
fn waiting(error: &Error, waited: Option<Duration>) -> anyhow::Result<Option<String>> {
    let (said, is_over) = (error.to_string(), waited.is_some_and(|waited| waited >= PATIENCE));
    if is_over || !error.is_transient() {
        return Err(anyhow!(said)).context(AWAY);
    }
    let line = said.lines().next().unwrap_or_default();
    Ok(waited.is_none().then(|| format!("reconnecting: {line}")))
}

/// How far an executor has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting,
    Asked,
    Draining,
    Left,
    /// There never was one of that name, as far as the scheduler knows.
    Unknown,
}

/// Each executor once, in the order in which they were named; and how often the scheduler has answered.
struct Drains(Vec<(ExecutorId, Stage)>, u32);

impl Drains {
    fn of(names: &[ExecutorId]) -> Drains {
        let mut drains: Vec<(ExecutorId, Stage)> = Vec::new();
        for name in names {
            if !drains.iter().any(|(known, _)| known == name) {
                drains.push((name.clone(), Stage::Waiting));
            }
        }
        Drains(drains, 0)
    }

    /// Takes the scheduler's answer; what is new in it, as lines.
    fn hear(&mut self, states: &[DrainState], limit: &str) -> Vec<String> {
        self.1 += 1;
        let mut lines = Vec::new();
        for ((executor, stage), state) in self.0.iter_mut().zip(states) {
            let next = match (*stage, state) {
                (Stage::Unknown | Stage::Left, _) => continue,
                (Stage::Waiting, DrainState::Absent) => Stage::Unknown,
                (_, DrainState::Absent) => Stage::Left,
                (known, DrainState::Unheard) => known,
                (Stage::Draining, _) | (_, DrainState::Draining) => Stage::Draining,
                (_, DrainState::Asked) => Stage::Asked,
            };
            if next != *stage {
                lines.extend(match next {
                    Stage::Draining => Some(format!("{executor} drains, and leaves within {limit}")),
                    Stage::Left => Some(format!("{executor} has left")),
                    Stage::Waiting | Stage::Asked | Stage::Unknown => None,
                });
            }
            *stage = next;
        }
        lines
    }

    fn are_done(&self, wait: bool) -> bool {
        self.0.iter().all(|(_, stage)| match stage {
            Stage::Waiting | Stage::Asked => false,
            Stage::Draining => !wait,
            Stage::Left | Stage::Unknown => true,
        })
    }

    fn at(&self, stages: &[Stage]) -> Vec<&str> {
        let at = self.0.iter().filter(|(_, stage)| stages.contains(stage));
        at.map(|(executor, _)| executor.as_str()).collect()
    }

    /// One that is there, and asked all the time, says so soon: if it does not, it does not understand.
    fn goes_on(&self) -> anyhow::Result<()> {
        let deaf = self.at(&[Stage::Waiting, Stage::Asked]);
        if deaf.is_empty() || AGAIN * self.1 < PATIENCE {
            return Ok(());
        }
        Err(anyhow!(
            "{} did not say within {} s that it drains; it gets nothing more\n\
             hint: an executor of another release may know no drain; SIGTERM ends one on its own machine",
            deaf.join(", "),
            PATIENCE.as_secs()
        ))
    }

    fn check(&self) -> anyhow::Result<()> {
        let unknown = self.at(&[Stage::Unknown]);
        if unknown.is_empty() {
            return Ok(());
        }
        Err(anyhow!(
            "no such executor is here: {}\n\
             hint: an executor says its name when it starts, and --id gives it one; one that has left is not known",
            unknown.join(", ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<ExecutorId> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn it_ends_when_each_has_taken_the_wish_or_when_all_have_left() {
        use DrainState::{Absent, Asked, Draining, Unheard};
        let mut drains = Drains::of(&names(&["a", "b", "a"]));
        assert_eq!(drains.0.len(), 2, "one that is named twice is one");
        assert_eq!(drains.hear(&[Asked, Draining], "2m"), ["b drains, and leaves within 2m"]);
        assert!(!drains.are_done(false));
        // The scheduler restarts, and does not know yet who is there.
        assert_eq!(drains.hear(&[Unheard, Unheard], "2m"), [""; 0]);
        assert_eq!(drains.hear(&[Draining, Asked], "2m"), ["a drains, and leaves within 2m"]);
        assert!(drains.are_done(false) && !drains.are_done(true));
        assert_eq!(drains.hear(&[Absent, Draining], "2m"), ["a has left"]);
        assert!(!drains.are_done(true));
        assert_eq!(drains.hear(&[Absent, Absent], "2m"), ["b has left"]);
        assert!(drains.are_done(true) && drains.check().is_ok());
    }

    #[test]
    fn a_scheduler_that_is_away_is_told_of_once_and_waited_for_a_while() {
        let away = || Error::from(tonic::Status::unavailable("refused"));
        let said = |waited| waiting(&away(), waited).map_err(|error| format!("{error:#}"));
        assert_eq!(said(None), Ok(Some("reconnecting: the scheduler cannot be reached: refused".to_owned())));
        assert_eq!(said(Some(PATIENCE / 2)), Ok(None));
        let error = said(Some(PATIENCE)).unwrap_err();
        assert!(error.contains(AWAY) && error.contains("refused\nhint: "), "{error}");
        let refused = Error::from(tonic::Status::unauthenticated("no"));
        assert!(waiting(&refused, None).is_err(), "another try changes nothing");
    }

    #[test]
    fn one_that_is_there_and_does_not_drain_is_not_asked_for_ever() {
        let mut drains = Drains::of(&names(&["a", "b"]));
        let rounds = u32::try_from(PATIENCE.as_millis() / AGAIN.as_millis()).unwrap();
        for _ in 1..rounds {
            drains.hear(&[DrainState::Asked, DrainState::Draining], "2m");
            assert!(drains.goes_on().is_ok());
        }
        drains.hear(&[DrainState::Asked, DrainState::Draining], "2m");
        let error = drains.goes_on().unwrap_err().to_string();
        assert!(error.starts_with("a did not say within 60 s that it drains; "), "{error}");
    }

    #[test]
    fn a_name_that_nobody_has_is_an_error_after_the_others_are_seen_to() {
        let mut drains = Drains::of(&names(&["a", "b"]));
        drains.hear(&[DrainState::Absent, DrainState::Draining], "2m");
        assert!(drains.are_done(false));
        let error = drains.check().unwrap_err().to_string();
        assert!(error.starts_with("no such executor is here: a\nhint: "), "{error}");
    }
}
