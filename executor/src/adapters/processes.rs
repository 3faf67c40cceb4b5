//! The commands that an adapter runs, one at a time: each in a process group of its own, with what it writes in files.
#![expect(clippy::disallowed_methods, reason = "a shell: says how long a command took")]

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use signal_hook::consts::SIGINT;

use super::Stop;
use crate::agent::ATTACHMENTS;
use crate::supervisor::usage;

pub(super) struct Processes {
    /// Takes what commands write.
    directory: PathBuf,
    slot: u32,
    state: Arc<Mutex<State>>,
    /// Where tests are told to leave files.
    left: Option<PathBuf>,
    /// How often what they left was put aside.
    aside: Cell<u32>,
}

#[derive(Default)]
struct State {
    interrupted: bool,
    /// The group of the command that runs.
    group: Option<Pid>,
}

/// A command that has ended.
#[derive(Debug)]
pub(super) struct Ran {
    pub status: ExitStatus,
    pub seconds: f64,
    /// What it wrote: to both, or to stderr where stdout was asked for.
    pub output: PathBuf,
}

impl Processes {
    /// From here on an interrupt goes to the command that runs, and ends the reading of `commands`.
    pub fn new(directory: &Path, slot: u32, commands: UnixStream) -> io::Result<Processes> {
        let state = Arc::<Mutex<State>>::default();
        let (mut interrupts, sender) = UnixStream::pair()?;
        signal_hook::low_level::pipe::register(SIGINT, sender)?;
        let shared = state.clone();
        let pass_on = move || {
            while interrupts.read(&mut [0; 16]).is_ok_and(|read| read > 0) {
                let mut state = lock(&shared);
                state.interrupted = true;
                if let Some(group) = state.group {
                    let _ = kill_process_group(group, Signal::INT);
                }
                let _ = commands.shutdown(Shutdown::Read);
            }
        };
        std::thread::Builder::new().name("interrupts".into()).spawn(pass_on)?;
        let left = std::env::var_os(ATTACHMENTS).map(PathBuf::from);
        Ok(Processes { directory: directory.to_owned(), slot, state, left, aside: Cell::new(0) })
    }

    /// Puts aside what a test has left, if it left anything: the number of the directory that has it.
    pub fn put_aside(&self) -> Option<u32> {
        let left = self.left.as_ref()?;
        fs::read_dir(left).ok()?.next()?.ok()?;
        let aside = self.aside.get() + 1;
        fs::rename(left, left.with_file_name(aside.to_string())).ok()?;
        self.aside.set(aside);
        let _ = fs::create_dir(left);
        Some(aside)
    }

    /// Runs a command to its end, with all it writes in one file.
    pub fn run(&self, command: &mut Command) -> Result<Ran, Stop> {
        let output = self.file("output")?;
        command.stdout(output.0.try_clone()?);
        self.finish(command, output)
    }

    /// Runs a command to its end; the path is that of its stdout alone.
    pub fn ask(&self, command: &mut Command) -> Result<(Ran, PathBuf), Stop> {
        let (stdout, path) = self.file("stdout")?;
        command.stdout(stdout);
        let ran = self.finish(command, self.file("output")?)?;
        Ok((ran, path))
    }

    /// The highest resident memory of any command so far, in KiB.
    pub fn peak_kib(&self) -> u64 {
        usage().peak_bytes / 1024
    }

    /// Seconds on a core, of all commands so far.
    pub fn cpu_seconds(&self) -> f64 {
        let usage = usage();
        usage.user_seconds + usage.system_seconds
    }

    fn finish(&self, command: &mut Command, (stderr, output): (File, PathBuf)) -> Result<Ran, Stop> {
        command.stdin(Stdio::null()).stderr(stderr).process_group(0);
        command.env("SEAGULL_SLOT", self.slot.to_string());
        let began = Instant::now();
        let mut state = lock(&self.state);
        if state.interrupted {
            return Err(Stop::Interrupted(None));
        }
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child =
            command.spawn().map_err(|error| io::Error::other(format!("cannot start {program}: {error}")))?;
        let pid = Pid::from_child(&child);
        state.group = Some(pid);
        drop(state);
        // Not reaped yet: as long as it is there, nobody else gets its number.
        let ended = || waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        while matches!(ended(), Err(rustix::io::Errno::INTR)) {}
        let seconds = began.elapsed().as_secs_f64();
        let mut state = lock(&self.state);
        state.group = None;
        // What it left behind would disturb the next one.
        let _ = kill_process_group(pid, Signal::KILL);
        let status = child.wait()?;
        if state.interrupted {
            return Err(Stop::Interrupted(None));
        }
        Ok(Ran { status, seconds, output })
    }

