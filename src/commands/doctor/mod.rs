//! `seagull doctor`: looks step by step at whether all is in place for a run, and says what to do where it is not.

mod artifact;
mod bounds;
mod docker;
mod finding;
mod scheduler;
mod setup;
mod stores;
mod suite;
pub(super) mod trial;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use seagull_domain::{Suite, TestContainer};
use seagull_executor::interpreter::{self, Found};
use seagull_executor::sandbox::Home;
use seagull_executor::setup::Prepared;

use crate::again::Again;
use crate::cli;
use crate::errors::INTERRUPTED;
use crate::framework;
use crate::place::Place;
use crate::signals::Signals;
use crate::state::State;
use finding::{Finding, Findings};

/// The oldest pytest that the adapter is tested with.
const OLDEST_PYTEST: (u32, u32) = (7, 4);
/// What an interpreter is found by that was prepared.
const SETUP: &str = "[setup]";
/// Python of an interpreter, whether pip may install for it (PEP 668), and pytest, a line each. What `-c` puts first on
/// the path must not shadow them.
const VERSIONS: &str = "\
import os, sys, sysconfig
sys.path[:] = [folder for folder in sys.path if folder]
print(sys.version.split()[0])
mark = os.path.join(sysconfig.get_path('stdlib'), 'EXTERNALLY-MANAGED')
print('managed' if sys.prefix == sys.base_prefix and os.path.exists(mark) else 'own')
try:
    import pytest
    print(pytest.__version__)
except ImportError as error:
    print(error)
";

pub async fn run(args: cli::Doctor) -> anyhow::Result<u8> {
    let mut signals = Signals::new()?;
    let mut findings = Findings::new(args.output);
    tokio::select! {
        outcome = examine(&args, &mut findings) => outcome?,
        () = signals.next() => return Ok(INTERRUPTED),
    }
    if !args.stores.is_empty() {
        return findings.close("seagull scheduler --blobs URL --index URL");
    }
    findings.close(&Again::of(&run_args(&args)).run())
}

async fn examine(args: &cli::Doctor, findings: &mut Findings) -> anyhow::Result<()> {
    if !args.stores.is_empty() {
        let places: Result<Vec<_>, _> = args.stores.iter().map(|text| stores::Place::of(text)).collect();
        return stores::examine(&places?, findings).await;
    }
    let place = match Place::here() {
        Ok(place) => place,
        // Nothing can be looked at by settings that cannot be read.
        Err(error) => return findings.tell(Finding::error("settings", &error)),
    };
    settings(&place, findings)?;
    docker::examine(&place, findings).await?;
    bounds::examine(&place, args.scheduler.is_some(), findings)?;
    let run = run_args(args);
    if let Err(error) = super::run::paths::check(&run, &place) {
        return findings.tell(Finding::error("paths", &error));
    }
    // Kept to the end: a scheduler tidies up for a moment after its run.
    let home = Home::create_for("doctor", &std::env::temp_dir())?;
    let state = state(args, &place, findings)?.unwrap_or_else(|| home.path().to_owned());
    if let Some(prepared) = ready(&run, &place, &state, findings).await? {
        let ground = Ground { home: home.path(), state: &state, prepared };
        suite::examine(&run, &place, &ground, findings).await?;
    }
    artifact::examine(&run, &place, args.scheduler.is_some(), findings).await?;
    match &args.scheduler {
        Some(url) => scheduler::examine(url, (&args.token, &args.tls), findings).await,
        None => Ok(()),
    }
}

/// A run of the same suite.
fn run_args(args: &cli::Doctor) -> cli::Run {
    let mut run = cli::Run::default();
    (run.paths, run.arguments) = (args.paths.clone(), args.arguments.clone());
    run.what.suite = args.suite.clone();
    (run.at.scheduler, run.at.state) = (args.scheduler.clone(), args.state.clone());
    (run.at.token, run.at.tls) = (args.token.clone(), args.tls.clone());
    run
}

fn settings(place: &Place, findings: &mut Findings) -> anyhow::Result<()> {
    const CHECK: &str = "settings";
    let warnings = &place.config.warnings;
    for (number, warning) in (1..).zip(warnings) {
        let hint = (number == warnings.len())
            .then(|| "seagull docs run and seagull docs sandboxes show every setting".to_owned());
        findings.tell(Finding::warning(CHECK, warning).hints(hint))?;
    }
    let said = place
        .config
        .file
        .as_ref()
        .map_or_else(|| "no seagull.toml, so the defaults".to_owned(), |file| file.display().to_string());
    findings.tell(Finding::ok(CHECK, said))
}

/// What trials stand on.
struct Ground<'a> {
    /// A directory for what they leave.
    home: &'a Path,
    /// The suite's own state, where its setups are.
    state: &'a Path,
    prepared: Option<Prepared>,
}

fn state(args: &cli::Doctor, place: &Place, findings: &mut Findings) -> anyhow::Result<Option<PathBuf>> {
    match State::open(args.state.state.as_deref(), place) {
        Ok(State { directory }) => {
            findings.tell(Finding::ok("state", format!("kept in {}", directory.display())))?;
            Ok(Some(directory))
        }
        Err(error) => findings.tell(Finding::error("state", &error)).map(|()| None),
    }
}

