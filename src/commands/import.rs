//! `seagull import`: history from JUnit reports of another CI, or from other state directories.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context, anyhow};
use seagull_domain::{Outcome, RunId, RunVerdict, Verdict};
use seagull_executor::adapters::junit::{Case, Report};
use seagull_results::{EndedRun, History, Lineage};
use seagull_scheduler::{Imported, import};

use crate::cli;
use crate::errors::{say, usage, warn};
use crate::place::Place;
use crate::report::{count, number};
use crate::state::State;

/// What stands between a class and a name in what is read.
const BETWEEN: char = '\u{1f}';
/// How reports end that somebody has compressed.
const PACKED: [&str; 4] = [".xml.gz", ".xml.zst", ".xml.xz", ".xml.bz2"];
const UNPACK: &str = "gzip -d, zstd -d, xz -d or bzip2 -d unpacks it, and the XML is imported";
const JUNIT: &str = "a JUnit report is an XML file of <testcase>s, in UTF-8";
/// Of a report's texts nothing is wanted.
const TEXT: usize = 4 << 10;

pub fn run(args: &cli::Import) -> anyhow::Result<u8> {
    let place = Place::here()?;
    place.config.warnings.iter().for_each(warn);
    let state = State::open(args.state.state.as_deref(), &place)?.directory;
    // There is something to be asked here from now on.
    fs::create_dir_all(state.join("runs"))?;
    let history = History::open(&state.join("history.sqlite"))?;
    let project = args.project.clone().unwrap_or_else(|| place.project());
    let (mut runs, mut tests) = (0, 0);
    for path in &args.paths {
        if path.join("runs").is_dir() {
            let same = path.canonicalize().is_ok_and(|path| path == state);
            if same {
                return Err(usage(format!("{} is the state directory itself", path.display())));
            }
            let Imported { runs: learned, unreadable } =
                import(path, &history).map_err(|error| anyhow!("{error}"))?;
            unreadable.iter().for_each(|(run, why)| warn(format!("run {run} is left out: {why}")));
            runs += learned;
            continue;
        }
        for report in reports(path)? {
            match learn(&history, &project, &report, args.id.as_deref(), &place.directory)? {
                0 => warn(format!("{} has no test, and is left out\nhint: {JUNIT}", report.display())),
                learned => (runs, tests) = (runs + 1, tests + learned),
            }
        }
    }
    if runs == 0 {
        return Err(anyhow!("nothing is learned"));
    }
    let [runs, tests] = [runs, tests].map(|count| number(usize::try_from(count).unwrap_or(usize::MAX)));
    say!("learned from {}; {} of JUnit reports", count(runs, "run"), count(tests, "test"));
    Ok(0)
}

/// What is a run each: a file, a directory with XML files, and each directory below it that has some, the oldest first.
fn reports(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if path.is_file() {
        return match is_packed(path).with_context(|| format!("cannot read {}", path.display()))? {
            true => Err(usage(format!("{} is compressed\nhint: {UNPACK}", path.display()))),
            false => Ok(vec![path.to_owned()]),
        };
    }
    let (mut found, mut packed) = (Vec::new(), Vec::new());
    find(path, &mut found, &mut packed).with_context(|| format!("cannot read {}", path.display()))?;
    if !packed.is_empty() {
        let first = packed[0].display();
        let which = match packed.len() - 1 {
            0 => format!("{first} is compressed, and is left out"),
            more => format!(
                "{first} and {} are compressed, and are left out",
                count(number(more), "other report")
            ),
        };
        warn(format!("{which}\nhint: {UNPACK}"));
    }
    if found.is_empty() {
        return Err(usage(format!(
            "{} has neither XML files nor what a state directory has\nhint: name the directory of the reports, or a .seagull",
            path.display()
        )));
    }
    found.sort_by_key(|path| (written(path), path.clone()));
    Ok(found)
}

/// Whether a file begins as those of gzip and zstd do.
fn is_packed(path: &Path) -> std::io::Result<bool> {
    let mut begins = Vec::new();
    fs::File::open(path)?.take(4).read_to_end(&mut begins)?;
    Ok(begins.starts_with(&[0x1f, 0x8b]) || begins == [0x28, 0xb5, 0x2f, 0xfd])
}

/// Whether a file is called as a report is that was compressed.
fn is_called_packed(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    PACKED.iter().any(|ending| name.ends_with(ending))
}

