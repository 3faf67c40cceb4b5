//! How long a run takes over the least that is possible: the production cores of the scheduler and of a hundred executors
//! of one slot each, in virtual time, without faults of the network. `benches/makespan.py` records what it says.
//!
//! Reads durations from standard input, in seconds, one a line: those of a suite. For each noise and share of executors
//! lost it prints a JSON object, with the makespan over its bound for each seed.
#![expect(clippy::disallowed_methods, reason = "histories run on several threads")]

mod day;
mod fleet;
mod machine;

use std::io::Read;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use day::{Day, NOISES};
use fleet::{Fleet, Happened};

/// Of executors, how many in a hundred are lost.
const LOST: [u32; 4] = [0, 1, 5, 20];

fn main() {
    let numbers = std::env::args().skip(1).map(|text| text.parse().expect("a number"));
    let [tests, seeds] =
        <[u64; 2]>::try_from(numbers.collect::<Vec<_>>()).expect("usage: makespan TESTS SEEDS");
    let durations = durations();
    let cells: Vec<_> = NOISES.iter().flat_map(|noise| LOST.map(|lost| (noise, lost))).collect();
    let histories: Vec<_> = cells.iter().flat_map(|cell| (0..seeds).map(move |seed| (*cell, seed))).collect();
    let play = |((noise, lost), seed): &((&_, u32), u64)| {
        Fleet::new(Day::new(&durations, tests as usize, noise, *lost, *seed)).play()
    };
    let happened = each(&histories, play);
    for ((noise, lost), happened) in cells.iter().zip(happened.chunks(seeds as usize)) {
        let of = |value: fn(&Happened) -> f64| happened.iter().map(value).collect::<Vec<_>>();
        let object = serde_json::json!({
            "noise": noise.name,
            "lost": lost,
            "ratios": of(|of| of.makespan_ms as f64 / of.bound_ms as f64),
            "makespan": of(|of| of.makespan_ms as f64 / 1e3),
            "attempts": of(|of| of.attempts.into()),
            "moves": of(|of| of.moves.into()),
            "copies": of(|of| of.copies.into()),
        });
        println!("{object}");
    }
}

fn durations() -> Vec<f64> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).expect("durations on standard input");
    text.lines().map(|line| line.parse().expect("seconds")).collect()
}

/// Does it for each, on all processors.
fn each<T: Sync, U: Send>(of: &[T], what: impl Fn(&T) -> U + Sync) -> Vec<U> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(each) = of.get(place) else { return };
                    let outcome = what(each);
                    done.lock().expect("no thread panics").push((place, outcome));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no thread panics");
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, outcome)| outcome).collect()
}