    /// A new one each time: something may still write to the last.
    fn file(&self, name: &str) -> io::Result<(File, PathBuf)> {
        let path = self.directory.join(name);
        let _ = fs::remove_file(&path);
        let file = File::options().append(true).create_new(true).open(&path)?;
        Ok((file, path))
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ran {
    /// What it wrote, without the middle of what is over the limit.
    pub fn text(&self, limit: usize) -> String {
        text(&self.output, limit).unwrap_or_default()
    }

    /// How it ended, as the end of a sentence.
    pub fn how(&self) -> String {
        match self.status.signal() {
            Some(signal) => format!("signal {signal}"),
            None => format!("exit status {}", self.status.code().unwrap_or(-1)),
        }
    }
}

/// A line that ends so near to where a text is cut is cut off whole: its part might be half a secret.
const NEAR: usize = 4096;

/// A file's text, without the middle of what is over the limit.
pub(super) fn text(path: &Path, limit: usize) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let half = u64::try_from(limit / 2).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    if length <= half.saturating_mul(2) {
        file.take(length).read_to_end(&mut bytes)?;
        return Ok(String::from_utf8_lossy(&bytes).into_owned());
    }
    file.by_ref().take(half).read_to_end(&mut bytes)?;
    let near = bytes.len().saturating_sub(NEAR);
    if let Some(end) = bytes[near..].iter().rposition(|byte| *byte == b'\n') {
        bytes.truncate(near + end + 1);
    }
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(length - half))?;
    file.take(half).read_to_end(&mut tail)?;
    let inner = &tail[..tail.len().saturating_sub(1).min(NEAR)];
    let begin = inner.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let left_out = length - (bytes.len() + tail.len() - begin) as u64;
    bytes.extend(format!("\n[{left_out} bytes are left out]\n").bytes());
    bytes.extend_from_slice(&tail[begin..]);
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn processes(directory: &Path) -> Processes {
        let (ours, theirs) = UnixStream::pair().unwrap();
        std::mem::forget(theirs);
        Processes::new(directory, 3, ours).unwrap()
    }

    fn shell(order: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", order]);
        command
    }

    #[test]
    fn a_command_is_heard_and_measured_and_leaves_nobody_behind() {
        let directory = tempfile::tempdir().unwrap();
        let processes = processes(directory.path());
        let ran = processes.run(&mut shell("echo out; echo err >&2; sleep 60 & echo $!; exit 3")).unwrap();
        assert_eq!((ran.status.code(), ran.how().as_str()), (Some(3), "exit status 3"));
        let text = ran.text(1000);
        let pid = text.strip_prefix("out\nerr\n").unwrap().trim().to_owned();
        let gone = || !Path::new("/proc").join(&pid).exists() || stat(&pid).contains(") Z");
        assert!((0..100).any(|_| gone() || shell("sleep 0.01").status().is_err()), "{pid} is there");
        let (ran, stdout) =
            processes.ask(&mut shell("echo $SEAGULL_SLOT; echo err >&2; kill -9 $$")).unwrap();
        assert_eq!((ran.how().as_str(), ran.text(100).as_str()), ("signal 9", "err\n"));
        assert_eq!(super::text(&stdout, 100).unwrap(), "3\n");
        assert!(processes.peak_kib() > 0);
    }

    fn stat(pid: &str) -> String {
        fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default()
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let stop = processes(directory.path()).run(&mut Command::new("/no/such")).unwrap_err();
        assert!(matches!(&stop, Stop::Broken(message, _) if message.contains("/no/such")), "{stop:?}");
    }

    #[test]
    fn the_middle_of_a_long_text_is_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("long");
        fs::write(&path, format!("{}{}", "a".repeat(600), "z".repeat(600))).unwrap();
        let cut = text(&path, 100).unwrap();
        assert_eq!(cut, format!("{}\n[1100 bytes are left out]\n{}", "a".repeat(50), "z".repeat(50)));
        fs::write(&path, format!("first\nhunter2{}hunter2\nlast\n", "a".repeat(600))).unwrap();
        assert_eq!(text(&path, 20).unwrap(), "first\n\n[615 bytes are left out]\nlast\n");
    }
}
