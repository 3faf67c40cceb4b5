//! A command that runs: its stream of events as they come, and signals to it.
#![expect(clippy::disallowed_methods, reason = "a thread reads what would block")]

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::Finished;

/// How long a case waits for the next line, or for anything else, before it calls the command stuck.
const PATIENCE: Duration = Duration::from_secs(120);

/// Looks again and again until something is there.
pub fn until(mut there: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !there() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub struct Running {
    child: Child,
    lines: Receiver<String>,
    stderr: PathBuf,
    /// What was read so far.
    pub events: Vec<Value>,
}

impl Running {
    pub fn start(command: Command, stderr: &Path) -> Running {
        Running::try_start(command, stderr).unwrap()
    }

    pub fn try_start(mut command: Command, stderr: &Path) -> io::Result<Running> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(stderr).unwrap());
        let mut child = command.spawn()?;
        let lines = read(child.stdout.take().unwrap());
        Ok(Running { child, lines, stderr: stderr.to_owned(), events: Vec::new() })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line on standard output; none at its end.
    pub fn line(&mut self) -> Option<String> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                panic!("no line within {PATIENCE:?}\n{}\n{}", tail(&self.events), self.stderr())
            }
        }
    }

    /// Reads until such an event has come.
    pub fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let event = self.event().unwrap_or_else(|| {
                panic!("the stream ended without it\n{}\n{}", tail(&self.events), self.stderr())
            });
            if wanted(&event) {
                return event;
            }
        }
    }

    /// The next event; none at the end of the stream.
    pub fn event(&mut self) -> Option<Value> {
        let line = self.line()?;
        let event: Value = serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("not an event: {error}: {line:?}\n{}", self.stderr()));
        self.events.push(event.clone());
        Some(event)
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// Kills it, and returns when it is gone: what it had locked is free.
    pub fn kill(&mut self) {
        // Ended already, or of a case that failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub fn stderr(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap_or_default()
    }

    /// Waits for its end; returns its exit code and what it said.
    pub fn wait(&mut self) -> (i32, String) {
        while self.line().is_some() {}
        let status = self.child.wait().unwrap();
        let code = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap();
        (code, self.stderr())
    }

    /// Reads to the end and waits; the checks are the caller's. The code of a process that a signal ended is 128 and
    /// the signal, as in a shell.
    pub fn end(mut self) -> (Vec<Value>, i32, String) {
        while self.event().is_some() {}
        let (code, stderr) = self.wait();
        (std::mem::take(&mut self.events), code, stderr)
    }

    /// Reads to the end, waits, and checks what holds for every run.
    pub fn finish(self) -> Finished {
        let (events, code, stderr) = self.end();
        Finished::new(events, code, stderr)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

fn read(stdout: ChildStdout) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// The last events, for a message.
fn tail(events: &[Value]) -> String {
    let last: Vec<_> = events.iter().rev().take(20).map(Value::to_string).collect();
    last.into_iter().rev().collect::<Vec<_>>().join("\n")
}
