//! The clients: each submits its run until that is confirmed, watches its stream, and may cancel it, or be lost.

use seagull_domain::{RunEvent, Seq, SuiteError};

use crate::network::ToScheduler;
use crate::scenario::{Judge, Judges};
use crate::world::{Action, World};

/// How long a client waits before it asks again.
const PATIENCE_MS: u64 = 2000;

#[derive(Default)]
pub struct Client {
    pub submitted: bool,
    pub cancel_asked: bool,
    /// When its scheduler first said that it has heard so.
    pub cancel_heard: Option<u64>,
    /// The life of the scheduler in which it has a stream.
    watching: Option<u64>,
    /// Since when it is gone.
    pub lost: Option<u64>,
    /// Each time from which on it could not watch.
    pub unwatched: Vec<u64>,
    /// It knows that the run waits for its word, since then.
    asked: Option<u64>,
    /// What it has said of the suite as a whole.
    pub words: Vec<Vec<SuiteError>>,
    /// The run's stream, as it came.
    pub seen: Vec<(Seq, u64, RunEvent)>,
    /// The run is in the results, with this many events.
    pub archived: bool,
    /// Its stream is in the results, though the scheduler may not know yet.
    pub in_results: bool,
}

impl Client {
    fn has(&self, wanted: impl Fn(&RunEvent) -> bool) -> bool {
        self.seen.iter().any(|(_, _, event)| wanted(event))
    }

    pub fn is_finished(&self) -> bool {
        self.has(|event| matches!(event, RunEvent::RunFinished { .. }))
    }
}

impl World {
    pub fn client_acts(&mut self, run: usize) {
        // What it was late for may be the last for a long time.
        self.watchers_read();
        if self.clients[run].is_finished() {
            if self.random.chance(300) {
                self.another_reads(run);
                self.others_are_late(run);
            }
            return;
        }
        if self.clients_are_out() {
            let wait = self.clients_cut_until - self.now;
            return self.after(wait, Action::Client { run });
        }
        let client = &self.clients[run];
        let watches = client.watching == Some(self.epoch);
        let lost_at = self.scenario.runs[run].lost_at.filter(|_| watches);
        if lost_at.is_some_and(|at| self.now >= at) {
            self.census.count("fault: client lost");
            self.clients[run].lost = Some(self.now);
            self.clients[run].unwatched.push(self.now);
            return self.client_watches(run, false);
        }
        if client.submitted
            && !watches
            && self.life.is_some()
            && self.scenario.runs[run].spec.orphan_ms.is_some()
        {
            self.client_watches(run, true);
        }
        if self.clients[run].has(|event| matches!(event, RunEvent::JudgementAwaited { .. })) {
            return self.client_judges(run);
        }
        let client = &self.clients[run];
        let cancels = self.scenario.runs[run].cancelled_at;
        let cancels = cancels.filter(|_| client.submitted && client.cancel_heard.is_none());
        let mut wait = lost_at.map_or(PATIENCE_MS, |at| PATIENCE_MS.min(at - self.now));
        if !client.submitted {
            self.send_to_scheduler(&ToScheduler::Submit { run });
        } else if let Some(at) = cancels {
            if self.now >= at {
                self.client_cancels(run);
            } else {
                wait = wait.min(at - self.now);
            }
        } else if self.random.chance(if self.comes_late(run) { 500 } else { 100 }) {
            // Attaches again, as another reader would.
            self.send_to_scheduler(&ToScheduler::Submit { run });
        } else if self.scenario.runs[run].judge.is_some() && self.random.chance(100) {
            self.client_speaks_early(run);
        }
        self.after(wait, Action::Client { run });
    }

    pub fn client_cancels(&mut self, run: usize) {
        self.clients[run].cancel_asked = true;
        self.send_to_scheduler(&ToScheduler::Cancel { run });
    }

    /// Nobody has asked it.
    fn client_speaks_early(&mut self, run: usize) {
        if self.random.chance(500) {
            self.client_says(run, 1);
        } else {
            self.send_to_scheduler(&ToScheduler::Judge { run, word: None });
        }
    }

