//! A thousand histories.
#![expect(clippy::disallowed_methods, reason = "histories run on several threads")]

use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use seagull_simulation::{Census, Failure, history};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

#[test]
fn histories() {
    if let Some(seed) = number("SEAGULL_SIM_SEED") {
        let census = history(seed, None, true).unwrap_or_else(|failure| panic!("{failure}"));
        return say(&format!("seed {seed} ends well\n{census}"));
    }
    let histories = number("SEAGULL_SIM_HISTORIES").unwrap_or(1000);
    let (census, failures) = play(histories);
    say(&format!("{histories} histories\n{census}"));
    assert!(failures.is_empty(), "{}", explain(&failures, histories));
    let rare = census.rare(histories / 10);
    assert!(rare.is_empty(), "seen less often than in every tenth history: {rare:?}");
}

/// Plays the histories of so many seeds on all processors.
fn play(histories: u64) -> (Census, Vec<Failure>) {
    let next = AtomicU64::new(0);
    let total = Mutex::new((Census::default(), Vec::new()));
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= histories {
                        return;
                    }
                    let outcome = history(seed, None, false);
                    let mut total = total.lock().expect("no thread panics");
                    match outcome {
                        Ok(census) => total.0.add(&census),
                        Err(failure) => total.1.push(failure),
                    }
                }
            });
        }
    });
    let (census, mut failures) = total.into_inner().expect("no thread panics");
    failures.sort_by_key(|failure| failure.seed);
    (census, failures)
}

fn explain(failures: &[Failure], histories: u64) -> String {
    let shown: Vec<_> = failures.iter().take(50).map(ToString::to_string).collect();
    format!(
        "{} of {histories} histories went wrong:\n{}\nhint: SEAGULL_SIM_SEED={} cargo test -p seagull-simulation histories",
        failures.len(),
        shown.join("\n"),
        failures[0].seed
    )
}

/// To standard error past the capture of tests, so that the table is always seen.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
