//! From options, settings and defaults to what is asked of a scheduler.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Component, Path};
use std::time::Duration;

use seagull_domain::{
    Branch, Built, Environment, Framework, Planning, RERUN_OF, RunSpec, Service, Setup, Suite, Workspace,
};
use seagull_executor::setup::VERSION;
use seagull_proto::limits;
use seagull_results::Selection;

use crate::branch::Said;
use crate::cli;
use crate::duration::millis;
use crate::errors::{say, usage, warn};
use crate::framework;
use crate::fresh;
use crate::git::{self, Changed};
use crate::place::Place;
use crate::report;

const ORPHAN: Duration = Duration::from_secs(3600);
/// Of paths that have changed, in all.
const CHANGED_BYTES: usize = 128 << 10;

/// The files of a run, and their revision.
pub struct Files {
    pub workspace: Workspace,
    pub rev: String,
    /// Where the settings are, as the workspace has its directory.
    pub settings: String,
    /// What a version made of git's tags is there, if the suite needs to be told.
    pub version: Option<String>,
    /// What there is of the suite without its framework.
    pub built: Option<Built>,
}

pub fn build(args: &cli::Run, place: &Place, files: Files) -> anyhow::Result<RunSpec> {
    Selection::parse(&args.what.select).map_err(|error| usage(format!("--select: {error}")))?;
    let remote = matches!(files.workspace, Workspace::Artifact { .. });
    let paths = if remote { portable(&args.paths, &place.directory)? } else { args.paths.clone() };
    let (how, defaults) = (&args.how, &place.config.run);
    let settings = files.settings.clone();
    Ok(RunSpec {
        owner: owner(),
        project: args.what.suite.project.clone().unwrap_or_else(|| place.project()),
        rev: files.rev,
        branch: branch(args, place),
        submitted_at: fresh::unix_millis(),
        suite: Suite {
            python: python(args, place, remote),
            variables: variables(place, files.version),
            passed: if remote { passed(&place.config.pass_env) } else { BTreeMap::new() },
            secrets: place.config.secrets.clone(),
            setup: setup(args, place, files.settings),
            framework: match files.built {
                Some(built) => Framework::Built(built),
                None => framework::choose(args, place)?,
            },
            controller: place.config.controller,
            attachments: place.config.attachments.clone(),
            services: services(place, remote, &settings)?,
            environments: environments(place),
        },
        arguments: paths.into_iter().chain(args.arguments.iter().cloned()).collect(),
        select: args.what.select.clone(),
        cap_ms: how.cap.or(defaults.cap).map_or(RunSpec::CAP_MS, millis),
        planning: Planning {
            algorithm: how.algorithm.or(defaults.algorithm).unwrap_or_default(),
            limit_ms: how.time_limit.or(defaults.time_limit).map(millis),
        },
        test_limit_ms: how.test_limit.or(defaults.test_limit).map(millis),
        start_limit_ms: how.start_limit.or(defaults.start_limit).map(millis),
        retries: how.retries.or(defaults.retries).unwrap_or(0),
        test_losses: how.test_losses.or(defaults.test_losses),
        run_losses: how.run_losses.or(defaults.run_losses),
        fail_fast: how.fail_fast.or(defaults.fail_fast),
        flaky_fails: how.flaky.or(defaults.flaky_fails).unwrap_or(false),
        early_start: !how.no_early_start && defaults.early_start.unwrap_or(true),
        second_copy: !how.no_second_copy && defaults.second_copy.unwrap_or(true),
        grace_ms: how.grace.or(defaults.grace).map_or(RunSpec::GRACE_MS, millis),
        seed: how.seed.map_or_else(fresh::seed, Ok)?,
        orphan_ms: orphan(args, remote),
        isolation: how.isolation.or(defaults.isolation).unwrap_or_default(),
        worker_memory_kib: how.worker_memory.or(defaults.worker_memory),
        hold_ms: hold(args, place)?,
        first: how.changed.as_deref().map_or(Ok(Vec::new()), |base| changed(base, place))?,
        ..RunSpec::new(args.what.run_id.clone().map_or_else(fresh::run_id, Ok)?, files.workspace)
    })
}