    /// Who has not seen the end says what is of no consequence any more.
    fn others_are_late(&mut self, run: usize) {
        self.send_to_scheduler(&ToScheduler::Cancel { run });
        self.send_to_scheduler(&ToScheduler::Judge { run, word: None });
        self.send_to_scheduler(&ToScheduler::Judge { run, word: Some(Vec::new()) });
    }

    /// For a moment the run's stream has another reader.
    fn another_reads(&mut self, run: usize) {
        for (begins, delay) in [(true, 2), (false, 500)] {
            let message = ToScheduler::Watch { run, begins };
            self.after(delay, Action::ToScheduler { epoch: self.epoch, message });
        }
    }

    fn comes_late(&self, run: usize) -> bool {
        self.scenario.runs[run].judge.is_some_and(|judge| judge.comes_late)
    }

    /// Says its word again and again, until it sees the run's end; while it has none, that it is there.
    fn client_judges(&mut self, run: usize) {
        let Judge { takes_ms, errors, does, .. } =
            self.scenario.runs[run].judge.expect("only then it is asked");
        let first = self.clients[run].asked.is_none();
        let asked = *self.clients[run].asked.get_or_insert(self.now);
        match does {
            Judges::Never => {
                self.census.count("fault: client lost before it judged");
                self.clients[run].lost.get_or_insert(self.now);
                return;
            }
            Judges::Cancels => {
                if first {
                    self.census.count("met: run cancelled while it is judged");
                }
                self.client_cancels(run);
            }
            _ if self.now < asked + takes_ms => {
                self.send_to_scheduler(&ToScheduler::Judge { run, word: None })
            }
            Judges::Once => self.client_says(run, errors),
            Judges::Twice => {
                self.census.count("met: run judged by two clients");
                self.client_says(run, errors);
                self.client_says(run, errors + 1);
                self.send_to_scheduler(&ToScheduler::Judge { run, word: None });
            }
        }
        if self.random.chance(200) {
            self.another_reads(run);
        }
        self.after(PATIENCE_MS, Action::Client { run });
    }

    fn client_says(&mut self, run: usize, errors: u32) {
        let error = |number| SuiteError {
            title: "coverage".into(),
            message: format!("too little of part {number}"),
            text: None,
        };
        let word: Vec<_> = (0..errors).map(error).collect();
        self.clients[run].words.push(word.clone());
        self.send_to_scheduler(&ToScheduler::Judge { run, word: Some(word) });
    }

    /// Its stream begins or ends; a connection does not lose that.
    fn client_watches(&mut self, run: usize, begins: bool) {
        self.clients[run].watching = begins.then_some(self.epoch);
        let message = ToScheduler::Watch { run, begins };
        self.after(2, Action::ToScheduler { epoch: self.epoch, message });
    }

    pub fn client_is_cut_off(&mut self, run: usize) {
        // One that has not come to watch since the scheduler started has not for longer.
        let watches = self.clients[run].watching == Some(self.epoch);
        let since = if watches { self.now } else { self.scenario.runs[run].submitted_at };
        self.clients[run].unwatched.push(since);
        if let Some(epoch) = self.clients[run].watching.take() {
            let delay = self.random.within(2..=5000);
            let message = ToScheduler::Watch { run, begins: false };
            self.after(delay, Action::ToScheduler { epoch, message });
        }
    }

    /// Readers see what became durable; now and then one is late and resumes from where it was.
    pub fn watchers_read(&mut self) {
        for run in 0..self.clients.len() {
            let after = self.clients[run].seen.last().map_or(Seq(0), |(seq, ..)| *seq);
            let late = self.random.chance(100);
            let news = self.journal.stream(&self.scenario.runs[run].spec.id, after);
            if late && !news.iter().any(|(_, _, event)| matches!(event, RunEvent::RunFinished { .. })) {
                continue;
            }
            self.clients[run].seen.extend(news);
        }
    }
}
