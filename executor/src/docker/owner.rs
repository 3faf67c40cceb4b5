//! Whether the owner of objects lives: its guard keeps a file locked, and has written there which process it is.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Alive,
    Dead,
    /// The file is not here: on another machine, or in another container.
    Unknown,
}

/// Looks at the file that labels name. Anybody may write labels, and whoever opens a pipe waits.
pub fn standing(lock: &Path) -> Standing {
    if !lock.metadata().is_ok_and(|found| found.is_file()) {
        return Standing::Unknown;
    }
    match File::open(lock).map(|file| file.try_lock()) {
        Ok(Ok(())) => Standing::Dead,
        Ok(Err(TryLockError::WouldBlock)) => Standing::Alive,
        Ok(Err(TryLockError::Error(_))) | Err(_) => Standing::Unknown,
    }
}

/// Makes the file, for as long as what is returned lives.
pub(super) fn lock(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
    file.try_lock()?;
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())?;
    Ok(file)
}

/// Tells a guard that nothing is left for it. Only one that lives has its file locked, so the number in it is its own.
pub fn terminate(lock: &Path) {
    if standing(lock) == Standing::Alive
        && let Ok(text) = std::fs::read_to_string(lock)
        && let Some(pid) = text.trim().parse().ok().and_then(Pid::from_raw)
    {
        let _ = kill_process(pid, Signal::TERM);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_lives_as_long_as_its_file_is_locked() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        assert_eq!(standing(&path), Standing::Unknown);
        let guard = lock(&path).unwrap();
        assert_eq!(standing(&path), Standing::Alive);
        assert!(lock(&path).is_err(), "it has one owner");
        drop(guard);
        assert_eq!(standing(&path), Standing::Dead);
        assert_eq!(standing(&path), Standing::Dead, "looking does not take it");
    }
}
