//! `seagull supervise`: stands between the executor and what lives in a process sandbox, so that nothing of it
//! outlives the executor. One thread, no runtime.
//!
//! Its stdin is the executor: one byte is one order, and its end means that the executor, or its interest, is gone.
//! Its stderr is the log, which the command gets as stdout and stderr. Its stdout takes one line at the end, an
//! [`Exit`] as JSON; then every process is dead and the directories removed.

#![expect(clippy::disallowed_methods, reason = "a shell: dying takes real time")]

mod left;
mod mortal;
mod namespace;

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, wait};
use seagull_domain::Limits;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use self::mortal::BECOME;
pub(crate) use self::namespace::HOSTS;
use self::namespace::WITHIN;
pub use self::namespace::within;
use crate::control_groups::{BOUNDS, GROUP, Group};
use crate::process_tree::{Killed, Process, Tree, kill_tree, living, processes};
use crate::remove::remove_trees;
use crate::sandbox::{End, Exit, Left, Usage, remove_abandoned};

/// Kills the tree now.
pub(crate) const KILL: u8 = b'k';
/// SIGINT to the main process alone.
pub(crate) const INTERRUPT: u8 = b'i';
/// The stack dump signal to the main process alone.
pub(crate) const DUMP: u8 = b'd';

/// SIGRTMIN+11, as the pytest adapter tells: a signal that no suite is known to use.
pub(crate) const DUMP_SIGNAL: i32 = 45;
/// Only what waits in the kernel survives SIGKILL that long.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often, and how far apart, the home of an executor that seems dead is looked at. Its pipe ends a moment before
/// its lock does.
const HOME_TRIES: u32 = 20;
const HOME_PAUSE: Duration = Duration::from_millis(10);
/// How often, and how far apart, it is looked whether what the command has left ends with it, as helpers of Python's
/// multiprocessing do.
const LEFT_TRIES: u32 = 20;
const LEFT_PAUSE: Duration = Duration::from_millis(10);
/// How often it is looked whether the kernel has killed something for want of memory, where nobody tells.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// What stands on the command line: `--directory DIR... [--group DIR...] [--bounds BOUNDS] [--hosts FILE] --home DIR --cwd DIR -- COMMAND...`.
struct Options {
    /// Removed at the end.
    directories: Vec<PathBuf>,
    /// What the command is to be in; made, and removed at the end.
    group: Group,
    bounds: Option<Limits>,
    /// Removed at the end if the executor is dead.
    home: PathBuf,
    cwd: PathBuf,
    /// What is `/etc/hosts` for the command, where that may be.
    hosts: Option<PathBuf>,
    command: Vec<OsString>,
}

/// Why the watch ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    MainProcess,
    Killed,
    ExecutorGone,
}

/// Runs the supervisor with the arguments that follow `supervise`; the environment is the command's.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut arguments = arguments.into_iter().peekable();
    if arguments.next_if(|first| first == BECOME).is_some() {
        return mortal::become_command(arguments);
    }
    if arguments.next_if(|first| first == WITHIN).is_some() {
        return namespace::become_command(arguments);
    }
    let Some(options) = Options::parse(arguments) else {
        let _ = writeln!(
            io::stderr(),
            "usage: seagull supervise --directory DIR... [--group DIR...] [--bounds BOUNDS] [--hosts FILE] --home DIR --cwd DIR -- COMMAND..."
        );
        return ExitCode::from(2);
    };
    let exit = match Supervisor::start(&options) {
        Ok(supervisor) => supervisor.attend(&options),
        Err(error) => {
            let _ = remove_trees(&options.directories);
            options.group.remove();
            Exit::of(End::NotStarted(error.to_string()))
        }
    };
    let line = serde_json::to_string(&exit).unwrap_or_default();
    // Nobody reads it when the executor is dead.
    let _ = writeln!(io::stdout(), "{line}");
    ExitCode::SUCCESS
}

