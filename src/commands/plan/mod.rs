//! `seagull plan`: how tests would be packed; nothing runs.
#![expect(
    clippy::disallowed_methods,
    reason = "a shell: planning has a limit of time, and says how long it took"
)]

mod show;
mod slots;
mod suite;
mod timings;

use std::io::{IsTerminal, stdout};
use std::time::{Duration, Instant};

use seagull_binpacker::{Budget, Part, Plan, Problem, pack_within};

use crate::cli;
use crate::commands::print;
use crate::duration::millis;
use crate::errors::usage;
use crate::report::{Output, Paint};

const CAP: Duration = Duration::from_secs(600);

/// A problem whose numbers have names.
pub struct Named {
    pub problem: Problem,
    /// Of the tests, by number.
    pub tests: Vec<String>,
    /// Of the environments; empty where there is one without a name.
    pub environments: Vec<String>,
}

/// A plan, and what it is shown with.
struct Planned {
    named: Named,
    plan: Plan,
    took: Duration,
    slots: Vec<slots::Slots>,
}

pub async fn run(args: cli::Plan) -> anyhow::Result<u8> {
    let began = Instant::now();
    let named = match &args.timings {
        Some(file) => timings::read(file)?.problem(&args.costs),
        None => suite::problem(&args).await?,
    };
    let limit = args.packing.time_limit;
    let late = || limit.is_some_and(|limit| began.elapsed() >= limit);
    let time_left = || limit.map(|limit| limit.saturating_sub(began.elapsed()));
    let budget = Budget {
        algorithm: seagull_scheduler::algorithm(args.packing.algorithm),
        seed: args.packing.seed,
        steps: args.packing.budget,
        cancelled: &late,
        time_left: &time_left,
    };
    let pack = |problem: &Problem| pack_within(problem, &budget).map_err(|error| usage(error.to_string()));
    let begun = Instant::now();
    let plan = pack(&named.problem)?;
    let took = begun.elapsed();
    let slots = args.slots.iter().map(|&slots| {
        let problem = Problem { slots: Some(slots), ..named.problem.clone() };
        pack(&problem).map(|plan| slots::Slots::of(slots, &plan))
    });
    let slots = slots.collect::<anyhow::Result<_>>()?;
    let planned = Planned { named, plan, took, slots };
    let on = args.color.on(args.output.has_colors(stdout().is_terminal()));
    print(|out| match args.output {
        Output::Json => show::object(out, &planned),
        Output::Human | Output::Plain => show::text(out, &planned, Paint { on }),
    })?;
    Ok(0)
}

/// The cap that is asked for, in milliseconds.
fn cap_ms(costs: &cli::CostArgs) -> u64 {
    millis(costs.cap.unwrap_or(CAP))
}

impl Named {
    fn test(&self, test: u32) -> &str {
        self.tests.get(test as usize).map_or("", String::as_str)
    }

    /// The ids of what cannot be split.
    fn ids<'a>(&'a self, part: &'a Part) -> Vec<&'a str> {
        match part {
            Part::Test(test) => vec![self.test(*test)],
            Part::Relation(tests) => tests.iter().map(|&test| self.test(test)).collect(),
        }
    }
}
