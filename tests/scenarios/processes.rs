//! Processes that are killed and stopped.
#![expect(clippy::disallowed_methods, reason = "what stands still does so for a while")]

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use super::fleet::{Fleet, RUN, Settings, reach, until_lost};
use super::round::{GONE, Round, play};
use super::subject::Subject;
use crate::harness::{Finished, is, text};

/// So many losses of a test that chance cannot spend them.
pub fn losses(faults: u64) -> String {
    (faults + 1).to_string()
}

fn durable(run: &Finished) -> Vec<&Value> {
    run.events.iter().filter(|event| !is("test_started")(event)).collect()
}

#[test]
fn nothing_happens() {
    play("undisturbed", |round| {
        let fleet = Fleet::of(Subject::chosen());
        let run = fleet.run(&[]).finish();
        round.end(fleet, &run, "none");
    });
}

#[test]
fn executors_are_killed() {
    play("executors killed", |round| {
        let mut fleet = Fleet::of(Subject::chosen());
        let faults = round.faults(4, 20);
        let mut run = fleet.run(&["--test-losses", &losses(faults)]);
        for moment in round.kills(faults, fleet.subject.tests()) {
            reach(&mut run, moment);
            kill_executor(round, &mut fleet);
        }
        round.end(fleet, &run.finish(), &format!("{faults} SIGKILL"));
    });
}

pub fn kill_executor(round: &mut Round, fleet: &mut Fleet) {
    round.pause(50);
    let (executor, by_itself) = (round.chance.below(fleet.executors()), round.chance.below(2) == 0);
    fleet.replace(executor, by_itself);
}

pub fn kill_scheduler(round: &mut Round, fleet: &mut Fleet) {
    round.pause(50);
    fleet.kill_scheduler();
    round.pause(500);
    fleet.start_scheduler().unwrap();
}

#[test]
fn schedulers_are_killed() {
    play("scheduler killed", |round| {
        let mut fleet = Fleet::of(Subject::chosen());
        let faults = round.faults(3, 10);
        let mut run = fleet.run(&[]);
        run.until(is("run_started"));
        let watch = fleet.watch();
        for moment in round.kills(faults, fleet.subject.tests()) {
            reach(&mut run, moment);
            kill_scheduler(round, &mut fleet);
        }
        let (run, watched) = (run.finish(), watch.finish());
        // Executors went on meanwhile, and who watches missed nothing.
        assert!(run.all("executor_lost").is_empty());
        assert_eq!(durable(&run), durable(&watched));
        round.end(fleet, &run, &format!("{faults} SIGKILL"));
    });
}

#[test]
fn executors_and_schedulers_are_killed() {
    play("both killed", |round| {
        let mut fleet = Fleet::of(Subject::chosen());
        let faults = round.faults(4, 20);
        let mut run = fleet.run(&["--test-losses", &losses(faults)]);
        for moment in round.kills(faults, fleet.subject.tests()) {
            reach(&mut run, moment);
            match round.chance.below(2) {
                0 => kill_scheduler(round, &mut fleet),
                _ => kill_executor(round, &mut fleet),
            }
        }
        round.end(fleet, &run.finish(), &format!("{faults} SIGKILL"));
    });
}

#[test]
fn a_run_here_is_killed() {
    play("run on this machine killed", |round| {
        let subject = Subject::chosen();
        let faults = round.faults(2, 10);
        let losses = losses(faults);
        let framework: Vec<_> = subject.arguments.iter().map(String::as_str).collect();
        let options = [&["--run-id", RUN, "--test-losses", &losses, "--"][..], &framework].concat();
        for moment in round.kills(faults, subject.tests()) {
            let mut run = subject.suite.start(&options);
            reach(&mut run, moment);
            round.pause(50);
            run.kill();
            subject.suite.marked().all_gone_within(GONE);
        }
        let run = subject.suite.run(&options);
        subject.holds(&run);
        subject.suite.marked().all_gone_within(GONE);
        round.tell(&run, &format!("{faults} SIGKILL"));
    });
}

#[test]
fn executors_stand_still_for_longer_than_the_lease() {
    play("executors stopped", |round| {
        let fleet = Fleet::with(Subject::chosen(), Settings { lease: "3s", ..Settings::default() });
        let faults = round.faults(2, 8);
        let mut run = fleet.run(&["--test-losses", &losses(faults)]);
        for moment in round.moments(faults, fleet.subject.tests()) {
            reach(&mut run, moment);
            let executor = round.chance.below(fleet.executors());
            fleet.signal(executor, Signal::SIGSTOP);
            until_lost(&mut run, fleet.name(executor));
            fleet.signal(executor, Signal::SIGCONT);
        }
        round.end(fleet, &run.finish(), &format!("{faults} SIGSTOP"));
    });
}

#[test]
fn schedulers_stand_still_for_longer_than_the_lease() {
    play("scheduler stopped", |round| {
        let fleet = Fleet::with(Subject::chosen(), Settings { lease: "3s", ..Settings::default() });
        let faults = round.faults(1, 5);
        let mut run = fleet.run(&["--test-losses", &losses(faults)]);
        for moment in round.moments(faults, fleet.subject.tests()) {
            reach(&mut run, moment);
            fleet.signal_scheduler(Signal::SIGSTOP);
            std::thread::sleep(Duration::from_secs(5));
            fleet.signal_scheduler(Signal::SIGCONT);
        }
        let run = run.finish();
        assert!(run.all("executor_lost").is_empty(), "a pause of the scheduler is no silence of executors");
        round.end(fleet, &run, &format!("{faults} SIGSTOP"));
    });
}

/// A test that takes long enough to be killed, and then does not.
const ONCE: &str = "\
import os, time
def test_once():
    if not os.path.exists(os.environ['MEETING_PLACE'] + '/once'):
        open(os.environ['MEETING_PLACE'] + '/once', 'w').close()
        time.sleep(60)
";

#[test]
fn what_was_running_on_a_lost_executor_runs_elsewhere() {
    play("time to the retry", |round| {
        let mut subject = Subject::made();
        subject.add("test_once.py", ONCE, &[("test_once", "passed")]);
        let mut fleet = Fleet::of(subject);
        let mut run = fleet.run(&[]);
        let is_it = |event: &Value| is("test_started")(event) && event["test"] == "test_once.py::test_once";
        let started = run.until(is_it);
        let held = text(&started, "executor").to_owned();
        // Until there is nothing else to run.
        let others = fleet.subject.tests() - 1;
        while run.events.iter().filter(|event| is("verdict")(event)).count() < others {
            run.until(is("verdict"));
        }
        let executor = (0..fleet.executors()).find(|executor| fleet.name(*executor) == held).unwrap();
        let killed = Instant::now();
        fleet.replace(executor, false);
        let again = run.until(is_it);
        let waited = killed.elapsed();
        assert_ne!(text(&again, "executor"), held);
        round.end(fleet, &run.finish(), &format!("1 SIGKILL, retried after {:.1} s", waited.as_secs_f64()));
    });
}
