//! More than a thousand histories, or as many as there is time for.
#![expect(clippy::disallowed_methods, reason = "histories run on several threads, for a time")]

use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use seagull_simulation::{Census, Failure, Innocents, TABLES, history, large, mortal};

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

#[test]
fn histories() {
    if let Some(seed) = number("SEAGULL_SIM_SEED") {
        let census = history(seed, None, true).unwrap_or_else(|failure| panic!("{failure}"));
        return say(&format!("seed {seed} ends well\n{census}"));
    }
    let played = match number("SEAGULL_SIM_MINUTES") {
        Some(minutes) => {
            let from = number("SEAGULL_SIM_START").unwrap_or_else(seed_of_the_moment);
            let until = Instant::now() + Duration::from_secs(60 * minutes);
            say(&format!("from seed {from} for {minutes} min"));
            play(from, || Instant::now() < until)
        }
        None => {
            let (from, count) = (number("SEAGULL_SIM_START").unwrap_or(0), number("SEAGULL_SIM_HISTORIES"));
            let (started, count) = (AtomicU64::new(0), count.unwrap_or(MANY));
            play(from, || started.fetch_add(1, Ordering::Relaxed) < count)
        }
    };
    say(&format!("{}\n{played}", played.census));
    assert!(played.failures.is_empty(), "{} histories went wrong, as said above", played.failures.len());
    let rare = played.census.rare((played.histories / 10).min(LEAST));
    assert!(rare.is_empty(), "seen too seldom: {rare:?}");
    covers(&played);
}

/// So many histories, and of each kind so many in them: more than a thousand, for draws that shift are no fault.
const MANY: u64 = 1250;
const LEAST: u64 = 100;
/// Histories from which on a pair that was not reached is no chance.
const ENOUGH: u64 = 1000;

/// 10,000 executors: `SEAGULL_SIM_EXECUTORS=10000 SEAGULL_SIM_TESTS=100000`.
#[test]
fn a_large_fleet() {
    let number = |name, otherwise| number(name).map_or(otherwise, |number| number as usize);
    let (executors, tests) = (number("SEAGULL_SIM_EXECUTORS", 300), number("SEAGULL_SIM_TESTS", 4000));
    let begun = Instant::now();
    let census = large(7, executors, tests).unwrap_or_else(|failure| panic!("{failure}"));
    let took = begun.elapsed().as_secs_f64();
    say(&format!("{executors} executors, {tests} tests: {} steps of cores in {took:.1} s", census.steps));
}

/// By the rule of what is condemned: at most one in a hundred that was in flight when an executor was lost by chance. Three
/// standard deviations more are chance.
#[test]
fn innocents_are_condemned_seldom() {
    let mut innocents = Innocents::default();
    for seed in 0..200 {
        let census = mortal(seed, None).unwrap_or_else(|failure| panic!("{failure}"));
        innocents.add(census.innocents);
    }
    let Innocents { suspects, condemned } = innocents;
    say(&format!("{condemned} of {suspects} innocent suspects were condemned"));
    let expected = suspects as f64 / 100.0;
    assert!(suspects >= 1000 && condemned as f64 <= expected + 3.0 * expected.sqrt(), "{innocents:?}");
}

/// What events meet in the scheduler's core: every pair, but for those that are listed with a reason.
fn covers(played: &Played) {
    let judged = TABLES.iter().map(|table| table.judge(&played.census.pairs));
    let (gaps, mistakes): (Vec<_>, Vec<_>) = judged.unzip();
    let (gaps, mistakes) = (gaps.concat(), mistakes.concat());
    say(&format!("{} pairs of a state and an event were reached", played.census.pairs.len()));
    assert!(mistakes.is_empty(), "listed as impossible, and reached: {mistakes:#?}");
    let seldom = played.census.pairs.iter().filter(|(_, count)| **count < 10);
    say(&format!("seldom reached: {:?}", seldom.collect::<Vec<_>>()));
    assert!(gaps.is_empty() || played.histories < ENOUGH, "never reached, and nobody says why: {gaps:#?}");
}

/// One that no other night begins with.
fn seed_of_the_moment() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    since.as_secs() * 1_000_000
}

/// What histories came to.
#[derive(Default)]
struct Played {
    histories: u64,
    census: Census,
    failures: Vec<Failure>,
    took: Duration,
}

impl std::fmt::Display for Played {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (steps, seconds) = (self.census.steps, self.took.as_secs_f64());
        let a_second = steps as f64 / seconds.max(0.001);
        write!(
            f,
            "{} histories in {seconds:.1} s: {steps} steps of cores, {a_second:.0} a second",
            self.histories
        )
    }
}

/// Plays the histories of seeds from one on, on all processors, for as long as another may begin.
fn play(from: u64, goes_on: impl Fn() -> bool + Sync) -> Played {
    let next = AtomicU64::new(from);
    let (begun, total) = (Instant::now(), Mutex::new(Played::default()));
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while goes_on() {
                    let outcome = history(next.fetch_add(1, Ordering::Relaxed), None, false);
                    let mut total = total.lock().expect("no thread panics");
                    total.histories += 1;
                    match outcome {
                        Ok(census) => total.census.add(&census),
                        Err(failure) => {
                            say(&format!("{failure}\n{}", replay(failure.seed)));
                            total.failures.push(failure);
                        }
                    }
                }
            });
        }
    });
    let played = total.into_inner().expect("no thread panics");
    Played { took: begun.elapsed(), ..played }
}

fn replay(seed: u64) -> String {
    format!("hint: SEAGULL_SIM_SEED={seed} cargo test --locked --workspace --test histories histories")
}

/// To standard error past the capture of tests, so that the table is always seen.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
