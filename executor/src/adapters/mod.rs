//! `seagull adapt`: the worker process of frameworks that have no process of ours inside. It speaks the adapter protocol
//! as the pytest plugin does, and runs commands: one for each test, or for as many as one start is worth.

pub mod cargo;
mod channel;
pub mod command;
pub mod junit;
mod libtest;
mod note;
mod processes;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use seagull_domain::{FileTests, Framework};

use crate::agent::adapter::{Command, Configure, Event};
use channel::Channel;
use processes::Processes;

/// Bytes of all ids, and of whatever else is read of what a command printed.
const PRINTED: usize = 256 << 20;
/// Bytes of one id.
const ID_BYTES: usize = 64 << 10;
/// Bytes of what a command wrote, where it is told.
const WORDS: usize = 12 << 10;
/// A line of a discovery stays below this.
const STRETCH: usize = 200 << 10;

/// What the executor calls a test by, and its id.
type Test = (u32, String);

/// Why a worker runs no more tests.
#[derive(Debug, PartialEq, Eq)]
enum Stop {
    /// The framework does not work here: a line, and what else there is to say.
    Broken(String, String),
    /// By the executor, in this test if in any.
    Interrupted(Option<u32>),
}

type Done<T> = Result<T, Stop>;

/// The tests, in the order to run them in, and what was named again.
#[derive(Debug, Default)]
struct Discovered {
    files: Vec<FileTests>,
    duplicates: Vec<String>,
}

impl Stop {
    fn broken(message: impl Into<String>) -> Stop {
        Stop::Broken(message.into(), String::new())
    }

    /// With the test that was interrupted.
    fn within(self, test: u32) -> Stop {
        match self {
            Stop::Interrupted(None) => Stop::Interrupted(Some(test)),
            other => other,
        }
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::broken(error.to_string())
    }
}

/// What there is to know of a framework.
trait Adapter {
    /// How much work one start is worth, in milliseconds of prediction; None if each test has a start of its own.
    fn batch_ms(&self) -> Option<u64> {
        None
    }

    /// Comes first, in every worker.
    fn prepare(&mut self) -> Done<()> {
        Ok(())
    }

    fn discover(&mut self) -> Done<Discovered>;

    /// Runs tests and tells of each.
    fn run(&mut self, tests: Vec<Test>, channel: &mut Channel) -> Done<()>;
}

/// Runs a worker with the argument that follows `adapt`: the directory with the executor's socket. Or takes a note.
pub fn main(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(directory) = arguments.next() else {
        let _ = writeln!(io::stderr(), "usage: seagull adapt DIR");
        return ExitCode::from(2);
    };
    let done = if directory == note::NOTE { note::take(arguments) } else { serve(Path::new(&directory)) };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(directory: &Path) -> io::Result<()> {
    let mut channel = Channel::connect(&directory.join("socket"))?;
    let Some(Command::Configure(configure)) = channel.next() else {
        return Err(io::Error::other("the executor sent no configuration"));
    };
    let processes = Processes::new(directory, configure.slot, channel.stream()?)?;
    let mut adapter: Box<dyn Adapter> = match &configure.framework {
        Framework::Cargo => Box::new(cargo::Cargo::new(processes, &configure, directory, None)),
        Framework::Built(built) => Box::new(cargo::Cargo::new(processes, &configure, directory, Some(built))),
        Framework::Command(commands) => {
            Box::new(command::AnyCommand::new(processes, (**commands).clone(), &configure, directory))
        }
        Framework::Pytest => return Err(io::Error::other("pytest has an adapter of its own")),
    };
    let stop = session(&mut channel, &mut *adapter, &configure).err();
    let last = match stop {
        None => Event::Finishing {},
        Some(Stop::Broken(message, text)) => Event::DiscoveryFailed { message, text },
        Some(Stop::Interrupted(test)) => {
            Event::Interrupted { test, message: String::new(), location: String::new(), text: String::new() }
        }
    };
    channel.say(&last);
    channel.say(&Event::Ended { exit: None });
    Ok(())
}

fn session(channel: &mut Channel, adapter: &mut dyn Adapter, configure: &Configure) -> Done<()> {
    adapter.prepare()?;
    channel.say(&Event::Hello {
        pid: None,
        dump_signal: None,
        batch_ms: adapter.batch_ms(),
        found_with: String::new(),
    });
    if configure.discover {
        let found = adapter.discover()?;
        for file in &found.files {
            tell(channel, file);
        }
        for id in found.duplicates {
            channel.say(&Event::Duplicate { id });
        }
        channel.say(&Event::Discovered { deselected: 0 });
    }
    while let Some(command) = channel.next() {
        match command {
            Command::Run { tests, .. } => adapter.run(tests, channel)?,
            Command::Finish => break,
            // It is configured once, and neither has nor is a controller.
            _ => {}
        }
    }
    if channel.is_interrupted() { Err(Stop::Interrupted(None)) } else { Ok(()) }
}

/// A file with its tests, in lines that are not too long.
fn tell(channel: &mut Channel, file: &FileTests) {
    let mut suffixes = Vec::new();
    let mut bytes = 0;
    for suffix in &file.suffixes {
        if bytes + suffix.len() > STRETCH {
            channel.say(&Event::File { path: file.path.clone(), suffixes: std::mem::take(&mut suffixes) });
            bytes = 0;
        }
        bytes += suffix.len() + 8;
        suffixes.push(suffix.clone());
    }
    channel.say(&Event::File { path: file.path.clone(), suffixes });
}