/// Framework, setup and interpreter: what is prepared, if tests can be tried with it.
async fn ready(
    run: &cli::Run,
    place: &Place,
    state: &Path,
    findings: &mut Findings,
) -> anyhow::Result<Option<Option<Prepared>>> {
    const CHECK: &str = "framework";
    if let Err(error) = framework::choose(run, place) {
        return findings.tell(Finding::error(CHECK, &error)).map(|()| None);
    }
    let (name, by) = framework::name(run, place);
    let finding = match by {
        Some(by) => Finding::ok(CHECK, format!("{name}, by {by}")),
        None => {
            let hint = match framework::other_sign(&place.directory) {
                Some(sign) => format!("there is a {sign}: {}", framework::BY_COMMAND),
                None => "start it where the suite is, or give the paths of its tests".to_owned(),
            };
            Finding::warning(CHECK, format!("{name}, though nothing in this directory shows it")).hint(hint)
        }
    };
    findings.tell(finding)?;
    let Some(prepared) = setup::examine(run, place, state, findings).await? else { return Ok(None) };
    let works = match (name == framework::Name::Pytest, docker::image(place)) {
        (false, _) => true,
        (true, Some(container)) => {
            let TestContainer { python, image, .. } = container;
            let said = format!("{python} of the image {image}, by [environment.{}]", Suite::DEFAULT);
            findings.tell(Finding::ok("interpreter", said))?;
            true
        }
        (true, None) => python(run, place, prepared.as_ref(), findings).await?,
    };
    Ok(works.then_some(prepared))
}

async fn python(
    run: &cli::Run,
    place: &Place,
    prepared: Option<&Prepared>,
    findings: &mut Findings,
) -> anyhow::Result<bool> {
    const CHECK: &str = "interpreter";
    let configured = super::run::spec::python(run, place, false);
    let found = match prepared.and_then(Prepared::python) {
        Some(path) => Found { path, by: SETUP },
        None => match interpreter::search(&configured, &place.directory) {
            Ok(found) => found,
            Err(error) => return findings.tell(Finding::error(CHECK, &error.into())).map(|()| false),
        },
    };
    let path = found.path.display();
    let (python, packages, pytest) = match versions(&found.path, &place.directory).await {
        Ok(versions) => versions,
        Err(error) => {
            let problem = Finding::problem(CHECK, format!("{path}, by {}, does not work: {error}", found.by));
            return findings
                .tell(problem.hint("make the environment anew, or name another with --python"))
                .map(|()| false);
        }
    };
    findings.tell(Finding::ok(CHECK, format!("Python {python} at {path}, by {}", found.by)))?;
    let (finding, works) = judge_pytest(&found, packages, &pytest);
    findings.tell(finding)?;
    Ok(works)
}

/// Who sees to the packages of an interpreter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packages {
    /// pip may.
    Pip,
    /// The system alone: pip refuses to.
    System,
}

/// What Python and pytest say of themselves.
async fn versions(python: &Path, directory: &Path) -> Result<(String, Packages, String), String> {
    let mut command = tokio::process::Command::new(python);
    command.args(["-c", VERSIONS]).current_dir(directory).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.trim().splitn(3, '\n');
    match (lines.next(), lines.next(), lines.next()) {
        (Some(python), Some(packages), Some(pytest)) if output.status.success() => {
            let packages = if packages == "managed" { Packages::System } else { Packages::Pip };
            Ok((python.to_owned(), packages, pytest.to_owned()))
        }
        _ => Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim())),
    }
}

/// Whether tests can be tried with what an interpreter says of its pytest.
fn judge_pytest(found: &Found, packages: Packages, said: &str) -> (Finding, bool) {
    const CHECK: &str = "pytest";
    let python = found.path.display();
    let install = match packages {
        // What is installed by hand there is on one machine, and kept.
        _ if found.by == SETUP => {
            "let [setup] run install it: seagull docs environment has recipes".to_owned()
        }
        Packages::System => {
            format!("{python} -m venv .venv && .venv/bin/pip install pytest, and .venv is found by itself")
        }
        Packages::Pip => {
            format!("{python} -m pip install --upgrade pytest, or name another interpreter with --python")
        }
    };
    let mut numbers = said.split('.').map(|part| part.parse::<u32>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) if (major, minor) >= OLDEST_PYTEST => (Finding::ok(CHECK, said), true),
        (Some(_), Some(_)) => {
            let old = Finding::warning(CHECK, format!("{said} is older than 7.4, the oldest that is tried"));
            (old.hint(install), true)
        }
        _ => {
            let missing = Finding::problem(CHECK, format!("it cannot be imported: {said}"));
            (missing.hint(install), false)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use finding::State;

    #[test]
    fn versions_of_pytest_are_judged() {
        let table = [
            ("9.2.0", State::Ok, true),
            ("7.4.4", State::Ok, true),
            ("10.0", State::Ok, true),
            ("7.3.9", State::Warning, true),
            ("8.0rc1", State::Problem, false),
            ("No module named 'pytest'", State::Problem, false),
        ];
        for (said, state, works) in table {
            let found = |by| Found { path: "/env/bin/python".into(), by };
            let (finding, tried) = judge_pytest(&found("PATH"), Packages::Pip, said);
            assert_eq!((finding.state, tried), (state, works), "{said}");
            assert_eq!(finding.hint.is_some(), state != State::Ok, "{said}");
            for (by, packages, hint) in [
                ("PATH", Packages::Pip, "/env/bin/python -m pip install --upgrade pytest"),
                ("PATH", Packages::System, "/env/bin/python -m venv .venv && "),
                (SETUP, Packages::System, "let [setup] run install it"),
            ] {
                let (finding, _) = judge_pytest(&found(by), packages, said);
                assert!(finding.hint.is_none_or(|given| given.starts_with(hint)), "{hint}");
            }
        }
    }
}
