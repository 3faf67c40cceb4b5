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

use crate::sandbox::own_program;

/// What names a file that is to be `/etc/hosts`.
pub(crate) const HOSTS: &str = "--hosts";
/// What this program is told to become a command there, which nobody supervises: `supervise --within HOSTS COMMAND...`.
pub(super) const WITHIN: &str = "--within";
#[cfg(target_os = "linux")]
const NAMES: &str = "/etc/hosts";

/// What has a command run there, of whoever waits for it as for any other.
pub fn within(hosts: &Path) -> io::Result<[OsString; 4]> {
    Ok([own_program()?.into(), "supervise".into(), WITHIN.into(), hosts.into()])
}

pub(super) fn become_command(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let (Some(hosts), Some(program)) = (arguments.next(), arguments.next()) else { return ExitCode::from(2) };
    enter(Some(Path::new(&hosts)));
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
