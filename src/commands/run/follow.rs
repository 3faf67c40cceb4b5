//! Follows a run from its stream to its reports, while the user may interrupt it.
#![expect(clippy::disallowed_methods, reason = "a shell: it waits, and cancels in a task")]

use std::convert::Infallible;
use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use seagull_domain::{RunEvent, RunId, RunVerdict};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::coverage::Coverage;
use super::screen::Screen;
use crate::client::{Client, Error, Notice};
use crate::errors;
use crate::signals::Signals;

const TICK: Duration = Duration::from_millis(100);
/// How often a run that waits for its client hears of it.
const STAYING: Duration = Duration::from_secs(20);
/// A run that no executor has taken by then is worth a word.
const LONELY: Duration = Duration::from_secs(10);

/// A run that was submitted, and how it is shown.
pub struct Session {
    pub client: Client,
    pub run: RunId,
    pub screen: Screen,
    /// Of a run of the suite here.
    pub coverage: Option<Coverage>,
    pub interrupt: Interrupt,
    /// What an executor of this process says beside.
    pub told: Option<mpsc::UnboundedReceiver<String>>,
    /// What to say if no executor takes the run.
    pub lonely: Option<String>,
}

/// What the first interrupt does, and what is said of it.
#[derive(Debug, Clone, Copy)]
pub enum Interrupt {
    Cancel(&'static str),
    /// The run goes on.
    Leave(&'static str),
}

pub enum End {
    /// With the run's exit code; all reports are written.
    Finished(u8),
    /// Interrupted again, or left.
    Abandoned,
}

/// Ends with the run, at the second interrupt, or with an error that `trouble` brings.
pub async fn follow(
    mut session: Session,
    signals: &mut Signals,
    trouble: impl Future<Output = anyhow::Error>,
) -> anyhow::Result<End> {
    let mut notices = session.client.watch(session.run.clone());
    let (complaints, mut complaint) = mpsc::channel(1);
    let mut told = session.told.take();
    let mut follower =
        Follower { session, complaints, interrupted: false, taken: false, since: Instant::now() };
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut trouble = pin!(trouble);
    let code = loop {
        tokio::select! {
            notice = notices.recv() => {
                let notice = notice.ok_or_else(|| anyhow!("the stream of the run has ended without its end"))?;
                let notice = tokio::select! {
                    passed = follower.cover(notice) => passed?,
                    () = signals.next() => return Ok(End::Abandoned),
                };
                let to_judge = to_be_judged(&notice);
                let code = follower.notice(notice)?;
                if let Some(verdict) = to_judge {
                    tokio::select! {
                        judged = follower.judge(verdict) => judged?,
                        () = signals.next() => if code.is_some() || follower.interrupt()? {
                            return Ok(End::Abandoned);
                        }
                    }
                }
                if let Some(code) = code {
                    break code;
                }
                if follower.ends_unread()? {
                    return Ok(End::Abandoned);
                }
            }
            _ = ticks.tick() => follower.tick()?,
            text = next(&mut told) => follower.session.screen.say(&text)?,
            Some(error) = complaint.recv() => return Err(error),
            error = &mut trouble => return Err(error),
            () = signals.next() => if follower.interrupt()? {
                return Ok(End::Abandoned);
            }
        }
    };
    let Session { client, run, screen, .. } = follower.session;
    let written = tokio::select! {
        written = screen.finish(&client, &run) => written,
        error = &mut trouble => return Err(error),
        () = signals.next() => return Ok(End::Abandoned),
    };
    Ok(End::Finished(exit_code(code, written)))
}

/// What the run comes to, if it is to be judged now.
fn to_be_judged(notice: &Notice) -> Option<RunVerdict> {
    let Notice::Items(items) = notice else { return None };
    items.iter().find_map(|item| match item.event {
        RunEvent::JudgementAwaited { verdict } => Some(verdict),
        _ => None,
    })
}

/// Has the run know that its client is there still.
async fn stay(client: &Client, run: &RunId) -> Infallible {
    loop {
        tokio::time::sleep(STAYING).await;
        let _ = client.judge(run.clone(), None).await;
    }
}

async fn next(told: &mut Option<mpsc::UnboundedReceiver<String>>) -> String {
    if let Some(told) = told
        && let Some(text) = told.recv().await
    {
        return text;
    }
    std::future::pending().await
}

/// A report that cannot be written is an error of ours, but what the run came to says more than that.
fn exit_code(code: u8, written: anyhow::Result<()>) -> u8 {
    match written {
        Ok(()) => code,
        Err(error) if code == 0 => errors::tell(&error),
        Err(error) => {
            errors::tell(&error);
            code
        }
    }
}

struct Follower {
    session: Session,
    /// Where it is told that the scheduler does not take what it is asked.
    complaints: mpsc::Sender<anyhow::Error>,
    interrupted: bool,
    /// Some executor has something to do.
    taken: bool,
    since: Instant,
}

impl Follower {
    /// Has the coverage of a run that ended without that reported before its end is shown.
    async fn cover(&mut self, notice: Notice) -> anyhow::Result<Notice> {
        let Session { coverage, client, screen, .. } = &mut self.session;
        match coverage {
            Some(coverage) => coverage.pass(notice, client, screen).await,
            None => Ok(notice),
        }
    }

    /// Has the coverage of a run reported, and says what is wrong with it, which the run waits for unless it has ended.
    async fn judge(&mut self, verdict: RunVerdict) -> anyhow::Result<()> {
        let Session { coverage: Some(coverage), client, run, screen, .. } = &mut self.session else {
            return Ok(());
        };
        let errors = tokio::select! {
            errors = coverage.judge(verdict, client, screen) => errors?,
            never = stay(client, run) => match never {},
        };
        let (client, run) = (client.clone(), run.clone());
        self.ask("the run cannot be judged", async move {
            loop {
                match client.judge(run.clone(), Some(errors.clone())).await {
                    Err(error) if error.is_transient() => {}
                    outcome => return outcome,
                }
            }
        });
        Ok(())
    }

    /// Asks something of the scheduler meanwhile.
    fn ask(&self, failed: &'static str, asking: impl Future<Output = Result<(), Error>> + Send + 'static) {
        let complaints = self.complaints.clone();
        tokio::spawn(async move {
            if let Err(error) = asking.await {
                let _ = complaints.send(anyhow::Error::new(error).context(failed)).await;
            }
        });
    }

    /// Shows a notice; the run's exit code if it was its end.
    fn notice(&mut self, notice: Notice) -> anyhow::Result<Option<u8>> {
        self.session.screen.show(&notice)?;
        match notice {
            Notice::Failed(error) => Err(anyhow::Error::new(error).context("the run cannot be followed")),
            Notice::Items(items) => {
                self.taken |= items.iter().any(|item| matches!(item.event, RunEvent::AttemptAssigned { .. }));
                Ok(items.iter().find_map(|item| match item.event {
                    RunEvent::RunFinished { exit_code, .. } => Some(exit_code),
                    _ => None,
                }))
            }
            _ => Ok(None),
        }
    }

    fn tick(&mut self) -> anyhow::Result<()> {
        if !self.taken && self.since.elapsed() > LONELY {
            self.taken = true;
            if let Some(lonely) = &self.session.lonely {
                self.session.screen.say(lonely)?;
            }
        }
        self.session.screen.tick()
    }

    /// What nobody reads any more is interrupted, once; says whether this is the end.
    fn ends_unread(&mut self) -> anyhow::Result<bool> {
        if self.interrupted || !self.session.screen.is_unread() {
            return Ok(false);
        }
        self.session.screen.say("standard output is closed, which is taken for an interrupt")?;
        self.interrupt()
    }

    /// The first interrupt cancels the run or leaves it; says whether this is the end.
    fn interrupt(&mut self) -> anyhow::Result<bool> {
        if self.interrupted {
            self.session.screen.say("ended at once")?;
            return Ok(true);
        }
        self.interrupted = true;
        match self.session.interrupt {
            Interrupt::Cancel(saying) => self.session.screen.say(saying)?,
            Interrupt::Leave(saying) => {
                self.session.screen.say(saying)?;
                return Ok(true);
            }
        }
        let (client, run) = (self.session.client.clone(), self.session.run.clone());
        self.ask("the run cannot be cancelled", async move { client.cancel(run).await });
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_that_cannot_be_written_fails_a_green_run_only() {
        assert_eq!(exit_code(0, Ok(())), 0);
        assert_eq!(exit_code(0, Err(anyhow!("disk full"))), 1);
        assert_eq!(exit_code(100, Err(anyhow!("disk full"))), 100);
    }
}
