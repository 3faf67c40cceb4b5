//! A mount namespace of a command's own: what it mounts, and all that it starts, is seen by nobody else and ends with the last
//! of these processes.

#[cfg(target_os = "linux")]
use nix::mount::{MsFlags, mount};
#[cfg(target_os = "linux")]
use nix::sched::{CloneFlags, unshare};

/// Takes this process into one. Where the kernel refuses, as it does for who is not root, all stays as it is.
#[cfg(target_os = "linux")]
pub(super) fn enter() {
    let none = None::<&str>;
    // What the machine mounts is seen here still.
    let _ = unshare(CloneFlags::CLONE_NEWNS)
        .and_then(|()| mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none));
}

#[cfg(not(target_os = "linux"))]
pub(super) fn enter() {}
