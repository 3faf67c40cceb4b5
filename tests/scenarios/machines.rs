//! Networks that are cut, and clocks that jump.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::fleet::{Fleet, Settings, reach, until_lost};
use super::round::play;
use super::stores::Stores;
use super::subject::Subject;
use crate::harness::{Namespace, Place, is, skip};

const NET: [&str; 1] = ["--net"];

#[test]
fn the_network_is_cut() {
    play("network cut", |round| {
        let subject = Subject::chosen();
        let up = "ip link set lo up";
        let Some(near) = Namespace::new(&subject.suite, &Place::default(), &NET, up) else { return };
        let here = near.place(&NET);
        let Some(far) = Namespace::new(&subject.suite, &here, &NET, up) else { return };
        let there = far.place(&NET);
        here.shell(&format!("ip link add near0 type veth peer name far0 netns {}", far.id()));
        here.shell("ip addr add 10.177.0.1/24 dev near0 && ip link set near0 up");
        there.shell("ip addr add 10.177.0.2/24 dev far0 && ip link set far0 up");

        let stores = Stores::chosen().map(Arc::new);
        let (store_options, _relays) =
            stores.as_ref().map(|stores| stores.options_in(&subject.suite, &here)).unzip();
        let executors = vec![here.clone(), there.clone(), there];
        let settings = Settings {
            lease: "3s",
            address: "10.177.0.1",
            place: here.clone(),
            executors,
            stores,
            store_options: store_options.unwrap_or_default(),
        };
        let fleet = Fleet::with(subject, settings);
        let faults = round.faults(1, 5);
        let mut run = fleet.run(&["--test-losses", &(faults + 1).to_string()]);
        for moment in round.moments(faults, fleet.subject.tests()) {
            reach(&mut run, moment);
            here.shell("ip link set near0 down");
            until_lost(&mut run, fleet.name(1));
            round.pause(2000);
            here.shell("ip link set near0 up");
        }
        let run = run.finish();
        assert!(!run.all("executor_lost").is_empty());
        round.end(fleet, &run, &format!("{faults} cuts"));
    });
}

/// Where Debian's and Ubuntu's package has the library.
const LIBRARIES: [&str; 2] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
];

#[test]
fn the_clock_jumps() {
    play("clock jumps", |round| {
        let Some(library) = LIBRARIES.into_iter().find(|library| Path::new(library).exists()) else {
            return skip("no clock jumps: libfaketime is not installed");
        };
        let subject = Subject::chosen();
        // Python cannot sleep with the library.
        subject.suite.write("seagull.toml", "[artifact]\nroot = '.'\n[env]\nLD_PRELOAD = ''\n");
        let clock = subject.suite.beside("clock");
        let set = |hours: i64| fs::write(&clock, format!("{hours:+}h\n")).unwrap();
        set(0);
        let variables = [
            format!("LD_PRELOAD={library}"),
            format!("FAKETIME_TIMESTAMP_FILE={}", clock.display()),
            "FAKETIME_NO_CACHE=1".to_owned(),
            "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
        ];
        let words: Vec<_> = ["env"].into_iter().chain(variables.iter().map(String::as_str)).collect();
        let place = Place::of(&words);
        let executors = vec![place.clone(), place.clone(), Place::default()];
        let fleet = Fleet::with(subject, Settings { place, executors, ..Settings::default() });
        let faults = round.faults(3, 10);
        let mut run = fleet.run(&[]);
        for moment in round.moments(faults, fleet.subject.tests()) {
            reach(&mut run, moment);
            set(round.chance.below(200) as i64 - 100);
        }
        let run = run.finish();
        assert!(!run.events.iter().any(is("executor_lost")));
        round.end(fleet, &run, &format!("{faults} jumps"));
    });
}
