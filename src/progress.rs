//! What takes long is said to go on: on a terminal in a line that is written over, in a log now and then.
#![expect(clippy::disallowed_methods, reason = "a shell: what takes long is said to")]

use std::env;
use std::io::{self, IsTerminal, Write};
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use crate::errors::{Stderr, say};
use crate::report::duration;

/// What takes longer is said to go on, and so often.
const QUIET: Duration = Duration::from_secs(2);
const TICK: Duration = Duration::from_secs(1);
/// A log that nobody watches is told less often.
const LOG_TICKS: u32 = 10;

#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Whether a line may be written over.
    live: bool,
}

impl Progress {
    /// `human`: whether somebody may look at a terminal.
    pub fn new(human: bool) -> Progress {
        let is_dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        Progress { live: human && io::stderr().is_terminal() && !is_dumb }
    }

    /// Waits for what may take long, and says meanwhile `what` goes on.
    pub async fn during<T>(self, what: impl Fn() -> String, work: impl Future<Output = T>) -> T {
        let began = Instant::now();
        let mut ticks = tokio::time::interval_at(began + QUIET, TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut work = pin!(work);
        let mut told = 0;
        loop {
            tokio::select! {
                done = &mut work => {
                    if told > 0 {
                        self.clear();
                    }
                    return done;
                }
                _ = ticks.tick() => {
                    let (what, since) = (what(), duration(began.elapsed()));
                    match self.live {
                        true => drop(write!(Stderr, "\r\x1b[K{what}: {since} ...")),
                        false if told % LOG_TICKS == 0 => say!("{what}: {since} ..."),
                        false => {}
                    }
                    told += 1;
                }
            }
        }
    }

    /// Makes room for a line that stays.
    pub fn clear(self) {
        if self.live {
            let _ = write!(Stderr, "\r\x1b[K");
        }
    }
}