impl Options {
    fn parse(arguments: impl IntoIterator<Item = OsString>) -> Option<Self> {
        let mut arguments = arguments.into_iter();
        let (mut directories, mut group, mut bounds) = (Vec::new(), Vec::new(), None);
        let [mut home, mut cwd, mut hosts] = [const { None::<PathBuf> }; 3];
        loop {
            let name = arguments.next()?;
            match name.to_str()? {
                "--directory" => directories.push(arguments.next()?.into()),
                GROUP => group.push(arguments.next()?.into()),
                BOUNDS => bounds = Some(serde_json::from_str(arguments.next()?.to_str()?).ok()?),
                "--home" => home = Some(arguments.next()?.into()),
                "--cwd" => cwd = Some(arguments.next()?.into()),
                HOSTS => hosts = Some(arguments.next()?.into()),
                "--" => break,
                _ => return None,
            }
        }
        let command: Vec<OsString> = arguments.collect();
        command.first()?;
        Some(Self { directories, group: Group::new(group), bounds, home: home?, cwd: cwd?, hosts, command })
    }
}

struct Supervisor {
    main: Pid,
    status: Option<WaitStatus>,
    /// Becomes readable with every signal that concerns the supervisor.
    signals: UnixStream,
}

impl Supervisor {
    fn start(options: &Options) -> io::Result<Self> {
        // Fails only for the leader of a process group, which no child of an executor is.
        let _ = rustix::process::setsid();
        #[cfg(target_os = "linux")]
        rustix::process::set_child_subreaper(Some(getpid()))?;
        let signals = listen()?;
        options.group.make(options.bounds.as_ref())?;
        let main = spawn(options)?;
        Ok(Self { main, status: None, signals })
    }

    fn attend(mut self, options: &Options) -> Exit {
        let ended = self.watch(&options.group);
        let left = self.left(&options.command);
        let Killed { pids, surviving } = kill_tree(&mut self, PATIENCE);
        let own = self.main.as_raw_nonzero().get();
        let leftovers = pids.iter().filter(|pid| **pid != own).count();
        let removed = remove_trees(&options.directories);
        let out_of_memory = options.group.out_of_memory();
        let peak_bytes = options.group.used().map(|used| used.peak_kib * 1024);
        let usage = Usage { peak_bytes: peak_bytes.unwrap_or(usage().peak_bytes), ..usage() };
        options.group.remove();
        if ended == Ended::ExecutorGone {
            remove_home(&options.home);
        }
        Exit {
            end: self.end(),
            usage,
            leftovers: u32::try_from(leftovers).unwrap_or(u32::MAX),
            surviving,
            directory_left: removed.err().map(|error| error.to_string()),
            out_of_memory,
            over_disk: None,
            left,
        }
    }

    /// What the command has left, if it ended by itself.
    fn left(&mut self, command: &[OsString]) -> Vec<Left> {
        if self.status.and_then(WaitStatus::exit_status).is_none() {
            return Vec::new();
        }
        for _ in 0..LEFT_TRIES {
            if self.bury() {
                return Vec::new();
            }
            thread::sleep(LEFT_PAUSE);
        }
        let table = processes();
        left::look(&living(&table, &self.roots(&table)), command)
    }

    /// Waits for the end of the main process or of the executor, and obeys orders meanwhile. Where the kernel kills a part of
    /// what is there for want of memory, that is the end of all.
    fn watch(&mut self, group: &Group) -> Ended {
        let look = group.is_to_be_watched().then_some(LOOK);
        loop {
            self.bury();
            if self.status.is_some() {
                return Ended::MainProcess;
            }
            if look.is_some() && group.was_out_of_memory() {
                return Ended::Killed;
            }
            match self.wait(look.as_ref()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(true) => {
                    if let Some(ended) = self.obey() {
                        return ended;
                    }
                }
                Ok(false) => {}
                Err(_) => return Ended::ExecutorGone,
            }
        }
    }

    /// Waits until something happened; `true` when the executor said something.
    fn wait(&mut self, at_most: Option<&Timespec>) -> io::Result<bool> {
        let stdin = io::stdin();
        let mut ready = [PollFd::new(&stdin, PollFlags::IN), PollFd::new(&self.signals, PollFlags::IN)];
        poll(&mut ready, at_most)?;
        let [orders, signals] = ready.map(|fd| !fd.revents().is_empty());
        if signals {
            // How many there were does not matter, and the rest wakes again.
            let _ = self.signals.read(&mut [0; 64])?;
        }
        Ok(orders)
    }