/// Without services there is nothing to keep.
fn hold(args: &cli::Run, place: &Place) -> anyhow::Result<Option<u64>> {
    let has_services = place.config.environments.values().any(|of| of.has_own_services());
    match args.how.hold_on_failure {
        Some(_) if !has_services => Err(usage(
            "--hold-on-failure: no environment has services of its own\n\
             hint: seagull docs sandboxes shows how they are written",
        )),
        hold => Ok(hold.map(millis)),
    }
}

/// A run like one that has ended, which it names, on these files.
pub fn again(base: RunSpec, args: &cli::Run, files: Files) -> anyhow::Result<RunSpec> {
    let remote = matches!(files.workspace, Workspace::Artifact { .. });
    let mut labels = base.labels;
    labels.insert(RERUN_OF.to_owned(), base.id.to_string());
    // The values are told to executors alone.
    let names: Vec<String> = base.suite.passed.into_keys().collect();
    let suite = Suite { passed: passed(&names), ..base.suite };
    Ok(RunSpec {
        id: args.what.run_id.clone().map_or_else(fresh::run_id, Ok)?,
        owner: owner(),
        rev: files.rev,
        labels,
        submitted_at: fresh::unix_millis(),
        workspace: files.workspace,
        orphan_ms: base.orphan_ms.or_else(|| orphan(args, remote)),
        suite,
        // They were the changes of that time.
        first: Vec::new(),
        ..base
    })
}

/// Whose history it goes by. Outside a repository only who says so has a branch.
fn branch(args: &cli::Run, place: &Place) -> Option<Branch> {
    let (suite, rev) = (&args.what.suite, args.at.rev.as_deref());
    let job = Said::by_ci(|name| std::env::var(name).ok().filter(|_| place.repository.is_some()));
    let said = Said {
        // The job is of another revision.
        branch: suite.branch.clone().or(job.branch.filter(|_| rev.is_none())),
        base: suite.base_branch.clone().or(job.base.filter(|_| rev.is_none())),
        main: place.config.main_branch.clone().or(job.main),
    };
    match &place.repository {
        Some(top) => said.with_git(top, rev).branch(),
        None => said.branch(),
    }
}

/// The files that differ from a base, of which `--changed` is told; the default one is empty.
fn changed(base: &str, place: &Place) -> anyhow::Result<Vec<String>> {
    let top = place.repository.as_deref().ok_or_else(|| {
        let directory = place.directory.display();
        usage(format!(
            "--changed: {directory} is in no git repository\nhint: without it, the order is the plan's"
        ))
    })?;
    let Changed { base, mut paths } = git::changed(top, Some(base).filter(|base| !base.is_empty()))?;
    let count = report::count(report::number(paths.len()), "file");
    say!("--changed: {count} changed since {base}");
    let fits = paths.iter().scan(0, |bytes, path| {
        *bytes += path.len() + 8;
        Some(*bytes <= CHANGED_BYTES && path.len() <= limits::PATH_BYTES)
    });
    let fit = fits.take(limits::ARGUMENTS).take_while(|fits| *fits).count();
    if fit < paths.len() {
        warn(format!("--changed: only the first {fit} of these are looked at"));
        paths.truncate(fit);
    }
    Ok(paths)
}

/// How long nobody may watch the run: one whose client is to wait for it does not outlive that for long.
fn orphan(args: &cli::Run, remote: bool) -> Option<u64> {
    let patience = args.at.orphan.or((!args.at.detach).then_some(ORPHAN));
    patience.filter(|_| remote).map(millis)
}

/// What a run is to prepare. Whoever names an interpreter has all that is needed.
pub fn setup(args: &cli::Run, place: &Place, directory: String) -> Option<Setup> {
    let setup = place.config.setup.as_ref().filter(|_| args.what.suite.python.is_none())?;
    Some(Setup { directory, run: setup.run.clone(), inputs: setup.inputs.clone() })
}

fn environments(place: &Place) -> BTreeMap<String, Environment> {
    let all = place.config.environments.iter();
    all.map(|(name, definition)| (name.clone(), definition.environment.clone())).collect()
}