/// The directories with reports, and the reports that are compressed.
fn find(directory: &Path, found: &mut Vec<PathBuf>, packed: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let mut has_reports = false;
    for entry in fs::read_dir(directory)? {
        let (path, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
        if kind.is_dir() {
            find(&path, found, packed)?;
        }
        if kind.is_file() && is_called_packed(&path) {
            packed.push(path.clone());
        }
        has_reports |= kind.is_file() && Report::is_called_one(&path);
    }
    if has_reports {
        found.push(directory.to_owned());
    }
    Ok(())
}

/// When a report, or the newest in a directory, was written, in Unix milliseconds.
fn written(path: &Path) -> u64 {
    let of = |path: &Path| {
        let at = path.metadata().and_then(|file| file.modified()).ok()?;
        Some(at.duration_since(UNIX_EPOCH).ok()?.as_millis() as u64)
    };
    match fs::read_dir(path) {
        Ok(entries) => {
            let files = entries.flatten().map(|entry| entry.path());
            let reports = files.filter(|path| Report::is_called_one(path));
            reports.filter_map(|path| of(&path)).max().unwrap_or_default()
        }
        Err(_) => of(path).unwrap_or_default(),
    }
}

fn learn(history: &History, project: &str, path: &Path, id: Option<&str>, top: &Path) -> anyhow::Result<u64> {
    let pattern = id.map_or_else(|| format!("{{classname}}{BETWEEN}{{name}}"), str::to_owned);
    let report = Report::read(path, &pattern, TEXT);
    if let Some(broken) = &report.broken {
        warn(format!("of {} only what is whole is learned from: {broken}", path.display()));
    }
    let cases: BTreeMap<String, Case> = report.cases.into_iter().collect();
    let named = |said: &str| if id.is_some() { said.to_owned() } else { as_pytest_calls_it(said, top) };
    let rows: Vec<_> = cases.iter().map(|(said, case)| (named(said), micros(case), verdict(case))).collect();
    let failed = rows.iter().any(|(.., verdict)| *verdict == Verdict::Failed);
    let text = serde_json::to_vec(
        &rows.iter().map(|(id, micros, verdict)| (id, micros, verdict.word())).collect::<Vec<_>>(),
    )?;
    let run: RunId =
        format!("junit-{}", &seagull_results::digest(&text).to_string()[..16]).parse().expect("it is an id");
    let ended = EndedRun {
        of: Lineage::trunk(project),
        run: &run,
        submitted_at: written(path),
        verdict: if failed { RunVerdict::Failed } else { RunVerdict::Passed },
        arguments: None,
        discovered: None,
        bundles: &[],
        setups: &[],
    };
    let tests = rows.len() as u64;
    if tests > 0 {
        history.record(&ended, rows.into_iter())?;
    }
    Ok(tests)
}

fn micros(case: &Case) -> Option<u64> {
    let executed = case.outcome != Outcome::Skipped;
    case.seconds.filter(|_| executed).map(|seconds| (seconds.min(1e6) * 1e6) as u64)
}

fn verdict(case: &Case) -> Verdict {
    match case.outcome {
        Outcome::Passed if case.flaky => Verdict::Flaky,
        Outcome::Passed => Verdict::Passed,
        Outcome::Failed => Verdict::Failed,
        Outcome::Skipped => Verdict::Skipped,
    }
}

/// `tests.unit.test_a.TestX` and `test_y[1]` as `tests/unit/test_a.py::TestX::test_y[1]`: the file is the longest that is
/// there, else all up to the first word that is called as classes are.
fn as_pytest_calls_it(said: &str, top: &Path) -> String {
    let (class, name) = said.split_once(BETWEEN).unwrap_or(("", said));
    let words: Vec<&str> = class.split('.').filter(|word| !word.is_empty()).collect();
    if words.is_empty() {
        return name.to_owned();
    }
    let file = |length: usize| format!("{}.py", words[..length].join("/"));
    let is_there = |length: &usize| {
        let safe = words[..*length].iter().all(|word| !word.contains(['/', '\0']));
        safe && top.join(file(*length)).is_file()
    };
    let guessed =
        words.iter().position(|word| word.starts_with(char::is_uppercase)).unwrap_or(words.len()).max(1);
    let length = (1..=words.len()).rev().find(is_there).unwrap_or(guessed);
    let classes = words[length..].iter().map(|class| format!("::{class}"));
    format!("{}{}::{name}", file(length), classes.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_called_as_pytest_calls_them() {
        let top = tempfile::tempdir().unwrap();
        fs::create_dir_all(top.path().join("tests/Unit")).unwrap();
        fs::write(top.path().join("tests/Unit/test_a.py"), "").unwrap();
        for (class, name, expected) in [
            ("tests.Unit.test_a", "test_x", "tests/Unit/test_a.py::test_x"),
            (
                "tests.Unit.test_a.TestX.TestY",
                "test_y[1.5]",
                "tests/Unit/test_a.py::TestX::TestY::test_y[1.5]",
            ),
            ("gone.test_b.TestX", "test_x", "gone/test_b.py::TestX::test_x"),
            ("TestX", "test_x", "TestX.py::test_x"),
            ("", "name", "name"),
        ] {
            let said = format!("{class}{BETWEEN}{name}");
            assert_eq!(as_pytest_calls_it(&said, top.path()), expected);
        }
    }
}