    fn obey(&self) -> Option<Ended> {
        let mut orders = [0; 64];
        let read = match rustix::io::read(io::stdin().as_fd(), &mut orders) {
            Ok(read) => read,
            Err(rustix::io::Errno::INTR) => return None,
            Err(_) => 0,
        };
        if read == 0 {
            return Some(Ended::ExecutorGone);
        }
        for order in &orders[..read] {
            match *order {
                KILL => return Some(Ended::Killed),
                INTERRUPT => {
                    let _ = kill_process(self.main, Signal::INT);
                }
                DUMP => send_number(self.main, DUMP_SIGNAL),
                _ => {}
            }
        }
        None
    }

    /// Reaps every dead child; `true` when no child is left. A sub-reaper without a child has no descendant.
    fn bury(&mut self) -> bool {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.main => self.status = Some(status),
                Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
                Ok(None) => return false,
                Err(_) => return true,
            }
        }
    }

    fn end(&self) -> End {
        let code = self.status.and_then(WaitStatus::exit_status).map(End::Code);
        let signal = || self.status.and_then(WaitStatus::terminating_signal).map(End::Signal);
        code.or_else(signal).unwrap_or(End::Signal(Signal::KILL.as_raw()))
    }
}

impl Tree for Supervisor {
    fn roots(&self, table: &[Process]) -> Vec<i32> {
        let own = getpid().as_raw_nonzero().get();
        table.iter().filter(|process| process.parent == own).map(|process| process.pid).collect()
    }

    fn reap(&mut self) -> bool {
        self.bury()
    }
}

/// Signals as bytes on a pipe. Those that ask to end are heard and not obeyed, for a test may send its parent one: only
/// the executor gives orders. Having a handler also gives the command the default action, where a parent ignored a signal:
/// an interrupt must reach Python as `KeyboardInterrupt`.
fn listen() -> io::Result<UnixStream> {
    let (receiver, sender) = UnixStream::pair()?;
    for signal in [SIGCHLD, SIGTERM, SIGINT, SIGQUIT, SIGHUP] {
        signal_hook::low_level::pipe::register(signal, sender.try_clone()?)?;
    }
    Ok(receiver)
}

fn spawn(options: &Options) -> io::Result<Pid> {
    let [stdout, stderr] =
        [io::stderr().as_fd().try_clone_to_owned()?, io::stderr().as_fd().try_clone_to_owned()?];
    let (failure, telling) = io::pipe()?;
    let mut child = mortal::command(&options.command, &options.group, options.hosts.as_deref())?
        .current_dir(&options.cwd)
        .stdin(OwnedFd::from(telling))
        .stdout(Stdio::from(stdout))
        .stderr(Stdio::from(stderr))
        // A test that signals its process group does not mean the supervisor.
        .process_group(0)
        .spawn()
        .map_err(|error| {
            // Of a directory that is not there the system says the same.
            let missing = if options.cwd.is_dir() { Path::new(&options.command[0]) } else { &options.cwd };
            io::Error::other(format!("{}: {error}", missing.display()))
        })?;
    let why = io::read_to_string(failure)?;
    if !why.is_empty() {
        child.wait()?;
        return Err(io::Error::other(format!("{}: {why}", Path::new(&options.command[0]).display())));
    }
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    pid.ok_or_else(|| io::Error::other("no process id"))
}

/// Real-time signals have no safe wrapper, and this one is rare enough for a shell.
fn send_number(pid: Pid, signal: i32) {
    let order = format!("kill -{signal} {}", pid.as_raw_nonzero());
    let _ = Command::new("/bin/sh").args(["-c", &order]).stdin(Stdio::null()).spawn();
}

fn remove_home(home: &Path) {
    for _ in 0..HOME_TRIES {
        if remove_abandoned(home) {
            return;
        }
        thread::sleep(HOME_PAUSE);
    }
}

/// Of all children that have ended.
pub(crate) fn usage() -> Usage {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else { return Usage::default() };
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    Usage {
        user_seconds: seconds(usage.user_time()),
        system_seconds: seconds(usage.system_time()),
        peak_bytes: u64::try_from(usage.max_rss()).unwrap_or(0) * unit,
    }
}
