//! A group, as whoever makes it has it. Files have other names in either version, and each is in one of its directories.

#![expect(clippy::disallowed_methods, reason = "a shell: a group needs a moment to be empty")]

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use seagull_domain::{Limits, Used};

use super::{ALL_PIDS, GROUP, log};
use crate::sandbox::OutOfMemory;

/// Of what a bound of cores is, in microseconds.
const PERIOD: u64 = 100_000;
/// Bytes of what the kernel takes at a time at most.
const PAGES: u64 = 1 << 20;
/// How often, and how far apart, it is looked whether the last of its dead have left it.
const LEAVING: u32 = 50;
const PAUSE: Duration = Duration::from_millis(2);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    directories: Vec<PathBuf>,
}

impl Group {
    /// With these directories; not there yet.
    pub fn new(directories: Vec<PathBuf>) -> Group {
        Group { directories }
    }

    pub fn directories(&self) -> &[PathBuf] {
        &self.directories
    }

    /// The arguments that name it.
    pub fn arguments(&self) -> impl Iterator<Item = OsString> {
        self.directories.iter().flat_map(|directory| [GROUP.into(), directory.into()])
    }

    pub fn counts_memory(&self) -> bool {
        ["memory.events", "memory.oom_control"].iter().any(|file| self.find(file).is_some())
    }

    /// Makes it, with what there is of bounds. Whatever memory it is out of, all that is in it is to end.
    pub fn make(&self, limits: Option<&Limits>) -> io::Result<()> {
        for directory in &self.directories {
            match fs::create_dir(directory) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        let _ = self.write("memory.oom.group", "1");
        limits.map_or(Ok(()), |limits| self.bound(limits))
    }

    fn bound(&self, limits: &Limits) -> io::Result<()> {
        if let Some(kib) = limits.memory_kib {
            let bytes = (kib * 1024).to_string();
            let told = format!("memory cannot be bounded to {} MiB", kib >> 10);
            self.either(&told, "memory.max", "memory.limit_in_bytes", &bytes)?;
            // What is swapped out counts, where that is counted at all.
            let _ = self.write("memory.swap.max", "0");
            let _ = self.write("memory.memsw.limit_in_bytes", &bytes);
        }
        if let Some(cpus) = limits.millicpus {
            let quota = u64::from(cpus) * PERIOD / 1000;
            let told = format!("cpus cannot be bounded to {}", f64::from(cpus) / 1000.0);
            self.either(&told, "cpu.max", "cpu.cfs_quota_us", &quota.to_string())?;
        }
        if limits.pids < ALL_PIDS {
            let told = format!("pids cannot be bounded to {}", limits.pids);
            self.either(&told, "pids.max", "pids.max", &limits.pids.to_string())?;
        }
        Ok(())
    }

    /// This process, and what it starts, is in it.
    pub fn enter(&self) -> io::Result<()> {
        self.directories.iter().try_for_each(|directory| {
            let path = directory.join("cgroup.procs");
            // A file of that name elsewhere is none of the kernel's.
            let file = fs::OpenOptions::new().write(true).open(path);
            file.and_then(|mut file| io::Write::write_all(&mut file, b"0"))
        })
    }

    /// Whether the kernel has killed something in it for want of memory.
    pub fn was_out_of_memory(&self) -> bool {
        self.of_line("memory.events", "oom_kill").unwrap_or(0) > 0
            || self.of_line("memory.oom_control", "oom_kill").unwrap_or(0) > 0
    }

    /// And whose memory that was. The older version does not count that; there it is in the kernel's log, for who may read it.
    pub fn out_of_memory(&self) -> Option<OutOfMemory> {
        let by_log = || self.find("memory.oom_control").and_then(|_| self.by_log());
        self.was_out_of_memory().then(|| by_log().unwrap_or_else(|| self.by_files()))
    }

    /// By the kernel's log, also when the group is gone.
    pub fn by_log(&self) -> Option<OutOfMemory> {
        log::last_kill(self.directories.first()?.file_name()?.to_str()?)
    }

    fn by_files(&self) -> OutOfMemory {
        // Where the log cannot be read: there were no pages left below the limit, though what was there may have been cache.
        let at_limit =
            |limit: u64| self.number("memory.max_usage_in_bytes") > Some(limit.saturating_sub(PAGES));
        let limited = self.of_line("memory.events", "oom").is_some_and(|times| times > 0)
            || self.number("memory.limit_in_bytes").is_some_and(at_limit);
        if limited { OutOfMemory::Limit } else { OutOfMemory::Machine }
    }

    /// Whether it has to be looked at for want of memory: a newer kernel kills all of it at once.
    pub fn is_to_be_watched(&self) -> bool {
        self.counts_memory() && self.find("memory.oom.group").is_none()
    }

    /// What all that was in it has taken so far, where that is counted.
    pub fn used(&self) -> Option<Used> {
        let nanos = || Some(self.number("cpuacct.usage")? / 1000);
        let cpu_us = self.of_line("cpu.stat", "usage_usec").or_else(nanos)?;
        let peak = self.number("memory.peak").or_else(|| self.number("memory.max_usage_in_bytes"))?;
        Some(Used { cpu_us, peak_kib: peak / 1024, whole: true })
    }

    /// Nothing is in it any more, but for what may be about to leave.
    pub fn remove(&self) {
        let is_busy = |directory: &&PathBuf| {
            let removed = remove(directory);
            removed.is_err_and(|error| error.kind() == io::ErrorKind::ResourceBusy)
        };
        for _ in 0..LEAVING {
            if self.directories.iter().filter(is_busy).count() == 0 {
                break;
            }
            thread::sleep(PAUSE);
        }
    }

    fn find(&self, file: &str) -> Option<PathBuf> {
        self.directories.iter().map(|directory| directory.join(file)).find(|path| path.exists())
    }

    fn number(&self, file: &str) -> Option<u64> {
        fs::read_to_string(self.find(file)?).ok()?.trim().parse().ok()
    }

    /// The number that is in the line of such a name.
    fn of_line(&self, file: &str, name: &str) -> Option<u64> {
        let text = fs::read_to_string(self.find(file)?).ok()?;
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
    }

    fn write(&self, file: &str, value: &str) -> io::Result<()> {
        let path = self.find(file).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        fs::write(path, value)
    }

    fn either(&self, told: &str, second: &str, first: &str, value: &str) -> io::Result<()> {
        let written = self.write(second, value);
        let written = match &written {
            Err(error) if error.kind() == io::ErrorKind::NotFound && first != second => {
                self.write(first, value)
            }
            _ => written,
        };
        written.map_err(|error| {
            let unbounded = if error.kind() == io::ErrorKind::NotFound {
                "its executor has no control group that does".to_owned()
            } else {
                error.to_string()
            };
            io::Error::other(format!("{told}: {unbounded}"))
        })
    }
}

/// Removes a group that nobody is in, with those that were made in it.
pub(super) fn remove(group: &Path) -> io::Result<()> {
    let entries = fs::read_dir(group)?.flatten();
    for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove(&entry.path())?;
    }
    fs::remove_dir(group)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(files: &[(&str, &str)]) -> (tempfile::TempDir, Group) {
        let directory = tempfile::tempdir().unwrap();
        files.iter().for_each(|(name, text)| fs::write(directory.path().join(name), text).unwrap());
        let group = Group::new(vec![directory.path().to_owned()]);
        (directory, group)
    }

