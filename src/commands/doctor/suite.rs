//! The suite itself: two discoveries, one test alone, one bundle, and some tests of each other environment.

mod groups;

use std::collections::BTreeSet;
use std::fmt::Display;
use std::time::Duration;

use seagull_domain::{EnvironmentNumber, Framework, Manifest, RunSpec, Workspace};
use seagull_executor::interpreter;
use seagull_executor::setup::Prepared;
use seagull_results::{History, Lineage};

use super::Ground;
use super::finding::{Finding, Findings};
use super::trial::{self, Trial};
use crate::again::{quoted, quoted_word};
use crate::cli;
use crate::commands::health;
use crate::commands::run::{fits_here, spec};
use crate::errors::HINT;
use crate::framework;
use crate::fresh;
use crate::place::Place;
use crate::report::{count, duration, number};
use groups::Group;

const ENVIRONMENT: &str = "environment";
/// Selects nothing: a discovery alone.
const NOTHING: &str = "nothing, for a discovery alone";
/// Tests of the bundle that is tried, and how long it may take.
const BUNDLE: usize = 20;
const LIMIT: Duration = Duration::from_secs(60);
/// Tests of each environment beside that of the first ones: it is its sandbox that is tried.
const FEW: usize = 3;
/// Of a list, so many are named; of a message, so many lines.
const NAMED: usize = 3;
const LINES: usize = 12;

pub(super) async fn examine(
    run: &cli::Run,
    place: &Place,
    ground: &Ground<'_>,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let directory = spec::text(&place.directory)?;
    let workspace = Workspace::InPlace { directory, content: String::new() };
    let settings = spec::text(place.config.directory().unwrap_or(&place.directory))?;
    let files = spec::Files { workspace, rev: String::new(), settings, version: None, built: None };
    let spec = match spec::build(run, place, files) {
        Ok(spec) => spec,
        Err(error) => return findings.tell(Finding::error("options", &error)),
    };
    // What waits for memory that is not here would wait for ever.
    if let Err(error) = fits_here(&spec.suite, spec.suite.numbers()) {
        let problem = Finding::error("memory", &error);
        let elsewhere = run.at.scheduler.is_some();
        return findings.tell(if elsewhere { problem.at_most_a_warning() } else { problem });
    }
    let suite = Suite { by_hand: by_hand(&spec, place, ground.prepared.as_ref()), spec, ground };
    let Some(first) = suite.discover(findings).await? else { return Ok(()) };
    suite.history(&first, findings)?;
    let groups = match groups::of(&first, &suite.spec.suite) {
        Ok(groups) => groups,
        Err(error) => return findings.tell(Finding::error(ENVIRONMENT, &error.into())),
    };
    let Some((own, others)) = groups.split_first() else { return Ok(()) };
    suite.try_first(&first, own, findings).await?;
    for group in others {
        suite.try_environment(group, findings).await?;
    }
    Ok(())
}

struct Suite<'a> {
    ground: &'a Ground<'a>,
    spec: RunSpec,
    by_hand: ByHand,
}

/// The framework alone, to compare with.
struct ByHand {
    /// Only lists the tests.
    lists: String,
    /// Runs the same, if one command does.
    whole: Option<String>,
    /// Runs the test whose id is put behind it, if there is such a command.
    one: Option<String>,
}

fn by_hand(spec: &RunSpec, place: &Place, prepared: Option<&Prepared>) -> ByHand {
    let found = || interpreter::find(&spec.suite.python, &place.directory).ok();
    let python = prepared.and_then(Prepared::python).or_else(found);
    let python = python.map(|python| python.to_string_lossy().into_owned());
    let lists = framework::listing(spec, python.as_deref());
    let arguments = spec.arguments.iter().map(String::as_str);
    match spec.suite.framework {
        Framework::Pytest => {
            let program = framework::pytest(python.as_deref());
            let whole = Some(quoted(program.iter().map(String::as_str).chain(arguments)));
            ByHand { lists, whole, one: Some(quoted(program)) }
        }
        Framework::Cargo | Framework::Built(_) => {
            let whole = Some(quoted(["cargo", "test"].into_iter().chain(arguments)));
            ByHand { lists, whole, one: None }
        }
        Framework::Command(_) => ByHand { lists, whole: None, one: None },
    }
}

fn compare_with(command: impl Display) -> String {
    format!("compare with: {command}")
}

