//! The problem of the suite here: its tests are discovered as for a run, and predicted from its history.

use std::time::Duration;

use seagull_binpacker::Risk;
use seagull_domain::{EnvironmentNumber, RunSpec, Workspace};
use seagull_executor::sandbox::Home;
use seagull_results::{History, Lineage, Setups};
use seagull_scheduler::Costs;

use super::Named;
use crate::cli;
use crate::commands::doctor::trial;
use crate::commands::health;
use crate::commands::run::{fits_here, paths, spec};
use crate::duration::millis;
use crate::errors::{say, usage, warn};
use crate::fresh;
use crate::place::Place;
use crate::report;
use crate::state::State;

/// Selects nothing: a discovery alone.
const NOTHING: &str = "nothing, for a discovery alone";
/// Nothing runs that could take longer.
const LIMIT: Duration = Duration::from_secs(60);

pub async fn problem(args: &cli::Plan) -> anyhow::Result<Named> {
    let place = Place::here()?;
    place.config.warnings.iter().for_each(warn);
    let run = run_args(args, &place);
    paths::check(&run, &place)?;
    let state = State::open(args.state.state.as_deref(), &place)?;
    let directory = spec::text(&place.directory)?;
    let settings = spec::text(place.config.directory().unwrap_or(&place.directory))?;
    let workspace = Workspace::InPlace { directory, content: String::new() };
    let files = spec::Files { workspace, rev: String::new(), settings, version: None, built: None };
    let spec = spec::build(&run, &place, files)?;
    // It is there that tests are discovered: what else there is may be for other machines.
    fits_here(&spec.suite, std::iter::once(EnvironmentNumber::default()))?;
    let home = Home::create_for("plan", &std::env::temp_dir())?;
    let only = RunSpec { id: fresh::run_id()?, select: vec![NOTHING.to_owned()], ..spec.clone() };
    let trial = trial::run(only, LIMIT, home.path(), &state.directory).await?;
    let Some(manifest) = trial.discovered.filter(|manifest| !manifest.is_empty()) else {
        let why = trial.troubles.last().map_or("no tests are found", String::as_str);
        return Err(usage(format!(
            "the tests cannot be discovered: {why}\nhint: seagull doctor looks step by step"
        )));
    };
    manifest.warnings.iter().for_each(warn);
    let history = History::open(&state.directory.join("history.sqlite"))?;
    let timings = history.load_for(Lineage::of(&spec), &spec.arguments, &manifest)?;
    let mut prediction = seagull_results::predict(&manifest, &timings);
    say!("{} discovered", report::count(report::number(manifest.len()), "test"));
    let placed =
        seagull_results::environments(&manifest, &spec.suite).map_err(|error| usage(error.to_string()))?;
    let mut costs = Costs::of(&spec, &prediction);
    if let Some(setup) = args.costs.scope_setup {
        costs.file_micros = millis(setup).saturating_mul(1000);
        prediction.setups = Setups::default();
    }
    if let Some(start) = args.costs.sandbox_start {
        costs.bundle_ms = millis(start);
        costs.environments_ms.clear();
    }
    let mut problem = seagull_scheduler::problem(&manifest, &prediction, &costs, &placed, spec.cap_ms);
    problem.risk = Risk::of(args.costs.overrun, prediction.common);
    let health = history.health(Lineage::of(&spec), fresh::unix_millis())?;
    let history = Some(health::Report::of(&health, &prediction));
    let name = |number| spec.suite.environment(number).map_or("", |(name, _)| name).to_owned();
    let environments = spec.suite.numbers().map(name).collect();
    Ok(Named { problem, tests: manifest.ids().collect(), environments, history })
}

/// A run of the same suite.
fn run_args(args: &cli::Plan, place: &Place) -> cli::Run {
    let mut run = cli::Run::default();
    (run.paths, run.arguments) = (args.paths.clone(), args.arguments.clone());
    run.what.suite = args.suite.clone();
    run.how.cap = args.costs.cap.or(place.config.run.cap);
    run.at.state = args.state.clone();
    run
}