    #[test]
    fn it_is_told_by_either_version_whose_memory_there_was_no_more_of() {
        let second =
            |oom, kill| format!("low 0\nhigh 0\nmax 9\noom {oom}\noom_kill {kill}\noom_group_kill 0\n");
        let table = [
            (second(0, 0), None),
            (second(0, 1), Some(OutOfMemory::Machine)),
            (second(1, 1), Some(OutOfMemory::Limit)),
        ];
        for (text, expected) in table {
            let (_directory, group) = group(&[("memory.events", &text)]);
            assert_eq!(group.out_of_memory(), expected, "{text}");
        }
        let peak_and_kills = [
            ("8000000", "0", None),
            ("8000000", "2", Some(OutOfMemory::Machine)),
            ("9999999", "1", Some(OutOfMemory::Limit)),
        ];
        for (peak, kills, expected) in peak_and_kills {
            let events = format!("oom_kill_disable 0\nunder_oom 0\noom_kill {kills}\n");
            let limit = ("memory.limit_in_bytes", "10000000\n");
            let (_directory, group) =
                group(&[("memory.oom_control", &events), limit, ("memory.max_usage_in_bytes", peak)]);
            assert_eq!(group.out_of_memory(), expected, "{peak} {kills}");
        }
    }

    #[test]
    fn what_cannot_be_bounded_is_said() {
        let limits = Limits { memory_kib: Some(6144), ..Limits::default() };
        let (directory, group) = group(&[("memory.max", "max"), ("pids.max", "max")]);
        group.make(Some(&limits)).unwrap();
        let of = |name| fs::read_to_string(directory.path().join(name)).unwrap();
        assert_eq!((of("memory.max"), of("pids.max")), ("6291456".to_owned(), "1024".to_owned()));
        let error = group.make(Some(&Limits { millicpus: Some(1500), ..limits })).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cpus cannot be bounded to 1.5: its executor has no control group that does"
        );
    }

    #[test]
    fn a_group_goes_with_what_was_made_in_it() {
        let (directory, group) = group(&[]);
        fs::create_dir_all(directory.path().join("a/b")).unwrap();
        fs::create_dir(directory.path().join("c")).unwrap();
        group.remove();
        assert!(!directory.path().exists());
    }

    #[test]
    fn what_it_has_taken_is_what_the_kernel_counted() {
        let second = [("cpu.stat", "usage_usec 3000000\nuser_usec 2000000\n"), ("memory.peak", "4096\n")];
        let first = [("cpuacct.usage", "3000000000\n"), ("memory.max_usage_in_bytes", "4096\n")];
        for files in [second, first] {
            let (_directory, group) = group(&files);
            assert_eq!(group.used(), Some(Used { cpu_us: 3_000_000, peak_kib: 4, whole: true }));
        }
        assert_eq!(Group::new(Vec::new()).used(), None);
    }
}
