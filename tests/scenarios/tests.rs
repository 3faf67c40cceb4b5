//! Tests that do harm: to their executor, to their machine's memory, to those who wait for them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::fleet::{Fleet, RUN, Settings};
use super::round::{GONE, play};
use super::subject::Subject;
use crate::harness::{Place, is, skip, text};

/// Kills its executor, the parent of the process that watches over its worker.
const KILLER: &str = "\
import os, signal, time
def parent(pid): return int(open(f'/proc/{pid}/stat').read().rsplit(')', 1)[1].split()[1])
def test_kills():
    time.sleep(0.5)  # What was before it is told meanwhile.
    os.kill(parent(os.getppid()), signal.SIGKILL)
";

#[test]
fn a_test_kills_its_executor() {
    play("a test kills its executor", |round| {
        let mut subject = Subject::made();
        subject.add("test_killer.py", KILLER, &[("test_kills", "failed")]);
        let mut fleet = Fleet::of(subject);
        let mut run = fleet.run(&[]);
        while let Some(event) = run.event() {
            if is("executor_lost")(&event) {
                fleet.tend();
            }
        }
        fleet.tend();
        let run = run.finish();
        assert_eq!(text(run.result("test_killer.py::test_kills"), "cause"), "poison");
        assert_eq!(run.all("executor_lost").len(), 3);
        round.end(fleet, &run, "1 such test");
    });
}

#[test]
fn a_test_kills_the_run_that_it_is_part_of() {
    play("a test kills the run here", |round| {
        let mut subject = Subject::made();
        subject.add("test_killer.py", KILLER, &[("test_kills", "not_executed: executor lost")]);
        for _ in 0..3 {
            let (_, code, stderr) = subject.suite.start(&["--run-id", RUN]).end();
            assert_eq!(code, 137, "{stderr}");
            subject.suite.marked().all_gone_within(GONE);
        }
        // Its losses are spent: there is one machine, and nobody saw how it was lost.
        let run = subject.suite.run(&["--run-id", RUN]);
        subject.holds(&run);
        round.tell(&run, "1 such test, resumed 3 times");
    });
}

const HANGS: &str = "\
import threading
def test_hangs(): threading.Event().wait()
";

#[test]
fn a_test_hangs() {
    play("a test hangs", |round| {
        let mut subject = Subject::made();
        subject.add("test_hangs.py", HANGS, &[("test_hangs", "failed")]);
        let fleet = Fleet::of(subject);
        let run = fleet.run(&["--test-limit", "8s"]).finish();
        let result = run.result("test_hangs.py::test_hangs");
        assert_eq!(text(result, "cause"), "timed out");
        assert!(text(result, "message").contains("test-limit"), "{result}");
        round.end(fleet, &run, "1 such test");
    });
}

/// Takes more memory than there is.
const HUNGRY: &str = "\
def test_hungry():
    hoard = []
    while sum(map(len, hoard)) < 4 << 30:
        hoard.append(bytearray(b'x') * (16 << 20))
";

/// A bound on the memory of executors and all that they start, of either version of cgroups.
struct Bound(PathBuf);

impl Bound {
    const BYTES: &str = "800000000";

    /// None, which is said, where nobody can set one.
    fn new() -> Option<Bound> {
        let name = format!("seagull-test-{}", std::process::id());
        let (first, second) = (Path::new("/sys/fs/cgroup/memory"), Path::new("/sys/fs/cgroup"));
        let (directory, settings) = if first.join("cgroup.procs").exists() {
            (first.join(name), [("memory.limit_in_bytes", Bound::BYTES), ("memory.swappiness", "0")])
        } else {
            (second.join(name), [("memory.max", Bound::BYTES), ("memory.swap.max", "0")])
        };
        let made = fs::create_dir(&directory).map(|()| Bound(directory.clone()));
        let set = |(name, value): (&str, &str)| fs::write(directory.join(name), value);
        let bound = made.and_then(|bound| settings.into_iter().try_for_each(set).map(|()| bound));
        bound.map_err(|error| skip(&format!("no bound on memory: {}: {error}", directory.display()))).ok()
    }

    fn place(&self) -> Place {
        let enter = format!("echo $$ >'{}/cgroup.procs' && exec \"$0\" \"$@\"", self.0.display());
        Place::of(&["sh", "-c", &enter])
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        // Whoever is in it has ended, but for a case that failed.
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn a_test_takes_more_memory_than_its_machine_has() {
    play("out of memory", |round| {
        let Some(bound) = Bound::new() else { return };
        let mut subject = Subject::made();
        subject.add("test_hungry.py", HUNGRY, &[("test_hungry", "not_executed: machine out of memory")]);
        let executors = vec![bound.place(); 2];
        let fleet = Fleet::with(subject, Settings { executors, ..Settings::default() });
        let run = fleet.run(&[]).finish();
        let by: BTreeSet<_> = run.all("test_finished").iter().map(|event| text(event, "executor")).collect();
        assert_eq!(by.len(), 2, "both live");
        round.end(fleet, &run, "1 such test");
    });
}
