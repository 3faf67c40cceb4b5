//! What the settings give the tests on this machine: secrets are looked for, and what is to be prepared is prepared and
//! kept, as the executor of a run here would do it.

use std::path::Path;

use seagull_domain::Setup;
use seagull_executor::artifact::Patterns;
use seagull_executor::secrets::Secrets;
use seagull_executor::setup::{Prepared, Wanted, limit, prepare};

use super::finding::{Finding, Findings};
use crate::cli;
use crate::commands::run::spec;
use crate::place::Place;

const CHECK: &str = "setup";

/// What was prepared, if anything is to be. None if it cannot be.
pub async fn examine(
    run: &cli::Run,
    place: &Place,
    state: &Path,
    findings: &mut Findings,
) -> anyhow::Result<Option<Option<Prepared>>> {
    let Some(secrets) = secrets(run, place, findings)? else { return Ok(None) };
    let directory = place.config.directory().unwrap_or(&place.directory);
    let Some(setup) = spec::setup(run, place, spec::text(directory)?) else { return Ok(Some(None)) };
    inputs(&setup, directory, findings)?;
    let wanted = Wanted {
        setup,
        directory: directory.to_owned(),
        variables: place.config.env.clone(),
        passed: Default::default(),
        secrets,
        limit: limit(run.how.start_limit.or(place.config.run.start_limit)),
    };
    match findings.during(CHECK, prepare(state, &wanted)).await {
        Ok(prepared) => {
            let kept = prepared.directory().display();
            let said = match prepared.took {
                Some(took) => format!("prepared in {:.1} s, kept in {kept}", took.as_secs_f64()),
                None => format!("kept in {kept}, of the same inputs"),
            };
            findings.tell(Finding::ok(CHECK, said))?;
            Ok(Some(Some(prepared)))
        }
        Err(message) => {
            let problem = Finding::problem(CHECK, message).hint(format!(
                "[setup] run of seagull.toml is run in {}, and fills the directory SEAGULL_SETUP",
                directory.display()
            ));
            findings.tell(problem).map(|()| None)
        }
    }
}

/// None if a run here would not find one.
fn secrets(run: &cli::Run, place: &Place, findings: &mut Findings) -> anyhow::Result<Option<Secrets>> {
    const CHECK: &str = "secrets";
    match Secrets::find(&place.config.secrets) {
        Ok(secrets) => {
            let names: Vec<&str> = place.config.secrets.keys().map(String::as_str).collect();
            if !names.is_empty() {
                findings.tell(Finding::ok(CHECK, format!("found here: {}", names.join(", "))))?;
            }
            Ok(Some(secrets))
        }
        Err(message) => findings.tell(absent(CHECK, message, run)).map(|()| None),
    }
}

/// A secret that is not on this machine: executors elsewhere need none here.
fn absent(check: &'static str, message: String, run: &cli::Run) -> Finding {
    match run.at.scheduler {
        Some(_) => Finding::warning(check, message)
            .hint("the scheduler's executors need it, this machine only to try the tests here"),
        None => Finding::problem(check, message)
            .hint("a run here needs it on this machine; on a scheduler's executors they need it"),
    }
}

/// Inputs that are none make a setup that is never made again.
fn inputs(setup: &Setup, directory: &Path, findings: &mut Findings) -> anyhow::Result<()> {
    let missing = "it is not run again when other files change: name what it depends on in [setup] inputs";
    if setup.inputs.is_empty() {
        return findings.tell(Finding::warning(CHECK, "it has no inputs").hint(missing));
    }
    let found = Patterns::parse("", &setup.inputs).map_err(anyhow::Error::msg)?.find(directory)?;
    if found.unmatched.is_empty() {
        return Ok(());
    }
    let said = format!("inputs: nothing is named by {}", found.unmatched.join(", "));
    findings.tell(Finding::warning(CHECK, said).hint(missing))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::finding::State;

    #[test]
    fn a_secret_that_executors_elsewhere_have_is_no_problem() {
        let mut run = cli::Run::default();
        assert_eq!(absent("secrets", "none".into(), &run).state, State::Problem);
        run.at.scheduler = Some("http://127.0.0.1:7878".parse().unwrap());
        assert_eq!(absent("secrets", "none".into(), &run).state, State::Warning);
    }
}
