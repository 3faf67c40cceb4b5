//! Schedulers with stores of their results elsewhere, which go away and come back while processes are killed; and any other
//! scenario with them, where SEAGULL_STORES is set.
#![expect(clippy::disallowed_methods, reason = "a case and its proxies share what passes")]

use std::process::Command;
use std::sync::{Arc, Mutex};

use super::fleet::{Fleet, RUN, Settings, reach};
use super::processes::{kill_executor, kill_scheduler, losses};
use super::round::play;
use super::subject::Subject;
use crate::harness::{Elasticsearch, Fault, Minio, Place, Proxy, Running, Suite, until};

/// What is left to go to the stores of a scheduler whose state directory is the first argument, of the run that is the other.
const LEFT: &str = "{ ls \"$1/spool\" | grep -F + ; ls \"$1/runs/$2/logs\" ; } 2>'/dev/null' | wc -l";
/// Lets those in a network of their own reach a socket of the file system as a port, which it prints.
const RELAY: &str = "
import asyncio, sys
async def pipe(source, sink):
    try:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    finally:
        sink.close()
async def serve(source, sink):
    theirs, ours = await asyncio.open_unix_connection(sys.argv[1])
    await asyncio.gather(pipe(source, ours), pipe(theirs, sink), return_exceptions=True)
async def main():
    server = await asyncio.start_server(serve, '127.0.0.1', 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
";

/// How a server is to those who ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Open,
    /// It says that it is down.
    Refusing,
    /// Nothing passes, and nobody is told.
    Cut,
}

/// An index and a store, and ways to them.
pub struct Stores {
    index: Elasticsearch,
    minio: Minio,
    bucket: String,
    ways: [Proxy; 2],
    is: Arc<Mutex<Way>>,
}

impl Stores {
    /// None where there can be no servers, which is said.
    fn get() -> Option<Stores> {
        let (index, minio) = (Elasticsearch::get()?, Minio::get()?);
        let is = Arc::new(Mutex::new(Way::Open));
        let servers = [index.address(), minio.address.parse().unwrap()];
        let ways = servers.map(|server| {
            let of = is.clone();
            Proxy::new(server, move |_| match now(&of) {
                Way::Open => Fault::None,
                Way::Refusing => Fault::Status(503, "down".into()),
                Way::Cut => {
                    until(|| now(&of) != Way::Cut);
                    Fault::Dropped
                }
            })
        });
        let bucket = minio.bucket();
        Some(Stores { index, minio, bucket, ways, is })
    }

    /// Where SEAGULL_STORES is set, any scenario has them.
    pub fn chosen() -> Option<Stores> {
        std::env::var_os("SEAGULL_STORES")?;
        Some(Stores::get().expect("SEAGULL_STORES is set where there can be servers"))
    }

    /// What a scheduler is told of them.
    pub fn options(&self) -> Vec<String> {
        self.options_at(self.ways.each_ref().map(|way| way.address.port()))
    }

    fn options_at(&self, [index, store]: [u16; 2]) -> Vec<String> {
        let place = format!("{}/ci", self.bucket);
        let store = self.minio.url(&place, "root", Some(&format!("127.0.0.1:{store}")));
        let index = self.index.url_at(([127, 0, 0, 1], index).into());
        ["--index", &index, "--blobs", &store].map(str::to_owned).to_vec()
    }

    /// The same in a place with a network of its own; and what has to run meanwhile.
    pub fn options_in(&self, suite: &Suite, place: &Place) -> (Vec<String>, [Running; 2]) {
        let mut ports = [0; 2];
        let relays = [0, 1].map(|n| {
            let socket = suite.beside(&format!("way-{n}"));
            self.ways[n].listen_at(&socket);
            let mut relay = Command::new("python3");
            relay.args(["-c", RELAY]).arg(&socket);
            let mut relay = Running::start(place.command(relay), &suite.beside(&format!("way-{n}-stderr")));
            ports[n] = relay.line().unwrap_or_else(|| panic!("{}", relay.stderr())).parse().unwrap();
            relay
        });
        (self.options_at(ports), relays)
    }

    fn set(&self, way: Way) {
        *self.is.lock().unwrap() = way;
    }

    /// Returns when they have all of the run, each result once.
    pub fn have(&self, subject: &Subject, place: &Place) {
        let state = subject.suite.beside("scheduler");
        let nothing_is_left = || {
            let mut left = Command::new("sh");
            left.args(["-c", LEFT, "sh"]).arg(&state).arg(RUN);
            let left = place.command(left).output().unwrap();
            String::from_utf8_lossy(&left.stdout).trim() == "0"
        };
        let stream = || {
            let path = format!("{}/ci/streams/{RUN}.jsonl.zst", self.bucket);
            self.minio.has(&path)
        };
        until(|| stream() && nothing_is_left());
        until(|| self.index.count("timings") > 0);
        let tests = subject.tests() as u64;
        assert_eq!((self.index.count("runs"), self.index.count("results")), (1, tests), "each once");
    }
}

fn now(is: &Mutex<Way>) -> Way {
    *is.lock().unwrap()
}

#[test]
fn executors_and_schedulers_are_killed_while_stores_come_and_go() {
    play("both killed, stores away", |round| {
        let Some(stores) = Stores::get() else { return };
        let settings = Settings { stores: Some(stores.into()), ..Settings::default() };
        let mut fleet = Fleet::with(Subject::made(), settings);
        let stores = fleet.stores().unwrap();
        let faults = round.faults(4, 20);
        let mut run = fleet.run(&["--test-losses", &losses(faults)]);
        for (number, moment) in (0..).zip(round.moments(faults, fleet.subject.tests())) {
            reach(&mut run, moment);
            stores.set(match (number % 2, round.chance.below(2)) {
                (1, _) => Way::Open,
                (_, 0) => Way::Refusing,
                (_, _) => Way::Cut,
            });
            match round.chance.below(2) {
                0 => kill_scheduler(round, &mut fleet),
                _ => kill_executor(round, &mut fleet),
            }
        }
        // Whether they are there or not.
        let run = run.finish();
        stores.set(Way::Open);
        round.end(fleet, &run, &format!("{faults} SIGKILL, stores gone or back with each"));
    });
}
