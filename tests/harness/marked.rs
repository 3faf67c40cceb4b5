//! Finds the processes that a case started, however deep: each inherits a mark in its environment.
#![expect(
    clippy::disallowed_methods,
    reason = "the end of a process that is not our child is seen by looking again"
)]

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub const MARK: &str = "MARK_OF_THE_CASE";

pub struct Marked<'a>(pub &'a str);

impl Marked<'_> {
    /// Id and command line of each process that is alive. A zombie has no environment and is not counted.
    pub fn alive(&self) -> Vec<(Pid, String)> {
        let mark = format!("{MARK}={}", self.0);
        let of = |pid: i32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
            environment.split(|&byte| byte == 0).find(|entry| *entry == mark.as_bytes())?;
            let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            Some((Pid::from_raw(pid), String::from_utf8_lossy(&command).replace('\0', " ")))
        };
        let names =
            fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names.filter_map(|name| of(name.parse().ok()?)).collect()
    }

    /// Nothing is alive after this long; returns as soon as nothing is.
    #[track_caller]
    pub fn all_gone_within(&self, time: Duration) {
        let deadline = Instant::now() + time;
        loop {
            // Looked at after the time was, so that a slow machine cannot make the last look an early one.
            let late = Instant::now() > deadline;
            let alive = self.alive();
            if alive.is_empty() {
                return;
            }
            assert!(!late, "still alive after {time:?}: {alive:#?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn kill(&self) {
        for (pid, _) in self.alive() {
            // It may have ended meanwhile.
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
}
