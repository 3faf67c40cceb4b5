//! What an executor leaves that died in one instant with the supervisors of its workers: a process that a test had
//! started in a session of its own is nobody's child then. It is known by its environment, which names the executor's
//! directory.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use crate::process_tree::{Process, Tree, kill_tree};

/// Only what waits in the kernel survives SIGKILL that long.
const PATIENCE: Duration = Duration::from_secs(3);

/// Kills all processes in whose environment something is in one of these directories, which a dead executor had,
/// unless a supervisor is still there, which does so itself.
pub(super) fn kill_survivors(directories: &[&Path]) {
    kill_tree(&mut Survivors { directories }, PATIENCE);
}

struct Survivors<'a> {
    directories: &'a [&'a Path],
}

impl Survivors<'_> {
    fn is_named_in(&self, environment: &[u8]) -> bool {
        let values = environment.split(|byte| *byte == 0).filter_map(|variable| {
            let end = variable.iter().position(|byte| *byte == b'=')?;
            Some(&variable[end + 1..])
        });
        let is_in = |value: &[u8], directory: &Path| {
            value.strip_prefix(directory.as_os_str().as_bytes()).is_some_and(|rest| rest.starts_with(b"/"))
        };
        values.into_iter().any(|value| self.directories.iter().any(|directory| is_in(value, directory)))
    }

    /// Whether a command line is that of a supervisor of this executor.
    fn is_supervisor(&self, command: &[u8]) -> bool {
        let words: Vec<_> = command.split(|byte| *byte == 0).collect();
        let is_home = |word: &[u8]| self.directories.iter().any(|of| word == of.as_os_str().as_bytes());
        words.windows(2).any(|pair| pair[0] == b"--home" && is_home(pair[1]))
    }
}

impl Tree for Survivors<'_> {
    fn roots(&self, table: &[Process]) -> Vec<i32> {
        let read = |pid: i32, file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let own = std::process::id();
        let others = table.iter().map(|process| process.pid).filter(|pid| u32::try_from(*pid) != Ok(own));
        let found: Vec<_> = others.filter(|pid| self.is_named_in(&read(*pid, "environ"))).collect();
        let watched = found.iter().any(|pid| self.is_supervisor(&read(*pid, "cmdline")));
        if watched { Vec::new() } else { found }
    }

    /// They are the system's to bury; the dead have no environment any more.
    fn reap(&mut self) -> bool {
        self.roots(&crate::process_tree::processes()).is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_known_by_a_path_in_the_directory_and_a_supervisor_by_its_words() {
        let directories = [Path::new("/tmp/seagull-abcdef")];
        let survivors = Survivors { directories: &directories };
        assert!(survivors.is_named_in(b"PATH=/bin\0TMPDIR=/tmp/seagull-abcdef/gw0/tmp\0"));
        for other in [
            &b""[..],
            b"TMPDIR=/tmp/seagull-abcdefg/tmp\0",
            b"TMPDIR=/tmp/seagull-abcdef\0",
            b"/tmp/seagull-abcdef/x",
        ] {
            assert!(!survivors.is_named_in(other), "{other:?}");
        }
        let words = b"seagull\0supervise\0--directory\0/d\0--home\0/tmp/seagull-abcdef\0--cwd\0/\0--\0true\0";
        assert!(survivors.is_supervisor(words));
        assert!(!survivors.is_supervisor(b"ls\0/tmp/seagull-abcdef\0"));
    }
}