/// What environments need. `settings`: the directory of the settings, as the workspace has it.
fn services(place: &Place, remote: bool, settings: &str) -> anyhow::Result<BTreeMap<String, Service>> {
    let mut all = BTreeMap::new();
    for (name, service) in place.config.environments.values().flat_map(|definition| &definition.services) {
        let mut service = service.clone();
        for (inside, path) in service.files.iter_mut().filter(|_| remote) {
            let base = place.config.directory().unwrap_or(Path::new(""));
            *path = within_artifact(Path::new(path), base, settings).ok_or_else(|| {
                usage(format!(
                    "services.{name}.files: what {inside} shows, {path}, is not among the files that executors get\n\
                     hint: keep it in the repository; [artifact] root and include add to what is sent"
                ))
            })?;
        }
        all.insert(name.clone(), service);
    }
    Ok(all)
}

/// A path as the artifact has it, which has the directory of the settings at `settings`.
fn within_artifact(path: &Path, base: &Path, settings: &str) -> Option<String> {
    let mut inside: Vec<&str> = Path::new(settings).iter().filter_map(|part| part.to_str()).collect();
    for part in path.strip_prefix(base).ok()?.components() {
        match part {
            Component::Normal(part) => inside.push(part.to_str()?),
            Component::CurDir => {}
            Component::ParentDir => drop(inside.pop()?),
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(inside.join("/"))
}

fn variables(place: &Place, version: Option<String>) -> BTreeMap<String, String> {
    let version = version.map(|version| (VERSION.to_owned(), version));
    version.into_iter().chain(place.config.env.clone()).collect()
}

/// Variables of this process by name.
fn passed(names: &[String]) -> BTreeMap<String, String> {
    let value = |name: &String| match std::env::var_os(name).map(OsString::into_string) {
        Some(Ok(value)) => Some((name.clone(), value)),
        absent => {
            let why = if absent.is_none() { "it is not set" } else { "it is not UTF-8" };
            warn(format!("pass-env: {name} is not passed: {why}"));
            None
        }
    };
    names.iter().filter_map(value).collect()
}

/// A directory as text, which is what travels.
pub fn text(directory: &Path) -> anyhow::Result<String> {
    let text = directory.to_str().map(str::to_owned);
    text.ok_or_else(|| usage(format!("{} is not UTF-8", directory.display())))
}

/// The interpreter. In place, a path is relative to where it was written: the working directory, or the settings;
/// elsewhere it is for the executor to find.
pub fn python(args: &cli::Run, place: &Place, remote: bool) -> String {
    let (python, base) = match (&args.what.suite.python, &place.config.python) {
        (Some(given), _) => (given.as_str(), Some(place.directory.as_path())),
        (None, Some(set)) => (set.as_str(), place.config.directory()),
        (None, None) => return String::new(),
    };
    match base.filter(|_| !remote && python.contains('/')) {
        Some(base) => base.join(python).to_string_lossy().into_owned(),
        None => python.to_owned(),
    }
}

/// Paths as they are within the artifact.
pub fn portable(paths: &[String], directory: &Path) -> anyhow::Result<Vec<String>> {
    let relative = |path: &String| match Path::new(path).strip_prefix(directory) {
        Ok(inside) if inside.as_os_str().is_empty() => Ok(".".to_owned()),
        Ok(inside) => Ok(inside.to_string_lossy().into_owned()),
        Err(_) if Path::new(path).components().next() == Some(Component::RootDir) => Err(usage(format!(
            "{path} is not within {}, and means nothing on another machine",
            directory.display()
        ))),
        Err(_) => Ok(path.clone()),
    };
    paths.iter().map(relative).collect()
}

/// Who asks, as the environment says it; what a scheduler goes by comes from the token.
fn owner() -> String {
    let named = ["USER", "LOGNAME"].into_iter().filter_map(|name| std::env::var(name).ok());
    let mut named = named.filter(|name| !name.is_empty());
    named.next().unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::Parser;
    use seagull_domain::{Algorithm, Isolation};

    use super::*;

    fn args(arguments: &[&str]) -> cli::Run {
        let whole = ["seagull", "run"].iter().chain(arguments);
        match cli::Cli::parse_from(whole).command {
            cli::Command::Run(run) => *run,
            other => panic!("{other:?}"),
        }
    }

    fn in_place() -> Files {
        let workspace = Workspace::InPlace { directory: "/x".into(), content: String::new() };
        Files { workspace, rev: "abc".into(), settings: "/x".into(), version: None, built: None }
    }

    fn packed() -> Files {
        let digest = seagull_domain::Digest([0; 32]);
        let workspace = Workspace::Artifact { digest, directory: String::new() };
        Files {
            workspace,
            rev: String::new(),
            settings: "sub".into(),
            version: Some("1.0".into()),
            built: None,
        }
    }

    fn place(settings: &str) -> (tempfile::TempDir, Place) {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("seagull.toml"), settings).unwrap();
        let place = Place::at(root.path().to_owned()).unwrap();
        (root, place)
    }

    #[test]
    fn options_win_over_settings_and_settings_over_defaults() {
        let (_root, place) = place(
            "project = 'p'\n[run]\nretries = 3\ncap = '5m'\ntest-limit = '90s'\nstart-limit = '30s'\nflaky = 'fail'\n\
             algorithm = 'ilp'\ntime-limit = '2s'\nisolation = 'test'\nworker-memory = '1GiB'\nearly-start = false\nsecond-copy = false\n[env]\nA = 'b'",
        );
        let spec = build(
            &args(&["--retries", "1", "--isolation", "bundle", "--time-limit", "1s", "t.py", "--", "-x"]),
            &place,
            in_place(),
        )
        .unwrap();
        assert_eq!((spec.retries, spec.cap_ms, spec.grace_ms), (1, 300_000, 10_000));
        assert_eq!((spec.test_limit_ms, spec.start_limit_ms), (Some(90_000), Some(30_000)));
        let planning = Planning { algorithm: Algorithm::Ilp, limit_ms: Some(1_000) };
        assert_eq!(spec.planning, planning);
        assert_eq!((spec.isolation, spec.worker_memory_kib), (Isolation::Bundle, Some(1 << 20)));
        assert_eq!((spec.project.as_str(), spec.rev.as_str()), ("p", "abc"));
        assert_eq!(spec.arguments, ["t.py", "-x"]);
        assert!(spec.flaky_fails && spec.fail_fast.is_none() && !spec.early_start && !spec.second_copy);
        assert_eq!(spec.suite.variables["A"], "b");
        assert!(seagull_proto::convert::submission(spec).is_ok());
    }

    #[test]
    fn a_run_starts_early_and_may_copy_tests_unless_it_is_told_not_to() {
        let (_root, place) = place("");
        let spec = |arguments: &[&str]| build(&args(arguments), &place, in_place()).unwrap();
        assert!(spec(&[]).early_start && !spec(&["--no-early-start"]).early_start);
        assert!(spec(&[]).second_copy && !spec(&["--no-second-copy"]).second_copy);
    }

    #[test]
    fn executors_are_told_what_to_prepare_and_what_to_pass() {
        let (_root, place) = place("pass-env = ['PATH', 'NOT_SET_HERE']\n[setup]\nrun = ['make', 'venv']\n");
        let spec = |arguments: &[&str], files| build(&args(arguments), &place, files).unwrap();
        let (there, here) = (spec(&[], packed()), spec(&[], in_place()));
        let setup = there.suite.setup.clone().unwrap();
        assert_eq!(
            (setup.directory.as_str(), setup.run),
            ("sub", vec!["make".to_owned(), "venv".to_owned()])
        );
        assert_eq!(here.suite.setup.unwrap().directory, "/x");
        assert_eq!(spec(&["--python", "python3"], packed()).suite.setup, None);
        let path = BTreeMap::from([("PATH".to_owned(), std::env::var("PATH").unwrap())]);
        assert_eq!((&there.suite.passed, here.suite.passed.len()), (&path, 0));
        assert_eq!(there.suite.variables[VERSION], "1.0");
        let changed = RunSpec { first: vec!["a.py".to_owned()], ..there.shown() };
        let again = again(changed, &args(&[]), packed()).unwrap();
        assert_eq!((&again.suite, again.first.len()), (&there.suite, 0));
        assert!(seagull_proto::convert::submission(there).is_ok());
    }

    #[test]
    fn environments_travel_with_the_files_that_their_services_are_shown() {
        let toml = |path: &str| {
            format!(
                "[services.db]\nimage = 'x'\nfiles = {{ '/schema.sql' = '{path}' }}\n[services.idle]\nimage = 'x'\n\
                 [environment.db]\nservices = ['db']\ntests = ['tests/db']\n"
            )
        };
        let (root, place) = place(&toml("db/schema.sql"));
        let spec = |files| build(&args(&[]), &place, files).unwrap();
        let path = |spec: &RunSpec| spec.suite.services["db"].files["/schema.sql"].clone();
        let (there, here) = (spec(packed()), spec(in_place()));
        assert_eq!(path(&there), "sub/db/schema.sql");
        assert_eq!(path(&here), root.path().join("db/schema.sql").to_string_lossy());
        assert_eq!(there.suite.environments["db"].tests, ["tests/db"]);
        assert_eq!(there.suite.services.len(), 1, "what no environment needs stays here");
        for spec in [there, here] {
            assert!(seagull_proto::convert::submission(spec).is_ok());
        }
        let (_root, place) = self::place(&toml("../schema.sql"));
        assert_eq!(path(&build(&args(&[]), &place, packed()).unwrap()), "schema.sql");
        for outside in ["/etc/hosts", "../../schema.sql"] {
            let (_root, place) = self::place(&toml(outside));
            let refused = build(&args(&[]), &place, packed()).unwrap_err().to_string();
            assert!(refused.starts_with("services.db.files: what /schema.sql shows, "), "{refused}");
        }
    }

    #[test]
    fn an_interpreters_path_is_relative_to_where_it_was_written() {
        let (root, place) = place("[pytest]\npython = 'env/python'");
        let find = |arguments: &[&str], files| build(&args(arguments), &place, files).unwrap().suite.python;
        assert_eq!(find(&[], in_place()), root.path().join("env/python").to_string_lossy());
        assert_eq!(find(&["--python", "python3.11"], in_place()), "python3.11");
        assert_eq!(find(&["--python", "/usr/bin/python3"], in_place()), "/usr/bin/python3");
        assert_eq!(find(&[], packed()), "env/python");
    }

    #[test]
    fn paths_of_this_machine_do_not_travel() {
        let (root, place) = place("");
        let inside = root.path().join("tests/a.py::test_x").to_string_lossy().into_owned();
        let paths = |path: &str| build(&args(&[path]), &place, packed()).map(|spec| spec.arguments);
        assert_eq!(paths(&inside).unwrap(), ["tests/a.py::test_x"]);
        assert_eq!(paths("tests").unwrap(), ["tests"]);
        assert!(paths("/elsewhere").unwrap_err().is::<crate::errors::Usage>());
    }

    #[test]
    fn a_run_is_an_orphan_after_an_hour_unless_it_is_here_or_left_alone() {
        let (_root, place) = place("");
        let orphan = |arguments: &[&str], files| build(&args(arguments), &place, files).unwrap().orphan_ms;
        assert_eq!(orphan(&[], packed()), Some(3_600_000));
        assert_eq!(orphan(&["--orphan", "90s"], packed()), Some(90_000));
        assert_eq!(orphan(&["--detach"], packed()), None);
        assert_eq!(orphan(&["--detach", "--orphan", "1d"], packed()), Some(86_400_000));
        assert_eq!(orphan(&[], in_place()), None);
        let again = |arguments: &[&str]| {
            let base = build(&args(arguments), &place, packed()).unwrap();
            again(base, &args(&[]), packed()).unwrap().orphan_ms
        };
        assert_eq!(again(&["--orphan", "90s"]), Some(90_000));
        assert_eq!(again(&["--detach"]), Some(3_600_000));
    }

    #[test]
    fn a_selection_that_cannot_be_read_is_a_usage_error() {
        let (_root, place) = place("");
        let error = build(&args(&["--select", ""]), &place, in_place()).unwrap_err();
        assert!(error.is::<crate::errors::Usage>());
    }
}
