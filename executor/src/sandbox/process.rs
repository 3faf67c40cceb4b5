//! The process sandbox: a directory and a process tree on this machine, under a supervisor.

#![expect(clippy::disallowed_methods, reason = "a shell: a supervisor that does not end is waited for")]

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::{Children, End, Exit, Handle, Meter, Order, Sandbox, Spec};
use crate::control_groups::{BOUNDS, ControlGroups, Group};
use crate::remove::remove_trees;
use crate::supervisor::{DUMP, HOSTS, INTERRUPT, KILL};

/// How long a supervisor may take to kill its tree and remove the directory; then it is itself killed, and the
/// executor does both.
const PATIENCE: Duration = Duration::from_secs(5);
/// A supervisor's last line is shorter, also where all that it tells of what was left has to be escaped.
const REPORT_BYTES: u64 = 1 << 20;

/// Starts process sandboxes.
#[derive(Debug, Clone)]
pub struct ProcessSandbox {
    supervisor: Vec<OsString>,
    children: Arc<Children>,
    home: PathBuf,
    groups: ControlGroups,
}

impl ProcessSandbox {
    /// `home` is the executor's directory, that supervisors remove should the executor be killed.
    pub fn new(children: Arc<Children>, home: &Path) -> io::Result<Self> {
        let supervisor = vec![own_program()?.into(), "supervise".into()];
        Ok(Self { supervisor, children, home: home.to_owned(), groups: ControlGroups::default() })
    }

    /// Each has a control group of its own there.
    #[must_use]
    pub fn in_groups(mut self, groups: ControlGroups) -> Self {
        self.groups = groups;
        self
    }

    /// Replaces the command that runs [`crate::supervisor::main`], `seagull supervise`.
    #[must_use]
    pub fn with_supervisor(mut self, command: Vec<OsString>) -> Self {
        self.supervisor = command;
        self
    }

    fn command(&self, spec: &Spec) -> io::Result<Command> {
        let log = OpenOptions::new().create(true).append(true).mode(0o600).open(&spec.log);
        let log = log.map_err(|error| annotate(&error, &spec.log))?;
        let mut command = Command::new(&self.supervisor[0]);
        command.as_std_mut().args(&self.supervisor[1..]);
        for directory in &spec.directories {
            command.arg("--directory").arg(directory);
        }
        command.args(self.group(spec).arguments());
        if let Some(bounds) = &spec.bounds {
            command.arg(BOUNDS).arg(serde_json::to_string(bounds)?);
        }
        if let Some(hosts) = &spec.hosts {
            command.arg(HOSTS).arg(hosts);
        }
        command.arg("--home").arg(&self.home).arg("--cwd").arg(&spec.cwd).arg("--").args(&spec.command);
        command.env_clear().envs(spec.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        Ok(command)
    }

    fn group(&self, spec: &Spec) -> Group {
        Group::new(spec.directories.first().map(|first| self.groups.of(first)).unwrap_or_default())
    }
}

impl Sandbox for ProcessSandbox {
    fn start(&self, spec: &Spec) -> io::Result<Handle> {
        let mut child = self
            .children
            .start(&mut self.command(spec)?)
            .map_err(|error| annotate(&error, Path::new(&self.supervisor[0])))?;
        let stdin = child.stdin.take();
        let (children, directories, group) =
            (self.children.clone(), spec.directories.clone(), self.group(spec));
        let meter = Meter::default();
        meter.set(group.clone());
        Ok(Handle::attended(meter, |orders| {
            Attendant { orders, stdin, child, children, directories, group }.attend()
        }))
    }
}

/// This program, to be started by others while this process lives. Unlike the path of the executable this works still
/// when an upgrade has replaced the file.
pub(crate) fn own_program() -> io::Result<PathBuf> {
    let own = PathBuf::from(format!("/proc/{}/exe", std::process::id()));
    if own.exists() { Ok(own) } else { std::env::current_exe() }
}

/// The executor's end of a supervisor.
struct Attendant {
    child: Child,
    /// Closing it is the order to kill.
    stdin: Option<ChildStdin>,
    orders: mpsc::UnboundedReceiver<Order>,
    children: Arc<Children>,
    directories: Vec<PathBuf>,
    group: Group,
}

impl Attendant {
    async fn attend(mut self) -> Exit {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok());
        let report = self.report(pid).await;
        let _ = self.child.wait().await;
        if let Some(pid) = pid {
            self.children.forget(pid);
        }
        match report {
            Some(exit) if exit.surviving == 0 => exit,
            report => self.finish(report).await,
        }
    }

    /// Passes orders on until the supervisor has said its last line, or has died without one.
    async fn report(&mut self, pid: Option<i32>) -> Option<Exit> {
        let reading = last_line(self.child.stdout.take());
        tokio::pin!(reading);
        let mut deadline = None;
        loop {
            let overdue = async {
                match deadline {
                    Some(deadline) => sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                line = &mut reading => return serde_json::from_str(&line).ok(),
                () = overdue => {
                    deadline = None;
                    let _ = self.child.start_kill();
                }
                order = self.orders.recv(), if self.stdin.is_some() => {
                    if !pass_on(order, &mut self.stdin).await {
                        deadline = Some(Instant::now() + PATIENCE);
                        wake(pid);
                    }
                }
            }
        }
    }

    /// Does what the supervisor could not.
    async fn finish(self, report: Option<Exit>) -> Exit {
        let work = move || {
            let killed = self.children.kill_orphans();
            let removed = remove_trees(&self.directories);
            self.group.remove();
            let mut exit = report.unwrap_or_else(|| Exit::of(End::SupervisorLost));
            exit.leftovers = exit.leftovers.max(u32::try_from(killed.pids.len()).unwrap_or(u32::MAX));
            exit.surviving = killed.surviving;
            exit.directory_left = removed.err().map(|error| error.to_string());
            exit
        };
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Exit::of(End::SupervisorLost))
    }
}

/// Writes an order; `false` when it is the last: to kill, or nobody is left to give any. The pipe is closed only
/// after the byte, so that the supervisor can tell this from a dead executor.
async fn pass_on(order: Option<Order>, stdin: &mut Option<ChildStdin>) -> bool {
    let byte = match order {
        Some(Order::Interrupt) => INTERRUPT,
        Some(Order::DumpStacks) => DUMP,
        Some(Order::Kill) | None => KILL,
    };
    if let Some(pipe) = stdin {
        // One that has ended reports by itself.
        let _ = pipe.write_all(&[byte]).await;
    }
    if byte == KILL {
        *stdin = None;
    }
    byte != KILL
}

/// A test may have stopped its supervisor.
fn wake(pid: Option<i32>) {
    if let Some(pid) = pid.and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::CONT);
    }
}

async fn last_line(stdout: Option<ChildStdout>) -> String {
    let mut line = String::new();
    if let Some(stdout) = stdout {
        let _ = stdout.take(REPORT_BYTES).read_to_string(&mut line).await;
    }
    line
}

fn annotate(error: &io::Error, path: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
