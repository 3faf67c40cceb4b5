//! A mount namespace of a command's own: what it mounts, and all that it starts, is seen by nobody else and ends with the last
//! of these processes. `/etc/hosts` may be a file of its own there.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

#[cfg(target_os = "linux")]
use nix::mount::{MsFlags, mount};
#[cfg(target_os = "linux")]
use nix::sched::{CloneFlags, unshare};

use super::mortal::surroundings;
use crate::control_groups::Bounded;
use crate::sandbox::own_program;

/// What names a file that is to be `/etc/hosts`.
pub(crate) const HOSTS: &str = "--hosts";
/// What this program is told to become a command there, which nobody supervises:
/// `supervise --within [--group DIR...] [--hosts FILE] -- COMMAND...`.
pub(super) const WITHIN: &str = "--within";
#[cfg(target_os = "linux")]
const NAMES: &str = "/etc/hosts";

/// What has a command run there, and within its bounds, of whoever waits for it as for any other; nothing where there is neither.
pub fn within(hosts: Option<&Path>, bounded: Option<&Bounded>) -> io::Result<Vec<OsString>> {
    if hosts.is_none() && bounded.is_none() {
        return Ok(Vec::new());
    }
    let mut words = vec![own_program()?.into(), "supervise".into(), WITHIN.into()];
    words.extend(bounded.into_iter().flat_map(|bounded| bounded.0.arguments()));
    words.extend(hosts.into_iter().flat_map(|hosts| [HOSTS.into(), hosts.into()]));
    words.push("--".into());
    Ok(words)
}

pub(super) fn become_command(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let (group, hosts) = surroundings(&mut arguments);
    let Some(program) = arguments.next() else { return ExitCode::from(2) };
    if let Err(error) = group.enter() {
        let _ = writeln!(io::stderr(), "warning: it is not bounded: {error}");
    }
    enter(hosts.as_deref());
    let why = Command::new(&program).args(arguments).exec();
    let _ = writeln!(io::stderr(), "{}: {why}", Path::new(&program).display());
    ExitCode::FAILURE
}

/// Takes this process into one. Where the kernel refuses, as it does for who is not root, all stays as it is.
#[cfg(target_os = "linux")]
pub(super) fn enter(hosts: Option<&Path>) {
    let none = None::<&str>;
    // What the machine mounts is seen here still; the way back is cut before anything is mounted.
    let apart = unshare(CloneFlags::CLONE_NEWNS)
        .and_then(|()| mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none));
    if let (Ok(()), Some(hosts)) = (apart, hosts) {
        let _ = mount(Some(hosts), NAMES, none, MsFlags::MS_BIND, none);
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn enter(_: Option<&Path>) {}
