//! A small fleet that loses executors all the time, at one rate or another, and a run of long tests that have nothing to do
//! with that.

use seagull_domain::Outcome;

use crate::random::Random;
use crate::scenario::{Discovery, Does, Fault, Scenario, Script};

/// For so long executors are lost.
const FOR_MS: u64 = 1_200_000;
/// More losses of a run than there are.
const MANY: u32 = 10_000;

impl Scenario {
    pub fn mortal(seed: u64) -> Scenario {
        let r = &mut Random::new(seed ^ 2);
        let mut scenario = Scenario::large(seed, r.within(3..=8) as usize, 0);
        let run = &mut scenario.runs[0];
        (run.discovery, run.judge) = (Discovery::Succeeds, None);
        (run.spec.test_losses, run.spec.run_losses) = (None, Some(MANY));
        run.relations.clear();
        run.tests = (0..r.within(20..=50)).map(|_| lasts(r)).collect();
        run.chunk = 2;
        let lives_ms = 1000 * r.within(60..=400);
        scenario.faults.clear();
        for executor in 0..scenario.executors.len() {
            let mut at = r.after_ms(lives_ms);
            while at < FOR_MS {
                let back_after = Some(r.within(50..=5000));
                scenario.faults.push((at, Fault::Die { executor, back_after }));
                at += r.after_ms(lives_ms);
            }
        }
        scenario.calm_at = FOR_MS;
        scenario
    }
}

fn lasts(r: &mut Random) -> Script {
    let duration_ms = r.within(5000..=120_000);
    let (predicted_us, limit_ms) = (duration_ms * 1000, 3 * duration_ms + 5000);
    Script { does: Does::Always(Outcome::Passed), duration_ms, predicted_us, limit_ms, slow_ms: None }
}
