//! The process table, and killing a whole process tree so that no fork escapes.

#![expect(clippy::disallowed_methods, reason = "a shell: dying takes real time")]

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How often newly forked processes are looked for before a pass kills what it has frozen.
const FREEZE_ROUNDS: usize = 50;
/// Dead processes need a moment to become reapable.
const PAUSE: Duration = Duration::from_millis(1);

/// A process as the table shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process {
    pub pid: i32,
    pub parent: i32,
    pub session: i32,
    pub zombie: bool,
}

/// What was done to a tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Killed {
    pub pids: BTreeSet<i32>,
    /// Still there when patience ended: unkillable (waiting for a device, or another user's).
    pub surviving: u32,
}

/// Whose trees are killed, and how their dead are buried.
pub(crate) trait Tree {
    /// The processes whose trees are to go.
    fn roots(&self, table: &[Process]) -> Vec<i32>;
    /// Reaps what it may reap, without waiting; `true` when it is certain that nothing is left.
    fn reap(&mut self) -> bool;
}

/// Kills the tree: freezes all that is found, so that nothing forks away meanwhile, then kills it, and looks again
/// until nothing is left.
pub(crate) fn kill_tree(tree: &mut impl Tree, patience: Duration) -> Killed {
    let deadline = Instant::now() + patience;
    let mut killed = Killed::default();
    // Most trees end by themselves.
    if tree.reap() {
        return killed;
    }
    loop {
        let frozen = freeze(tree);
        for &pid in &frozen {
            send(pid, Signal::KILL);
        }
        killed.pids.extend(&frozen);
        if tree.reap() {
            return killed;
        }
        if Instant::now() >= deadline {
            let left = living(&processes(), &tree.roots(&processes()));
            killed.surviving = u32::try_from(left.len()).unwrap_or(u32::MAX);
            return killed;
        }
        thread::sleep(PAUSE);
    }
}

fn freeze(tree: &impl Tree) -> BTreeSet<i32> {
    let mut frozen = BTreeSet::new();
    for _ in 0..FREEZE_ROUNDS {
        let table = processes();
        let found = living(&table, &tree.roots(&table));
        let before = frozen.len();
        for pid in found {
            if frozen.insert(pid) {
                send(pid, Signal::STOP);
            }
        }
        if frozen.len() == before {
            break;
        }
    }
    frozen
}

/// A process that is gone already, or not ours to signal, is found again (or not) by the next look at the table.
fn send(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid).filter(|_| pid > 1) {
        let _ = kill_process(pid, signal);
    }
}

/// The roots and all their descendants that are not dead.
pub(crate) fn living(table: &[Process], roots: &[i32]) -> BTreeSet<i32> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for process in table {
        children.entry(process.parent).or_default().push(process.pid);
    }
    let mut found = BTreeSet::new();
    let mut next = roots.to_vec();
    while let Some(pid) = next.pop() {
        if found.insert(pid) {
            next.extend(children.get(&pid).into_iter().flatten());
        }
    }
    for process in table.iter().filter(|process| process.zombie) {
        found.remove(&process.pid);
    }
    found
}

/// All processes that can be seen. A process that ends while the table is read may be missing.
#[cfg(target_os = "linux")]
pub(crate) fn processes() -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid: i32| parse_stat(pid, &std::fs::read(format!("/proc/{pid}/stat")).ok()?))
        .collect()
}

/// `PID (NAME) STATE PPID PGRP SESSION ...`; the name is any bytes, parentheses and line ends too.
#[cfg(target_os = "linux")]
fn parse_stat(pid: i32, stat: &[u8]) -> Option<Process> {
    let name_end = stat.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(&stat[name_end + 1..]).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let zombie = matches!(fields.next()?, "Z" | "X");
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    Some(Process { pid, parent, session, zombie })
}

/// Best effort where there is no `/proc`; sessions are not known.
#[cfg(not(target_os = "linux"))]
pub(crate) fn processes() -> Vec<Process> {
    let output = std::process::Command::new("ps").args(["-axo", "pid=,ppid=,state="]).output();
    let Ok(output) = output else { return Vec::new() };
    let parse = |line: &str| {
        let mut fields = line.split_whitespace();
        let pid = fields.next()?.parse().ok()?;
        let parent = fields.next()?.parse().ok()?;
        let zombie = fields.next()?.starts_with('Z');
        Some(Process { pid, parent, session: 0, zombie })
    };
    String::from_utf8_lossy(&output.stdout).lines().filter_map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32, parent: i32) -> Process {
        Process { pid, parent, session: 1, zombie: false }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_name_cannot_forge_its_parent() {
        let stat = b"7 (a) Z 1 1\n) S 42 7 9 0 -1";
        let expected = Process { pid: 7, parent: 42, session: 9, zombie: false };
        assert_eq!(parse_stat(7, stat), Some(expected));
        assert_eq!(parse_stat(7, b"7 (a"), None);
        assert_eq!(parse_stat(7, b"7 (a) S"), None);
    }

    #[test]
    fn a_tree_is_its_roots_and_all_below_them() {
        let mut table = vec![process(10, 1), process(11, 10), process(12, 11), process(13, 1)];
        table.push(Process { zombie: true, ..process(14, 10) });
        assert_eq!(living(&table, &[10]), BTreeSet::from([10, 11, 12]));
        // A table read while parents change may hold a circle.
        assert_eq!(living(&[process(2, 3), process(3, 2)], &[2]), BTreeSet::from([2, 3]));
    }

    #[test]
    fn the_table_shows_this_process() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(processes().iter().any(|process| process.pid == own && !process.zombie));
    }
}
