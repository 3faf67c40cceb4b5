//! What processes that are about to be killed are: their command lines, where they listen, and which test ran when they began.
//!
//! A process inherits the variables of whoever started it, and pytest keeps the present test and its phase in one. So this is
//! known of whatever a test has started as a program, however often it has forked away since; not of a fork of the worker.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;

use crate::sandbox::Left;

/// What is told of; the rest is only counted.
const TOLD: usize = 20;
const PORTS: usize = 20;
const COMMAND_BYTES: usize = 400;
/// The longest name of a test that is told, for part of one names none.
const TEST_BYTES: usize = 4096;
/// What is read of a file of the kernel's.
const FILE_BYTES: u64 = 4 << 20;
const CURRENT_TEST: &[u8] = b"PYTEST_CURRENT_TEST=";
const FORK: &str = "(a fork of its worker)";
/// The state of a socket that listens, as the kernel writes it.
const LISTENS: &str = "0A";

/// What these processes are, which are below one that was started by this command.
pub(super) fn look(pids: &BTreeSet<i32>, command: &[OsString]) -> Vec<Left> {
    let mut all: BTreeMap<[String; 2], Left> = BTreeMap::new();
    for pid in pids {
        let what = [during(*pid), command_line(*pid, command)];
        let what = if all.len() < TOLD || all.contains_key(&what) { what } else { Default::default() };
        let [during, command] = what.clone();
        let left = all.entry(what).or_insert_with(|| Left { command, during, ..Left::default() });
        left.processes += 1;
        left.ports.extend(ports(*pid));
        left.ports.sort_unstable();
        left.ports.dedup();
        left.ports.truncate(PORTS);
    }
    all.into_values().collect()
}

fn command_line(pid: i32, worker: &[OsString]) -> String {
    let line = read(pid, "cmdline");
    let words: Vec<&[u8]> = line.strip_suffix(b"\0").unwrap_or(&line).split(|byte| *byte == 0).collect();
    // What is called python may be a script that has become another program.
    let arguments = worker.iter().map(|word| word.as_bytes()).skip(1);
    if words.len() > 1 && words.iter().copied().skip(1).eq(arguments) {
        return FORK.to_owned();
    }
    let line = words.join(&b' ');
    String::from_utf8_lossy(&line[..line.len().min(COMMAND_BYTES)]).trim().to_owned()
}

fn during(pid: i32) -> String {
    let variables = read(pid, "environ");
    let test = variables.split(|byte| *byte == 0).find_map(|variable| variable.strip_prefix(CURRENT_TEST));
    let test = test.filter(|test| test.len() <= TEST_BYTES);
    test.map(|test| String::from_utf8_lossy(test).into_owned()).unwrap_or_default()
}

fn ports(pid: i32) -> BTreeSet<u16> {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let links = descriptors.filter_map(|entry| fs::read_link(entry.path()).ok());
    let sockets: BTreeSet<String> = links
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    if sockets.is_empty() {
        return BTreeSet::new();
    }
    let tables = ["net/tcp", "net/tcp6"].map(|table| read(pid, table));
    tables.iter().flat_map(|table| listening(&String::from_utf8_lossy(table), &sockets)).collect()
}

/// The ports of those sockets that listen, by their inodes: `SLOT: ADDRESS:PORT ADDRESS:PORT STATE 5 WORDS INODE`.
fn listening(table: &str, sockets: &BTreeSet<String>) -> BTreeSet<u16> {
    let port = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let is_one = *words.get(3)? == LISTENS && sockets.contains(*words.get(9)?);
        let (_, port) = words[1].rsplit_once(':').filter(|_| is_one)?;
        u16::from_str_radix(port, 16).ok()
    };
    table.lines().filter_map(port).collect()
}

/// Nothing of a process that is gone, or where the system has no such files.
fn read(pid: i32, name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(format!("/proc/{pid}/{name}")) {
        let _ = file.take(FILE_BYTES).read_to_end(&mut bytes);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_says_who_listens() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 77 1 0 100 0 0 10 0\n\
            1: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 78 1 0 100 0 0 10 0\n\
            2: 0100007F:1F92 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 79 1 0 100 0 0 10 0\n";
        let sockets = ["77", "79"].map(str::to_owned).into();
        assert_eq!(listening(table, &sockets), BTreeSet::from([8080]));
        assert_eq!(listening("", &sockets), BTreeSet::new());
    }

    #[test]
    fn containers_tell_as_much_of_each() {
        let first = include_str!("../docker/first.py");
        assert!(first.contains(&format!("\nCOMMAND_BYTES, PORTS = {COMMAND_BYTES}, {PORTS}\n")));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_is_known_by_its_command_line_and_where_it_listens() {
        let own = i32::try_from(std::process::id()).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(ports(own).contains(&listener.local_addr().unwrap().port()));
        let program = std::env::args_os().next().unwrap();
        assert!(command_line(own, &[]).starts_with(&*program.to_string_lossy()));
        assert_eq!(command_line(i32::MAX, &[]), "");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_fork_of_the_worker_has_its_arguments_whatever_it_is_called() {
        let own = std::env::args_os().skip(1);
        let worker: Vec<OsString> = [OsString::from("python3")].into_iter().chain(own).collect();
        let pid = i32::try_from(std::process::id()).unwrap();
        assert_eq!(command_line(pid, &worker) == FORK, worker.len() > 1);
        let other: Vec<OsString> = worker.into_iter().chain(["more".into()]).collect();
        assert_ne!(command_line(pid, &other), FORK);
    }
}
