//! The guard of an owner: a process of its own, which outlives the owner and removes what that leaves on the engine.
//!
//! It is there before the first object. Its stdin is the owner; the end of it means that the owner is dead, unless a word
//! came before: then the objects are to stay until their lease ends, or another time that the word has. While it lives it keeps a file locked that all
//! objects name, so that anybody can see whether they have someone who sees to them.
#![expect(clippy::disallowed_methods, reason = "a shell: it waits, and removes what is found")]

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use super::engine::Engine;
use super::error::Error;
use super::labels::Filter;
use super::owner::lock;
use super::site::now;
use super::vault;
use crate::sandbox::{own_program, remove_abandoned};

/// What it says when it does.
const GUARDS: &str = "guards";
/// The objects stay until their lease ends.
const KEEP: char = 'k';
/// No word is longer.
const WORD: u64 = 32;
/// A call that the dead owner was about to make may be under way still: the engine is asked again so often after it had
/// nothing left, after pauses that double, from the first, together some six seconds.
const LOOKS: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// An engine that does not answer is asked again for so long.
const TRIES: u32 = 120;
const AGAIN: Duration = Duration::from_secs(5);
/// How often objects that stay are looked for: whoever removed them may not have known of the guard.
const LOOK: Duration = Duration::from_secs(60);
/// How often its file is: without the state directory that it is in, nobody finds the objects any more.
const LOOK_HERE: Duration = Duration::from_secs(5);

/// The owner's end.
#[derive(Debug)]
pub struct Guard {
    child: Child,
}

impl Guard {
    /// Starts this program again as `seagull guard`; returns when it guards. `lease`: when it removes all in any case, in
    /// seconds since 1970. `home`: the directory of an executor, which goes too.
    pub fn start(path: &Path, owner: &str, lease: u64, home: Option<&Path>) -> io::Result<Guard> {
        let mut command = Command::new(own_program()?);
        command.arg("guard").arg(path).args([owner, &lease.to_string()]).args(home);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).current_dir("/");
        let mut guard = Guard { child: command.spawn()? };
        let mut said = String::new();
        guard.child.stdout.take().map(|mut out| out.read_to_string(&mut said)).transpose()?;
        match said.trim() {
            GUARDS => Ok(guard),
            "" => Err(io::Error::other("it ended at once")),
            why => Err(io::Error::other(why.to_owned())),
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|ended| ended.is_none())
    }

    /// Nothing is left for it: waits until it is gone.
    pub fn end(mut self) {
        // To wait closes the pipe, which the guard would take for the owner's death: it would look for seconds.
        let stdin = self.child.stdin.take();
        if let Some(pid) = i32::try_from(self.pid()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.child.wait();
        drop(stdin);
    }

    /// Leaves the objects to the guard, until so many seconds after 1970.
    pub fn keep_until(&mut self, end: u64) -> io::Result<()> {
        let stdin = self.child.stdin.take();
        stdin.map_or(Ok(()), |mut stdin| write!(stdin, "{KEEP}{end}"))
    }

    /// Leaves the objects to the guard, until their lease ends.
    pub fn keep(mut self) -> io::Result<()> {
        let stdin = self.child.stdin.take();
        stdin.map_or(Ok(()), |mut stdin| write!(stdin, "{KEEP}"))
    }
}

/// Runs the guard with the arguments that follow `guard`: the file that it locks, the owner, the lease, and an executor's
/// home.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<_> = arguments.into_iter().filter_map(|text| text.into_string().ok()).collect();
    let [path, owner, lease, home @ ..] = arguments.as_slice() else { return usage() };
    let Ok(lease) = lease.parse() else { return usage() };
    let path = PathBuf::from(path);
    // An interrupt from the terminal is for the owner.
    let _ = rustix::process::setsid();
    let locked = match lock(&path) {
        Ok(locked) => locked,
        Err(error) => {
            let _ = writeln!(io::stdout(), "{}: {error}", path.display());
            return ExitCode::FAILURE;
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return ExitCode::FAILURE };
    let cleared = runtime.block_on(guard(&path, owner, lease));
    vault::forget_owner(owner);
    // One that lives sees to it itself.
    for home in home {
        remove_abandoned(Path::new(home));
    }
    runtime.shutdown_background();
    // While something is left, the file says that nobody sees to it.
    if cleared {
        forget(&path, locked);
    }
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    let _ = writeln!(io::stdout(), "usage: seagull guard FILE OWNER LEASE [HOME]");
    ExitCode::from(2)
}

/// The file goes before its lock does: nobody takes what has gone for the file of a dead owner.
fn forget(path: &Path, locked: File) {
    let _ = fs::remove_file(path);
    drop(locked);
}

/// Waits until the objects are to go, and removes them; whether none is left.
async fn guard(path: &Path, owner: &str, lease: u64) -> bool {
    let Ok(mut terminated) = signal(SignalKind::terminate()) else { return false };
    let (sender, owner_gone) = oneshot::channel();
    // Reading a pipe blocks, and nothing else is to read it.
    thread::spawn(move || sender.send(read_order()));
    let filter = Filter::Owner(owner.to_owned());
    // The owner waits for the end of this before it makes anything.
    let _ = writeln!(io::stdout(), "{GUARDS}");
    close_stdout();
    let keeps = tokio::select! {
        keeps = owner_gone => keeps.ok().flatten(),
        _ = terminated.recv() => return clear(&filter, 0).await,
    };
    let Some(end) = keeps else { return clear(&filter, LOOKS).await };
    let lease = end.unwrap_or(lease);
    let mut looked = Instant::now();
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_HERE.min(Duration::from_secs(lease.saturating_sub(now())))) => {}
            _ = terminated.recv() => return clear(&filter, 0).await,
        }
        if now() < lease && looked.elapsed() < LOOK && !is_gone(path) {
            continue;
        }
        looked = Instant::now();
        let is_empty = async { Ok::<_, Error>(Engine::connect().await?.list(&filter).await?.is_empty()) };
        if now() >= lease || is_gone(path) || is_empty.await.unwrap_or(false) {
            return clear(&filter, 0).await;
        }
    }
}

fn is_gone(path: &Path) -> bool {
    path.metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Whether the objects are to stay, and until when if that is not the end of their lease.
fn read_order() -> Option<Option<u64>> {
    let mut word = String::new();
    io::stdin().take(WORD).read_to_string(&mut word).ok()?;
    word.strip_prefix(KEEP).map(|end| end.parse().ok())
}

fn close_stdout() {
    if let Ok(nothing) = File::options().write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(&nothing);
    }
}

/// Removes all that is found, and looks again so often; whether nothing is left.
async fn clear(filter: &Filter, looks: u32) -> bool {
    let mut pause = FIRST_PAUSE;
    let mut clean = retrying(filter).await;
    for _ in 0..looks {
        tokio::time::sleep(pause).await;
        pause *= 2;
        clean = retrying(filter).await;
    }
    clean
}

async fn retrying(filter: &Filter) -> bool {
    for _ in 0..TRIES {
        let cleared = async { Engine::connect().await?.clear(filter).await };
        if cleared.await.is_ok() {
            return true;
        }
        tokio::time::sleep(AGAIN).await;
    }
    false
}
