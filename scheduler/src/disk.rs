//! Room on the scheduler's disk. Who has to keep there what is to be acknowledged waits for it, and the core stands still
//! meanwhile: nothing is acknowledged, nobody is taken for lost, and nothing more is to be kept.
#![expect(clippy::disallowed_methods, reason = "a shell: threads that write wait for room")]

use std::fmt::Display;
use std::time::Duration;

use tokio::sync::watch;

use crate::warn;

/// How often it is tried again.
const PAUSE: Duration = Duration::from_secs(1);
/// A disk that is full for so long is told of to clients.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) struct Disk {
    /// Where there is nobody who could make room while all waits, as in the process of one run, a full disk is an error.
    is_waited_for: bool,
    /// How many wait.
    waiting: watch::Sender<usize>,
}

impl Disk {
    pub fn new(is_waited_for: bool) -> Disk {
        Disk { is_waited_for, waiting: watch::Sender::new(0) }
    }

    /// Comes back when nobody waits for room.
    pub async fn room(&self) {
        let mut waiting = self.waiting.subscribe();
        let _ = waiting.wait_for(|waiting| *waiting == 0).await;
    }

    /// Comes back when somebody has waited for room for a while, and still does.
    pub async fn full(&self) {
        let mut waiting = self.waiting.subscribe();
        loop {
            let _ = waiting.wait_for(|waiting| *waiting > 0).await;
            if tokio::time::timeout(PATIENCE, waiting.wait_for(|waiting| *waiting == 0)).await.is_err() {
                return;
            }
        }
    }

    /// Whether somebody waits for room.
    pub fn is_full(&self) -> bool {
        *self.waiting.borrow() > 0
    }

    /// Writes, and waits for as long as there is no room. Blocks; what was half written is written again.
    pub fn keep<T, E: Display>(
        &self,
        is_full: impl Fn(&E) -> bool,
        mut write: impl FnMut() -> Result<T, E>,
    ) -> Result<T, E> {
        let mut wait = None;
        loop {
            match write() {
                Err(error) if self.is_waited_for && is_full(&error) => {
                    wait.get_or_insert_with(|| Wait::begin(&self.waiting, &error));
                    std::thread::sleep(PAUSE);
                }
                outcome => return outcome,
            }
        }
    }
}

/// One that waits. The first says so, and the last that there is room again.
struct Wait<'a>(&'a watch::Sender<usize>);

impl<'a> Wait<'a> {
    fn begin(waiting: &'a watch::Sender<usize>, why: &impl Display) -> Wait<'a> {
        waiting.send_modify(|waiting| *waiting += 1);
        if *waiting.borrow() == 1 {
            let why = why.to_string();
            let why = why.lines().next().unwrap_or_default();
            warn(&format!(
                "{why}\nhint: make room on this disk: until then nothing is acknowledged, and nothing is lost; executors finish \
                 what they have, and wait"
            ));
        }
        Wait(waiting)
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|waiting| *waiting -= 1);
        if *self.0.borrow() == 0 {
            warn("there is room on the disk again, and all goes on");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[tokio::test]
    async fn what_finds_no_room_is_written_when_there_is_some() {
        let disk = Arc::new(Disk::new(true));
        disk.room().await;
        let is_full = Arc::new(AtomicBool::new(true));
        let (of, full) = (disk.clone(), is_full.clone());
        let write = move || if full.load(Ordering::SeqCst) { Err("full") } else { Ok(7) };
        let kept = tokio::task::spawn_blocking(move || of.keep(|error| *error == "full", write));
        disk.waiting.subscribe().wait_for(|waiting| *waiting == 1).await.unwrap();
        disk.full().await;
        is_full.store(false, Ordering::SeqCst);
        disk.room().await;
        assert_eq!(kept.await.unwrap(), Ok(7));
    }

    #[test]
    fn other_errors_are_told_at_once_and_so_is_a_full_disk_that_nobody_waits_for() {
        let fail = || Err::<(), _>("full");
        assert_eq!(Disk::new(true).keep(|_| false, fail), Err("full"));
        assert_eq!(Disk::new(false).keep(|_| true, fail), Err("full"));
    }
}
