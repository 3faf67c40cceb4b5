//! Which children of this process are supervisors, and the end of the trees that dead supervisors leave to it.
#![expect(clippy::disallowed_methods, reason = "a shell: supervisors are waited for by several tasks")]

use std::collections::BTreeSet;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, WaitOptions, getpid, waitpid};
use tokio::process::{Child, Command};

use crate::process_tree::{Killed, Process, Tree, kill_tree};

/// How long orphans are tried to be killed.
const PATIENCE: Duration = Duration::from_secs(3);

/// The supervisors among this process's children, and what else has a session of its own. **One per process**, shared by all that start sandboxes in it: the
/// children of a supervisor that it does not know are taken for orphans.
///
/// Orphans come to this process because it is a sub-reaper. They are told from children that other parts of the
/// process started by their session: a supervisor begins one, and nothing under it can ever get back into ours.
#[derive(Debug)]
pub struct Children {
    supervisors: Mutex<BTreeSet<i32>>,
}

impl Children {
    /// Makes this process the one that inherits orphans.
    pub fn become_subreaper() -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        rustix::process::set_child_subreaper(Some(getpid()))?;
        Ok(Self { supervisors: Mutex::default() })
    }

    /// Starts a supervisor; it is known before anyone can look for orphans.
    pub(crate) fn start(&self, command: &mut Command) -> io::Result<Child> {
        let mut supervisors = self.supervisors();
        let child = command.spawn()?;
        supervisors.extend(child.id().and_then(|pid| i32::try_from(pid).ok()));
        Ok(child)
    }

    /// Starts another child in a session of its own, likewise. It is to stay for as long as this process does.
    pub(crate) fn beside<T>(
        &self,
        pid: impl Fn(&T) -> u32,
        start: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        let mut supervisors = self.supervisors();
        let child = start()?;
        supervisors.extend(i32::try_from(pid(&child)).ok());
        Ok(child)
    }

    /// A supervisor that was waited for.
    pub(crate) fn forget(&self, pid: i32) {
        self.supervisors().remove(&pid);
    }

    /// Kills and reaps every tree whose supervisor is dead. Blocks until that is done.
    pub(crate) fn kill_orphans(&self) -> Killed {
        kill_tree(&mut Orphans { children: self, quiet: 0 }, PATIENCE)
    }

    fn supervisors(&self) -> MutexGuard<'_, BTreeSet<i32>> {
        self.supervisors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Orphans<'a> {
    children: &'a Children,
    /// How many looks in a row found none.
    quiet: u32,
}

impl Tree for Orphans<'_> {
    fn roots(&self, table: &[Process]) -> Vec<i32> {
        let own = getpid().as_raw_nonzero().get();
        // Zero where the session began outside of this process's namespace, as that of a container's command may.
        let session = table.iter().find(|process| process.pid == own).map_or(0, |process| process.session);
        let supervisors = self.children.supervisors();
        let orphan = |process: &&Process| {
            process.parent == own
                && process.session != 0
                && process.session != session
                && !supervisors.contains(&process.pid)
        };
        table.iter().filter(orphan).map(|process| process.pid).collect()
    }

    /// Only orphans are waited for, each by its id, so that nobody else's child is stolen. A process whose parent
    /// dies while the table is read may be missing from it, so that once is not enough.
    fn reap(&mut self) -> bool {
        let orphans = self.roots(&crate::process_tree::processes());
        self.quiet = if orphans.is_empty() { self.quiet + 1 } else { 0 };
        for pid in orphans.into_iter().filter_map(Pid::from_raw) {
            let _ = waitpid(Some(pid), WaitOptions::NOHANG);
        }
        self.quiet >= 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orphans_are_told_from_other_children_by_their_session_even_if_ours_is_of_another_namespace() {
        let own = getpid().as_raw_nonzero().get();
        let children = Children { supervisors: Mutex::new(BTreeSet::from([own + 1])) };
        let process = |pid, parent, session| Process { pid, parent, session, zombie: false };
        for session in [own, 7, 0] {
            let orphan = process(own + 3, own, own + 1);
            let table = [
                process(own, 1, session),
                process(own + 1, own, own + 1),
                process(own + 2, own, session),
                orphan,
                process(own + 4, orphan.pid, own + 1),
            ];
            let orphans = Orphans { children: &children, quiet: 0 };
            assert_eq!(orphans.roots(&table), [orphan.pid]);
        }
    }
}
