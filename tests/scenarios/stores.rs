//! Schedulers with stores of their results elsewhere, which go away and come back while processes are killed.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::fleet::{Fleet, RUN, Settings, reach};
use super::processes::{kill_executor, kill_scheduler, losses};
use super::round::play;
use super::subject::Subject;
use crate::harness::{Elasticsearch, Fault, Minio, Proxy, until};
use crate::stores::waiting;

/// A way to a server that is down while the switch says so.
fn way(server: &str, is_down: &Arc<AtomicBool>) -> Proxy {
    let is_down = is_down.clone();
    Proxy::new(server.parse().unwrap(), move |_| {
        if is_down.load(Ordering::SeqCst) { Fault::Status(503, "down".into()) } else { Fault::None }
    })
}

#[test]
fn executors_and_schedulers_are_killed_while_stores_come_and_go() {
    play("both killed, stores away", |round| {
        let (Some(index), Some(minio)) = (Elasticsearch::get(), Minio::get()) else { return };
        let is_down = Arc::new(AtomicBool::new(false));
        let ways = [way(&index.address().to_string(), &is_down), way(&minio.address, &is_down)];
        let store = minio.url(&format!("{}/ci", minio.bucket()), "root", Some(&ways[1].address.to_string()));
        let stores = ["--index", &index.url_at(ways[0].address), "--blobs", &store].map(str::to_owned);
        let settings = Settings { stores: stores.to_vec(), ..Settings::default() };
        let mut fleet = Fleet::with(Subject::made(), settings);
        let faults = round.faults(4, 20);
        let mut run = fleet.run(&["--test-losses", &losses(faults)]);
        for moment in round.moments(faults, fleet.subject.tests()) {
            reach(&mut run, moment);
            is_down.fetch_xor(true, Ordering::SeqCst);
            match round.chance.below(2) {
                0 => kill_scheduler(round, &mut fleet),
                _ => kill_executor(round, &mut fleet),
            }
        }
        // Whether they are there or not.
        let run = run.finish();
        is_down.store(false, Ordering::SeqCst);
        let kept = |path: &str| fleet.subject.suite.beside("scheduler").join(path);
        let entries = |path: &str| fs::read_dir(kept(path)).map_or(0, Iterator::count);
        until(|| kept(&format!("runs/{RUN}/stored")).exists());
        until(|| waiting(&kept("spool")) == 0 && entries(&format!("runs/{RUN}/logs")) == 0);
        let tests = fleet.subject.tests() as u64;
        until(|| index.count("timings") > 0);
        assert_eq!((index.count("runs"), index.count("results")), (1, tests), "each once");
        round.end(fleet, &run, &format!("{faults} SIGKILL, stores gone or back with each"));
    });
}
