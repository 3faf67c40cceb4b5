//! Ctrl-C, SIGTERM and a terminal that is closed as something to wait for.

use std::{fs, future};

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// From its making on, the signals no longer end the process by themselves.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// None where it is ignored, as under nohup, and once it came: shell and system both tell of a closed terminal.
    hangup: Option<Signal>,
}

impl Signals {
    pub fn new() -> anyhow::Result<Signals> {
        let failed = "cannot listen for signals";
        let hangup =
            if ignores_hangup() { None } else { Some(signal(SignalKind::hangup()).context(failed)?) };
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt()).context(failed)?,
            terminate: signal(SignalKind::terminate()).context(failed)?,
            hangup,
        })
    }

    /// The next of any. Nothing is missed if the future is dropped.
    pub async fn next(&mut self) {
        let hangup = &mut self.hangup;
        let hung_up = async {
            match hangup {
                Some(signal) => signal.recv().await,
                None => future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = hung_up => self.hangup = None,
        }
    }

    /// What the work brings; none at a signal. Work that need not wait is not given up for one, which is then the next.
    pub async fn during<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            outcome = work => Some(outcome),
            () = self.next() => None,
        }
    }
}

/// Whether whoever started this process wants it to outlive the terminal. Where that is not known, it is left to.
fn ignores_hangup() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // SIGHUP is the first signal.
    ignored.is_none_or(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use nix::sys::signal::{Signal, raise};

    use super::*;

    #[tokio::test]
    async fn a_signal_gives_up_only_work_that_waits() {
        let (mut signals, mut other) = (Signals::new().unwrap(), Signals::new().unwrap());
        raise(Signal::SIGINT).unwrap();
        // Whoever listens hears of it at the same time.
        other.next().await;
        for number in 0..100 {
            assert_eq!(signals.during(ready(number)).await, Some(number));
        }
        assert_eq!(signals.during(pending::<()>()).await, None, "the signal is still there");
    }
}