impl Suite<'_> {
    /// One test alone, compared with a first discovery, and one bundle.
    async fn try_first(
        &self,
        discovered: &Manifest,
        group: &Group,
        findings: &mut Findings,
    ) -> anyhow::Result<()> {
        let alone = self.try_tests("one test", (&group.ids[..1], group.environment), findings).await?;
        self.compare(discovered, alone.discovered.as_ref(), findings)?;
        findings.tell(self.judge("one test", &alone, 1))?;
        let bundle = &group.ids[..group.ids.len().min(BUNDLE)];
        let is_hopeless = alone.lost || (alone.late && alone.results.is_empty());
        if is_hopeless || bundle.len() == 1 {
            return Ok(());
        }
        let trial = self.try_tests("one bundle", (bundle, group.environment), findings).await?;
        findings.tell(self.judge("one bundle", &trial, bundle.len()))
    }

    /// Whether its sandbox starts, and tests run there.
    async fn try_environment(&self, group: &Group, findings: &mut Findings) -> anyhow::Result<()> {
        let few = &group.ids[..group.ids.len().min(FEW)];
        let name = match self.spec.suite.environment(group.environment) {
            Some((name, _)) => name,
            None => "without any",
        };
        let doing = format!("{ENVIRONMENT} {name}");
        let trial = self.try_tests(&doing, (few, group.environment), findings).await?;
        findings.tell(self.judge(ENVIRONMENT, &trial, few.len()).of(name))
    }

    /// The tests of a first discovery; none if there is nothing to go on with.
    async fn discover(&self, findings: &mut Findings) -> anyhow::Result<Option<Manifest>> {
        const CHECK: &str = "discovery";
        let nothing = [NOTHING.to_owned()];
        let trial = self.try_tests(CHECK, (&nothing, EnvironmentNumber::default()), findings).await?;
        let lists = || compare_with(&self.by_hand.lists);
        let Some(manifest) = trial.discovered.filter(|manifest| !manifest.is_empty()) else {
            let said = match trial.troubles.last() {
                Some(said) => said.clone(),
                None => "no tests are found".to_owned(),
            };
            let compare = Some(lists()).filter(|_| !(trial.lost && self.needs_engine()));
            let problem = trouble(CHECK, &said, compare);
            return findings.tell(problem).map(|()| None);
        };
        for warning in &manifest.warnings {
            findings.tell(Finding::warning(CHECK, warning))?;
        }
        let uncollected: Vec<&str> =
            manifest.tests().filter(|(_, suffix)| suffix.is_empty()).map(|(path, _)| path).collect();
        if !uncollected.is_empty() && self.spec.suite.framework == Framework::Pytest {
            let said = format!("{} cannot be collected: {}", uncollected.len(), named(&uncollected));
            if uncollected.len() == manifest.len() {
                return findings.tell(Finding::problem(CHECK, said).hint(lists())).map(|()| None);
            }
            findings.tell(Finding::warning(CHECK, said).hint(lists()))?;
        }
        let files: BTreeSet<&str> = manifest.files.iter().map(|file| file.path.as_str()).collect();
        let (tests, files) = (count(number(manifest.len()), "test"), count(number(files.len()), "file"));
        let took = duration(trial.took);
        findings.tell(Finding::ok(CHECK, format!("{tests} in {files} in {took}")))?;
        Ok(Some(manifest))
    }

    /// What earlier runs taught of the durations of these tests.
    fn history(&self, manifest: &Manifest, findings: &mut Findings) -> anyhow::Result<()> {
        const CHECK: &str = "history";
        let path = self.ground.state.join("history.sqlite");
        if !path.exists() {
            return findings.tell(Finding::ok(CHECK, "none yet: the first run begins it"));
        }
        let of = Lineage::of(&self.spec);
        let read = || {
            let history = History::open(&path)?;
            let timings = history.load_for(of, &self.spec.arguments, manifest)?;
            Ok((seagull_results::predict(manifest, &timings), history.health(of, fresh::unix_millis())?))
        };
        let (prediction, health) = match read() {
            Ok(read) => read,
            Err(error) => return findings.tell(Finding::error(CHECK, &error)),
        };
        let report = health::Report::of(&health, &prediction);
        for warning in &report.warnings {
            findings.tell(
                Finding::warning(CHECK, warning).hint("runs of the whole suite teach what its tests take"),
            )?;
        }
        findings.tell(Finding::ok(CHECK, report.line()))
    }

    /// Tests of one environment.
    async fn try_tests(
        &self,
        doing: &str,
        (tests, environment): (&[String], EnvironmentNumber),
        findings: &Findings,
    ) -> anyhow::Result<Trial> {
        let id = fresh::run_id()?;
        let spec = RunSpec { id, select: tests.to_vec(), retries: 0, fail_fast: None, ..self.spec.clone() };
        let Ground { home, state, .. } = self.ground;
        let builds = spec.suite.framework == Framework::Cargo;
        let doing = if builds {
            format!("{doing}, for which cargo builds what is not built")
        } else {
            doing.to_owned()
        };
        let limit = limit(&spec, environment);
        findings.during(&doing, trial::run(spec, limit, home, state)).await
    }

    /// Whether a second discovery, in another process, found the same.
    fn compare(
        &self,
        first: &Manifest,
        second: Option<&Manifest>,
        findings: &mut Findings,
    ) -> anyhow::Result<()> {
        const CHECK: &str = "ids";
        let ids = |manifest: &Manifest| manifest.ids().collect::<Vec<_>>();
        let (first, second) = (ids(first), second.map(ids).unwrap_or_default());
        if first == second {
            return findings.tell(Finding::ok(CHECK, "the same in a second discovery"));
        }
        let (one, two): (BTreeSet<_>, BTreeSet<_>) = (first.iter().collect(), second.iter().collect());
        let differ: Vec<&str> = one.symmetric_difference(&two).map(|id| id.as_str()).collect();
        if differ.is_empty() {
            return findings.tell(
                Finding::warning(CHECK, "a second discovery found the same tests in another order")
                    .hint("what sets this order? it is only the first discovery's that counts"),
            );
        }
        let said = format!("{} are not in both of two discoveries: {}", differ.len(), named(&differ));
        findings.tell(Finding::problem(CHECK, said).hint(
            "ids made of times, addresses, chance or the order of sets are others in each process: such tests are executed \
             by the worker that discovered them, or not at all; give parameters ids of their own (pytest.param(..., \
             id=\"...\"))",
        ))
    }

    /// Whether tests run in an image, or beside services: the framework alone would not show what is wrong with these.
    fn needs_engine(&self) -> bool {
        !self.spec.suite.environments.is_empty()
    }

    fn judge(&self, check: &'static str, trial: &Trial, tests: usize) -> Finding {
        let compare = || self.by_hand.whole.as_ref().map(compare_with);
        let alone = |id: &str| {
            let one = self.by_hand.one.as_ref();
            one.map(|one| compare_with(format!("{one} {}", quoted_word(id))))
        };
        let failed: Vec<&(String, Option<String>)> =
            trial.results.iter().filter(|(_, how)| how.is_some()).collect();
        let took = duration(trial.took);
        if trial.late {
            let limit = duration(trial.limit);
            let said = format!("not over after {limit}: {} of {tests} were executed", trial.results.len());
            Finding::warning(check, said)
                .hint("nothing is wrong if the tests are that slow; --test-limit kills one that hangs")
        } else if let Some(said) = trial.troubles.last() {
            trouble(check, said, compare().filter(|_| !(trial.lost && self.needs_engine())))
        } else if trial.results.is_empty() {
            Finding::problem(check, "it was not executed".to_owned()).hints(compare())
        } else if let Some(said) = &trial.crashed
            && matches!(self.spec.suite.framework, Framework::Command(_))
        {
            Finding::problem(check, first_lines(said))
                .hint("seagull docs command says what the run command is given, and has to do")
        } else if let Some((id, how)) = failed.first() {
            let how = how.as_deref().unwrap_or_default();
            let said = format!("{} of {tests} failed in {took}: {id}: {how}", failed.len());
            Finding::warning(check, said).hints(alone(id))
        } else if tests == 1 {
            Finding::ok(check, format!("{} is good in {took}", trial.results[0].0))
        } else {
            Finding::ok(check, format!("{tests} tests are good in {took}"))
        }
    }
}

/// How long a trial may take: services that are not ready in time are told of by their own words.
fn limit(spec: &RunSpec, environment: EnvironmentNumber) -> Duration {
    let needed = spec.suite.definition(environment).ok().flatten();
    let services = needed.iter().flat_map(|definition| definition.services.values());
    LIMIT + Duration::from_millis(services.map(|service| service.ready.within_ms).sum())
}

/// What to do is in the message, if it is known there.
fn trouble(check: &'static str, said: &str, otherwise: Option<String>) -> Finding {
    let (hints, said): (Vec<&str>, Vec<&str>) = said.lines().partition(|line| line.starts_with(HINT));
    let hint = hints.first().map(|hint| hint.trim_start_matches(HINT).to_owned());
    Finding::problem(check, first_lines(&said.join("\n"))).hints(hint.or(otherwise))
}

fn named(names: &[&str]) -> String {
    let mut text = names.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    if names.len() > NAMED {
        text += &format!(", {} more", names.len() - NAMED);
    }
    text
}

fn first_lines(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    let shown = lines[..lines.len().min(LINES)].join("\n");
    if lines.len() > LINES { format!("{shown}\n[{} more lines]", lines.len() - LINES) } else { shown }
}
