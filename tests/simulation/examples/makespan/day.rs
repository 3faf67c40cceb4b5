//! What a seed stands for: tests with what they are predicted to take and what they take, how fast each slot is, and which
//! are lost when; and the least time in which that can be done.

use seagull_binpacker::{Item, Problem};
use seagull_domain::TestIndex;
use seagull_simulation::Random;

pub const SLOTS: usize = 100;
/// All tests together, as predicted.
const WORK_MS: f64 = 2.0 * 24.0 * 3600.0 * 1000.0;
/// What each bundle costs before its first test.
pub const BUNDLE_MS: u64 = 20_000;
const CAP_MS: u64 = 600_000;

/// How what happens differs from what is predicted.
pub struct Noise {
    pub name: &'static str,
    /// Standard deviation of the logarithm of actual over predicted.
    durations: f64,
    /// Slots are faster or slower by up to so much.
    speed: f64,
    /// So many of a hundred slots are three times as slow.
    slow: u64,
}

pub const NOISES: [Noise; 4] = [
    Noise { name: "S1", durations: 0.3, speed: 0.0, slow: 0 },
    Noise { name: "S2", durations: 0.6, speed: 0.0, slow: 0 },
    Noise { name: "S3", durations: 0.6, speed: 0.15, slow: 0 },
    Noise { name: "S4", durations: 0.6, speed: 0.15, slow: 3 },
];

pub struct Day {
    pub predicted_us: Vec<u64>,
    /// In milliseconds, on a slot of speed 1.
    pub actual_ms: Vec<f64>,
    pub speeds: Vec<f64>,
    /// When each slot is lost, if it is.
    pub deaths: Vec<Option<u64>>,
}

impl Day {
    pub fn new(durations: &[f64], tests: usize, noise: &Noise, lost: u32, seed: u64) -> Day {
        let mut random = Random::new(seed);
        let drawn: Vec<f64> = (0..tests).map(|_| durations[random.index(durations.len())]).collect();
        let scale = WORK_MS / drawn.iter().sum::<f64>();
        let predicted_ms: Vec<f64> = drawn.iter().map(|seconds| seconds * scale).collect();
        let sigma = noise.durations;
        let mut factor = || (sigma * normal(&mut random) - sigma * sigma / 2.0).exp();
        let actual_ms = predicted_ms.iter().map(|predicted| predicted * factor()).collect();
        let mut speeds: Vec<_> =
            (0..SLOTS).map(|_| 1.0 + noise.speed * (2.0 * unit(&mut random) - 1.0)).collect();
        for _ in 0..noise.slow {
            speeds[random.index(SLOTS)] = 1.0 / 3.0;
        }
        let mut deaths = vec![None; SLOTS];
        let last_ms = WORK_MS as u64 / SLOTS as u64;
        for _ in 0..lost as usize * SLOTS / 100 {
            let alive: Vec<_> = (0..SLOTS).filter(|slot| deaths[*slot].is_none()).collect();
            deaths[alive[random.index(alive.len())]] = Some(random.within(0..=last_ms));
        }
        let predicted_us = predicted_ms.iter().map(|ms| (ms * 1000.0) as u64).collect();
        Day { predicted_us, actual_ms, speeds, deaths }
    }

    /// As the packer has it, which knows what a bundle costs.
    pub fn bundles(&self) -> Vec<Vec<TestIndex>> {
        let items = (0..).zip(&self.predicted_us);
        let items = items.map(|(test, micros)| Item { test, micros: *micros, ..Item::default() }).collect();
        let problem =
            Problem { slots: Some(SLOTS as u32), fixed_ms: BUNDLE_MS, ..Problem::new(items, CAP_MS) };
        let plan = seagull_binpacker::pack(&problem).expect("a problem without relations");
        let tests = |bundle: seagull_binpacker::Bundle| bundle.tests.into_iter().map(TestIndex).collect();
        plan.bundles.into_iter().map(tests).collect()
    }

    /// The later of the longest test on the fastest slot, and the earliest time at which what the slots that live can do
    /// reaches the work, each test once.
    pub fn bound_ms(&self) -> u64 {
        let work: f64 = self.actual_ms.iter().sum();
        let longest = self.actual_ms.iter().copied().fold(0.0, f64::max);
        let fastest = self.speeds.iter().copied().fold(0.0, f64::max);
        let done = |at: f64| -> f64 {
            let until = self.deaths.iter().map(|death| death.map_or(at, |death| at.min(death as f64)));
            until.zip(&self.speeds).map(|(until, speed)| until * speed).sum()
        };
        let (mut early, mut late) = (0.0, 100.0 * work);
        while late - early > 1.0 {
            let middle = (early + late) / 2.0;
            *(if done(middle) < work { &mut early } else { &mut late }) = middle;
        }
        late.max(longest / fastest) as u64
    }
}

/// From 0, exclusive, to 1.
fn unit(random: &mut Random) -> f64 {
    const PARTS: u64 = 1 << 53;
    random.within(1..=PARTS) as f64 / PARTS as f64
}

/// Box and Muller 1958.
fn normal(random: &mut Random) -> f64 {
    let (radius, angle) = (unit(random), unit(random));
    (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}
