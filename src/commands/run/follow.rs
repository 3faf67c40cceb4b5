//! Follows a run from its stream to its reports, while the user may interrupt it.
#![expect(clippy::disallowed_methods, reason = "a shell: it waits, and cancels in a task")]

use std::convert::Infallible;
use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use seagull_domain::{RunEvent, RunId, RunVerdict, StreamItem};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::coverage::Coverage;
use super::screen::Screen;
use crate::client::{About, Client, Error, Notice};
use crate::errors;
use crate::signals::Signals;

const TICK: Duration = Duration::from_millis(100);
/// How often a run that waits for its client hears of it.
const STAYING: Duration = Duration::from_secs(20);
/// A run that no executor has taken by then is worth a word, and one of which nothing is heard for so long a look at
/// whether any is there.
const LONELY: Duration = Duration::from_secs(10);
/// What a scheduler has not heard by then, it may not hear for long.
const UNHEARD: Duration = Duration::from_secs(2);
/// It is tried no longer.
const GIVEN_UP: Duration = Duration::from_secs(60);

/// A run that was submitted, and how it is shown.
pub struct Session {
    pub client: Client,
    pub run: RunId,
    pub screen: Screen,
    /// Of a run of the suite here.
    pub coverage: Option<Coverage>,
    pub interrupt: Interrupt,
    /// What tests print is shown while they run.
    pub live: bool,
    /// What an executor of this process says beside.
    pub told: Option<mpsc::UnboundedReceiver<String>>,
    /// With what command an executor joins, where the run waits for some elsewhere.
    pub joins: Option<String>,
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
    let mut notices = session.client.watch(session.run.clone(), session.live);
    let (complaints, mut complaint) = mpsc::channel(1);
    let (counts, mut slots) = mpsc::channel(1);
    let (words, mut word) = mpsc::channel(2);
    let mut told = session.told.take();
    let quiet = Quiet { since: Instant::now(), taken: false, said: false };
    let mut follower =
        Follower { session, complaints, counts, words, interrupted: false, cancelled: false, quiet };
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut trouble = pin!(trouble);
    let code = loop {
        tokio::select! {
            notice = notices.recv() => {
                let notice = notice.ok_or_else(|| anyhow!("the stream of the run has ended without its end"))?;
                // It takes a while only after the run's end.
                let Some(passed) = signals.during(follower.cover(notice)).await else {
                    return Ok(End::Abandoned);
                };
                let notice = passed?;
                let to_judge = to_be_judged(&notice);
                let code = follower.notice(notice)?;
                if let Some(verdict) = to_judge {
                    match signals.during(follower.judge(verdict)).await {
                        Some(judged) => judged?,
                        None => if code.is_some() || follower.interrupt()? {
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
            Some(slots) = slots.recv() => follower.fleet(slots)?,
            Some(word) = word.recv() => follower.of_cancelling(word)?,
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
    /// Where it is told how many slots are there.
    counts: mpsc::Sender<u32>,
    /// Where it is told how far the scheduler has heard that it is to cancel.
    words: mpsc::Sender<Cancelling>,
    interrupted: bool,
    /// The scheduler has taken it.
    cancelled: bool,
    quiet: Quiet,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cancelling {
    /// The scheduler has not heard of it yet; it is tried on.
    Unheard,
    Heard,
}

/// For how long nothing was heard of the run, or was looked for why.
struct Quiet {
    since: Instant,
    /// Some executor has had something to do.
    taken: bool,
    /// That none is there was said, and nothing was given to any since.
    said: bool,
}

impl Quiet {
    /// Whether it is time to look at the executors that are there.
    fn is_due(&mut self, now: Instant) -> bool {
        let is_due = !self.said && now.saturating_duration_since(self.since) > LONELY;
        if is_due {
            self.since = now;
        }
        is_due
    }

    fn hear(&mut self, now: Instant, items: &[StreamItem]) {
        self.since = now;
        if items.iter().any(|item| matches!(item.event, RunEvent::AttemptAssigned { .. })) {
            (self.taken, self.said) = (true, false);
        }
        // What only waits for its client's word needs no executor.
        self.said |= items.iter().any(|item| matches!(item.event, RunEvent::JudgementAwaited { .. }));
    }

    /// What to say of so many slots, once.
    fn word(&mut self, slots: u32) -> Option<&'static str> {
        let word = match (self.taken, slots) {
            (false, _) => "no executor has taken the run yet",
            (true, 0) => "no executor is there any more that could go on with the run",
            (true, _) => return None,
        };
        (!std::mem::replace(&mut self.said, true)).then_some(word)
    }
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
                self.quiet.hear(Instant::now(), &items);
                Ok(items.iter().find_map(|item| match item.event {
                    RunEvent::RunFinished { exit_code, .. } => Some(exit_code),
                    _ => None,
                }))
            }
            _ => Ok(None),
        }
    }

    fn tick(&mut self) -> anyhow::Result<()> {
        if self.session.joins.is_some() && self.quiet.is_due(Instant::now()) {
            let (client, counts) = (self.session.client.clone(), self.counts.clone());
            tokio::spawn(async move {
                // A scheduler that cannot be asked is told of by the stream.
                if let Ok(About { slots: Some(slots), .. }) = client.about().await {
                    let _ = counts.send(slots).await;
                }
            });
        }
        self.session.screen.tick()
    }

    fn fleet(&mut self, slots: u32) -> anyhow::Result<()> {
        match (self.quiet.word(slots), &self.session.joins) {
            (Some(word), Some(joins)) => {
                self.session.screen.say(&format!("{word}; one more joins with: {joins}"))
            }
            _ => Ok(()),
        }
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
            let elsewhere = self.session.joins.is_some() && !self.cancelled;
            let goes_on =
                if elsewhere { "; the run may go on, for its scheduler has not heard of it" } else { "" };
            self.session.screen.say(&format!("ended at once{goes_on}"))?;
            return Ok(true);
        }
        self.interrupted = true;
        match self.session.interrupt {
            Interrupt::Cancel(_) => self.cancel(),
            Interrupt::Leave(saying) => {
                self.session.screen.say(saying)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Tries for a minute; that it is cancelled is said when it is true.
    fn cancel(&self) {
        let (client, run, words) =
            (self.session.client.clone(), self.session.run.clone(), self.words.clone());
        self.ask("the run is not cancelled, and goes on when its scheduler is back", async move {
            let mut cancelling = pin!(client.cancel(run));
            let outcome = match tokio::time::timeout(UNHEARD, &mut cancelling).await {
                Ok(outcome) => outcome,
                Err(_) => {
                    let _ = words.send(Cancelling::Unheard).await;
                    match tokio::time::timeout(GIVEN_UP, cancelling).await {
                        Ok(outcome) => outcome,
                        Err(_) => Err(Error::new("it has not said for a minute that it is cancelled")),
                    }
                }
            };
            if outcome.is_ok() {
                let _ = words.send(Cancelling::Heard).await;
            }
            outcome
        });
    }

    fn of_cancelling(&mut self, word: Cancelling) -> anyhow::Result<()> {
        match (word, self.session.interrupt) {
            (Cancelling::Unheard, _) => self.session.screen.say(
                "interrupted, but the scheduler does not hear that the run is to be cancelled: that is tried for a \
                 minute; interrupt again to leave without waiting",
            ),
            (Cancelling::Heard, Interrupt::Cancel(saying)) => {
                self.cancelled = true;
                self.session.screen.say(saying)
            }
            (Cancelling::Heard, Interrupt::Leave(_)) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use seagull_domain::{AttemptId, Seq, SlotNumber};

    use super::*;

    #[test]
    fn a_run_without_executors_is_told_of_once_and_again_when_they_are_gone_again() {
        let origin = Instant::now();
        let after = |seconds| origin + Duration::from_secs(seconds);
        let mut quiet = Quiet { since: origin, taken: false, said: false };
        assert!(!quiet.is_due(after(9)) && quiet.is_due(after(11)) && !quiet.is_due(after(12)));
        assert!(quiet.word(4).unwrap().contains("has taken the run yet"));
        assert!(quiet.word(4).is_none() && !quiet.is_due(after(60)));
        let event = RunEvent::AttemptAssigned {
            attempt: AttemptId(1),
            executor: "e".parse().unwrap(),
            slot: SlotNumber(0),
            discovery: true,
            tests: 0,
            copy: None,
        };
        let assigned = [StreamItem { seq: Seq(1), event }];
        for said in [60, 100] {
            quiet.hear(after(said), &assigned);
            assert!(!quiet.is_due(after(said + 9)) && quiet.is_due(after(said + 11)));
            assert_eq!(quiet.word(1), None, "a long test runs");
            assert!(quiet.is_due(after(said + 22)));
            assert!(quiet.word(0).unwrap().contains("any more"));
        }
    }

    #[test]
    fn a_report_that_cannot_be_written_fails_a_green_run_only() {
        assert_eq!(exit_code(0, Ok(())), 0);
        assert_eq!(exit_code(0, Err(anyhow!("disk full"))), 1);
        assert_eq!(exit_code(100, Err(anyhow!("disk full"))), 100);
    }
}
