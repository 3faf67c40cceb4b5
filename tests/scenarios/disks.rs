//! Disks that fill up.
#![expect(clippy::disallowed_methods, reason = "a disk is full for longer than the lease")]

use std::fs;
use std::time::Duration;

use super::fleet::{Fleet, RUN, Settings, reach};
use super::round::{GONE, play};
use super::subject::Subject;
use crate::harness::{Namespace, Place, Running, until};

const MOUNT: [&str; 1] = ["--mount"];
/// What a scheduler says when its disk is full, and when it is not any more.
const WAITS: &str = "until then nothing is acknowledged";
const AGAIN: &str = "there is room on the disk again";

/// A small disk beside the suite, which only those see who are in its place.
struct Disk {
    _namespace: Namespace,
    place: Place,
    path: String,
}

impl Disk {
    fn new(subject: &Subject, name: &str, size: &str) -> Option<Disk> {
        let path = subject.suite.beside(name);
        fs::create_dir(&path).unwrap();
        let path = path.to_str().unwrap().to_owned();
        let mount = format!("mount -t tmpfs -o size={size} none '{path}'");
        let namespace = Namespace::new(&subject.suite, &Place::default(), &MOUNT, &mount)?;
        let place = namespace.place(&MOUNT);
        Some(Disk { _namespace: namespace, place, path })
    }

    fn fill(&self) {
        self.place.shell(&format!("! cat /dev/zero >'{}/filler' 2>'/dev/null'", self.path));
    }

    fn free(&self) {
        self.place.shell(&format!("rm '{}/filler'", self.path));
    }
}

#[track_caller]
fn says_that_it_is_full(said: &str) {
    let full = ["disk is full", "No space left on device", "disk I/O error"];
    assert!(full.iter().any(|words| said.contains(words)) && said.contains("hint: "), "{said}");
}

#[test]
fn the_schedulers_disk_fills_up() {
    play("scheduler's disk full", |round| {
        let subject = Subject::made();
        let Some(disk) = Disk::new(&subject, "scheduler", "32m") else { return };
        // The token is there too.
        let (place, executors) = (disk.place.clone(), vec![disk.place.clone(); 3]);
        let mut fleet =
            Fleet::with(subject, Settings { lease: "3s", place, executors, ..Settings::default() });
        let faults = round.faults(1, 4);
        let mut run = fleet.run(&[]);
        let times = |said: &str, words: &str| said.matches(words).count();
        for moment in round.moments(faults, fleet.subject.tests()) {
            reach(&mut run, moment);
            let before = times(&fleet.scheduler_says(), AGAIN);
            disk.fill();
            until(|| times(&fleet.scheduler_says(), WAITS) == before + 1);
            says_that_it_is_full(&fleet.scheduler_says());
            until(|| run.stderr().contains("the scheduler says: its disk is full"));
            let (code, said) = fleet.asks(&["explain", RUN]);
            assert!(code == 0 && said.contains("run one of suite: unfinished"), "{said}");
            let (code, said) = fleet.asks(&["executor", "drain", "nobody"]);
            assert!(code == 1 && said.contains("its disk is full"), "{said}");
            // Longer than the lease.
            std::thread::sleep(Duration::from_secs(5));
            if round.chance.below(2) == 0 {
                disk.free();
                until(|| times(&fleet.scheduler_says(), AGAIN) == before + 1);
                continue;
            }
            fleet.kill_scheduler();
            // One that comes too early says so and ends, or finds a little room that is left.
            if let Err(said) = fleet.start_scheduler() {
                says_that_it_is_full(&said);
            }
            fleet.kill_scheduler();
            disk.free();
            fleet.start_scheduler().unwrap();
        }
        let run = run.finish();
        assert!(run.all("executor_lost").is_empty());
        round.end(fleet, &run, &format!("{faults} times full"));
    });
}

#[test]
fn the_disk_of_a_run_here_fills_up() {
    play("disk full of a run here", |round| {
        let subject = Subject::made();
        let Some(disk) = Disk::new(&subject, "state", "32m") else { return };
        let start = || {
            let options = ["run", "--state", &disk.path, "--run-id", RUN, "--output", "json", "--slots", "2"];
            let command = disk.place.command(subject.suite.seagull(&options));
            Running::start(command, &subject.suite.beside("run-stderr"))
        };
        let faults = round.faults(1, 4);
        for moment in round.moments(faults, subject.tests()) {
            let mut run = start();
            reach(&mut run, moment);
            disk.fill();
            let (_, code, said) = run.end();
            assert_eq!(code, 1, "{said}");
            says_that_it_is_full(&said);
            assert!(said.contains(&format!("--run-id {RUN}")), "{said}");
            subject.suite.marked().all_gone_within(GONE);
            disk.free();
        }
        let run = start().finish();
        subject.holds(&run);
        subject.suite.marked().all_gone_within(GONE);
        round.tell(&run, &format!("{faults} times full"));
    });
}

#[test]
fn an_executor_has_no_room_for_the_files() {
    play("executor's disk full", |round| {
        let subject = Subject::made();
        subject.suite.write("large", &"x".repeat(4 << 20));
        let Some(disk) = Disk::new(&subject, "e-2", "1m") else { return };
        let executors = vec![disk.place.clone(), Place::default(), Place::default()];
        let fleet = Fleet::with(subject, Settings { executors, ..Settings::default() });
        let run = fleet.run(&[]).finish();
        let by_it = run.all("test_finished").into_iter().filter(|event| event["executor"] == "e-2");
        assert_eq!(by_it.count(), 0);
        let given = run.all("attempt_assigned").into_iter().filter(|event| event["executor"] == "e-2");
        assert!(given.count() > 0, "{}", run.stderr);
        round.end(fleet, &run, "always full");
    });
}
