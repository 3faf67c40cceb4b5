//! `seagull plan`: how tests would be packed; nothing runs.
#![expect(
    clippy::disallowed_methods,
    reason = "a shell: planning has a limit of time, and says how long it took"
)]

mod page;
mod show;
mod slots;
mod suite;
mod timings;

use std::io::{IsTerminal, stdout};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use seagull_binpacker::{Algorithm, Budget, Part, Plan, Problem, steps_within};
use seagull_domain::RunSpec;

use crate::cli;
use crate::commands::{health, print};
use crate::duration::millis;
use crate::errors::{INTERRUPTED, usage};
use crate::report::{Output, Paint, file};
use crate::signals::Signals;

/// About ten seconds.
const STEPS: u64 = 10 * seagull_binpacker::STEPS;

/// A problem whose numbers have names.
pub struct Named {
    pub problem: Problem,
    /// Of the tests, by number.
    pub tests: Vec<String>,
    /// Of the environments; empty where there is one without a name.
    pub environments: Vec<String>,
    /// Of a suite, what its history says of itself.
    pub history: Option<health::Report>,
}

/// A plan, and what it is shown with.
struct Planned {
    named: Named,
    plan: Plan,
    took: Duration,
    slots: Vec<slots::Slots>,
}

pub async fn run(args: cli::Plan) -> anyhow::Result<u8> {
    let mut signals = Signals::new()?;
    // A task of its own, for packing waits for nothing; what is interrupted is dropped, with the directory that it has.
    let planning = tokio::spawn(plan(args));
    match signals.during(planning).await {
        Some(planned) => planned?,
        None => Ok(INTERRUPTED),
    }
}

async fn plan(args: cli::Plan) -> anyhow::Result<u8> {
    let named = match &args.timings {
        Some(file) => timings::read(file)?.problem(&args.costs),
        None => suite::problem(&args).await?,
    };
    let (began, limit) = (Instant::now(), args.packing.time_limit);
    let late = || limit.is_some_and(|limit| began.elapsed() >= limit);
    let time_left = || limit.map(|limit| limit.saturating_sub(began.elapsed()));
    let budget = Budget {
        algorithm: seagull_scheduler::algorithm(args.packing.algorithm),
        seed: args.packing.seed,
        steps: args.packing.budget.unwrap_or_else(|| steps_within(limit, STEPS)),
        cancelled: &late,
        time_left: &time_left,
    };
    let pack = |problem: &Problem, budget: &Budget| {
        let plan = seagull_scheduler::pack(problem, args.costs.overrun, budget);
        plan.map_err(|error| usage(error.to_string()))
    };
    let plan = pack(&named.problem, &budget)?;
    let took = began.elapsed();
    // How few bundles there can be is not asked of these.
    let greedy = Budget { algorithm: Algorithm::Greedy, ..budget };
    let slots = args.slots.iter().map(|&slots| {
        let problem = Problem { slots: Some(slots), ..named.problem.clone() };
        pack(&problem, &greedy).map(|plan| slots::Slots::of(slots, &plan))
    });
    let slots = slots.collect::<anyhow::Result<_>>()?;
    let planned = Planned { named, plan, took, slots };
    if let Some(path) = &args.html {
        write_page(&planned, path)?;
    }
    let on = args.color.on(args.output.has_colors(stdout().is_terminal()));
    print(|out| match args.output {
        Output::Json => show::object(out, &planned),
        Output::Human | Output::Plain => show::text(out, &planned, Paint { on }),
    })?;
    Ok(0)
}

fn write_page(planned: &Planned, path: &Path) -> anyhow::Result<()> {
    let written =
        page::render(planned).map_err(anyhow::Error::from).and_then(|text| file::write(&text, path));
    written.with_context(|| {
        format!(
            "cannot write the page {}\nhint: --html FILE names another; may it be written to?",
            path.display()
        )
    })
}

/// The cap that is asked for, in milliseconds.
fn cap_ms(costs: &cli::CostArgs) -> u64 {
    costs.cap.map_or(RunSpec::CAP_MS, millis)
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
