//! A command that dies with its supervisor, whoever else is killed at the same time: it is started through this program,
//! which asks the system for that, takes a mount namespace of its own, and then becomes the command.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

#[cfg(target_os = "linux")]
use rustix::process::Signal;
use rustix::process::{getpid, getppid};

use super::namespace::{self, HOSTS};
use crate::control_groups::Group;
use crate::sandbox::own_program;

/// What this program is told to be that: `supervise --become PID [--group DIR...] [--hosts FILE] -- COMMAND...`, with the
/// supervisor's id.
pub(super) const BECOME: &str = "--become";

/// Its stdin is to be a pipe, which tells why it could not become the command, or ends.
pub(super) fn command(of: &[OsString], group: &Group, hosts: Option<&Path>) -> io::Result<Command> {
    let mut command = Command::new(own_program()?);
    // Where this program is more than a supervisor, it is told to be one as it was itself.
    let role = std::env::args_os().skip(1).take_while(|argument| argument == "supervise");
    command.args(role).args([BECOME, &getpid().as_raw_nonzero().to_string()]);
    command.args(group.arguments());
    if let Some(hosts) = hosts {
        command.arg(HOSTS).arg(hosts);
    }
    command.arg("--").args(of);
    Ok(command)
}

pub(super) fn become_command(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let Ok(mut telling) = take_stdin() else { return ExitCode::FAILURE };
    let supervisor = arguments.next().and_then(|pid| pid.to_str()?.parse().ok());
    let (group, hosts) = surroundings(&mut arguments);
    let why = match group.enter() {
        Err(error) => io::Error::other(format!("it cannot be in its control group: {error}")),
        Ok(()) => match arguments.next() {
            Some(program) if dies_with(supervisor) => {
                namespace::enter(hosts.as_deref());
                Command::new(program).args(arguments).exec()
            }
            _ => io::Error::other("its supervisor is gone"),
        },
    };
    // Nobody reads it where that is so.
    let _ = write!(telling, "{why}");
    ExitCode::FAILURE
}

/// What it is to be in, and what `/etc/hosts` is there; what follows is the command.
pub(super) fn surroundings(arguments: &mut impl Iterator<Item = OsString>) -> (Group, Option<PathBuf>) {
    let (mut directories, mut hosts) = (Vec::new(), None);
    while let Some(name) = arguments.next().filter(|name| name != "--") {
        let path = arguments.next().map(PathBuf::from);
        match name == HOSTS {
            true => hosts = path,
            false => directories.extend(path),
        }
    }
    (Group::new(directories), hosts)
}

/// What stdin was, of which the command knows nothing: it reads nothing from its own.
fn take_stdin() -> io::Result<File> {
    let taken = rustix::io::fcntl_dupfd_cloexec(io::stdin(), 3)?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    Ok(taken.into())
}

/// Whether it does, or the supervisor was dead already.
fn dies_with(supervisor: Option<i32>) -> bool {
    #[cfg(target_os = "linux")]
    if rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).is_err() {
        return false;
    }
    supervisor == getppid().map(|pid| pid.as_raw_nonzero().get())
}
