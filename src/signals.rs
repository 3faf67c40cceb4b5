//! Ctrl-C and SIGTERM as something to wait for.

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// From its making on, the signals no longer end the process by themselves.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub fn new() -> anyhow::Result<Signals> {
        let failed = "cannot listen for signals";
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt()).context(failed)?,
            terminate: signal(SignalKind::terminate()).context(failed)?,
        })
    }

    /// The next of either. Nothing is missed if the future is dropped.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
