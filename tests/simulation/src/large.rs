//! The same world at the size of a large fleet: one run, whose tests mostly pass, on many executors, of which some are
//! lost.

use seagull_domain::{Outcome, Resources};

use crate::machines::ExecutorPlan;
use crate::random::Random;
use crate::scenario::{Does, Fault, Scenario, Script};
use crate::trouble;

impl Scenario {
    pub fn large(seed: u64, executors: usize, tests: usize) -> Scenario {
        let mut scenario = Scenario::new(seed);
        let r = &mut Random::new(seed ^ 1);
        scenario.runs.truncate(1);
        let run = &mut scenario.runs[0];
        (run.cancelled_at, run.lost_at, run.anticipation) = (None, None, None);
        (run.plan_fails, run.cancelled_in_planning) = (false, false);
        (run.spec.fail_fast, run.spec.run_losses, run.spec.orphan_ms) = (None, None, None);
        run.gone.clear();
        run.tests.resize_with(tests.max(run.tests.len()), || passes(r));
        let executor = |index| {
            let (name, joins_at) = (format!("e{index}"), r.within(0..=5000));
            ExecutorPlan { name, slots: 2, capacity: Resources::UNBOUNDED, joins_at, clock: 1000, sick: None }
        };
        scenario.executors = (0..executors).map(executor).collect();
        (scenario.crash_after, scenario.message_bytes) = (None, 0);
        let end = scenario.expected_end();
        let faults = (0..executors / 50).map(|_| {
            let executor = 1 + r.index(executors - 1);
            let fault = match r.within(0..=2) {
                0 => Fault::Die { executor, back_after: None },
                1 => Fault::Die { executor, back_after: Some(r.within(50..=20_000)) },
                _ => Fault::Partition { executor, for_ms: r.within(500..=40_000) },
            };
            (r.within(0..=end), fault)
        });
        scenario.faults = faults.collect();
        scenario.faults.push((end / 2, Fault::CrashScheduler { down_ms: 1000 }));
        scenario.calm_at = trouble::calm_at(&scenario);
        scenario
    }
}

fn passes(r: &mut Random) -> Script {
    let duration_ms = r.within(100..=2000);
    let (predicted_us, limit_ms) = (duration_ms * 1000, 3 * duration_ms + 5000);
    Script { does: Does::Always(Outcome::Passed), duration_ms, predicted_us, limit_ms, slow_ms: None }
}
