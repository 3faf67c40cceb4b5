//! The coverage of a run, once its tests are done: what workers told of it is combined and reported by coverage.py, with an
//! interpreter of this machine, and what is wrong with it is a suite error.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;

use anyhow::{Context, ensure};
use seagull_domain::{
    Manifest, RunEvent, RunSpec, RunVerdict, StreamItem, SuiteError, TestIndex, TextRef, Workspace,
};
use seagull_executor::interpreter;
use serde::Deserialize;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::Start;
use super::screen::Screen;
use crate::client::{Client, Notice};
use crate::report;

const SCRIPT: &str = include_str!("coverage.py");
/// Of a run that selects.
const OF_A_PART: &str = "coverage is that of the selected tests alone, and is judged as such: a whole run says what the suite covers";
/// The exit code of a run with a suite error.
const FAILED: u8 = 100;
/// Bytes of one text, which was a line of an adapter, and of all together; what is over them counts as lost.
const TEXT_BYTES: u64 = 16 << 20;
const ALL_BYTES: u64 = 2 << 30;
/// What a text counts at the least, for its place is remembered.
const LEAST_BYTES: u64 = 1 << 10;

/// Listens to a run, and has its coverage reported: when the run waits for what is wrong with it, or, of one that does
/// not, before its end is told.
pub struct Coverage {
    /// Where the suite is here.
    directory: PathBuf,
    /// As it was asked for: nobody else may say what is started here.
    spec: RunSpec,
    /// Whose files ran, if it was not the work tree's.
    revision: Option<String>,
    /// Of a suite that measures its coverage.
    manifest: Option<Arc<Manifest>>,
    executed: BTreeSet<TestIndex>,
    /// What workers told, and how much it is.
    told: Vec<TextRef>,
    bytes: u64,
    /// The run waits, or has waited, for what is wrong with it.
    awaited: bool,
}

/// Each step of a combination may warn of the same.
fn distinct(warnings: &[String]) -> impl Iterator<Item = &String> {
    let mut told = BTreeSet::new();
    warnings.iter().filter(move |warning| told.insert(*warning))
}

/// What the script answers.
#[derive(Debug, Deserialize)]
struct Answer {
    report: String,
    problem: Option<String>,
    warnings: Vec<String>,
    /// The tests whose coverage is in it.
    tests: BTreeSet<u32>,
}

impl Coverage {
    /// None for a part of a run once more, which says nothing of the whole suite.
    pub(super) fn of(start: &Start, spec: &RunSpec) -> Option<Coverage> {
        if start.base.is_some() {
            return None;
        }
        let (directory, revision) = (start.place.directory.clone(), start.args.at.rev.clone());
        let (manifest, executed, told, bytes, awaited) = Default::default();
        Some(Coverage { directory, spec: spec.clone(), revision, manifest, executed, told, bytes, awaited })
    }

    /// Passes a notice on. Before the end of a run that nobody judged its coverage is reported, and a problem with it is
    /// added as a suite error that the end counts: as it is told here, for what has ended does not change.
    pub async fn pass(
        &mut self,
        mut notice: Notice,
        client: &Client,
        screen: &mut Screen,
    ) -> anyhow::Result<Notice> {
        match &mut notice {
            Notice::Manifest(manifest) => {
                self.manifest = Some(manifest.clone()).filter(|manifest| manifest.asked.coverage.is_some());
            }
            Notice::Items(items) => {
                items.iter().for_each(|item| self.learn(&item.event));
                if let Some(note) = self.note(items) {
                    screen.say(note)?;
                }
                if let Some(verdict) = items.iter().find_map(worth_reporting).filter(|_| !self.awaited)
                    && let Some(problem) = self.report(verdict != RunVerdict::Passed, client, screen).await?
                    && let Some(problem) = add(items, problem)
                {
                    warn(screen, &problem)?;
                }
            }
            _ => {}
        }
        Ok(notice)
    }

    /// Shows the report; what the run, which comes to this verdict, fails by.
    pub async fn judge(
        &self,
        verdict: RunVerdict,
        client: &Client,
        screen: &mut Screen,
    ) -> anyhow::Result<Vec<SuiteError>> {
        let problem = self.report(verdict != RunVerdict::Passed, client, screen).await?;
        match problem.map(|problem| weigh(verdict, problem)) {
            None => Ok(Vec::new()),
            Some(Ok(error)) => Ok(vec![error]),
            Some(Err(problem)) => warn(screen, &problem).map(|()| Vec::new()),
        }
    }

    /// Of a part of the suite, once it has ended.
    fn note(&self, items: &[StreamItem]) -> Option<&'static str> {
        let ended = items.iter().any(|item| matches!(item.event, RunEvent::RunFinished { .. }));
        (ended && self.manifest.is_some() && !self.spec.select.is_empty()).then_some(OF_A_PART)
    }

    fn learn(&mut self, event: &RunEvent) {
        match event {
            RunEvent::TestFinished { result, .. } if self.manifest.is_some() => {
                self.executed.insert(result.test);
            }
            RunEvent::JudgementAwaited { .. } => self.awaited = true,
            RunEvent::Coverage { data, .. } => {
                if let Some(bytes) = with(self.bytes, u64::from(data.length)) {
                    self.bytes = bytes;
                    self.told.push(*data);
                }
            }
            _ => {}
        }
    }

    /// Shows the report; returns what is wrong.
    async fn report(
        &self,
        failed: bool,
        client: &Client,
        screen: &mut Screen,
    ) -> anyhow::Result<Option<String>> {
        let Some(manifest) = &self.manifest else { return Ok(None) };
        let answer = match self.combine(manifest, failed, client).await {
            Ok(answer) => answer,
            Err(error) => return Ok(Some(format!("it cannot be combined: {error:#}"))),
        };
        if let Some(revision) = &self.revision {
            screen.say(&format!(
                "warning: coverage: the sources are those of the work tree here, not of {revision}"
            ))?;
        }
        for warning in distinct(&answer.warnings) {
            screen.say(&format!("warning: coverage: {}", report::clean(warning)))?;
        }
        if !answer.report.is_empty() {
            screen.say(report::clean(&answer.report).trim_end())?;
        }
        let lost = self.lost(manifest, &answer);
        if let Some(partial) = report::partial(&lost) {
            screen.say(&format!("warning: {}", report::clean(&partial)))?;
        }
        Ok(answer.problem.map(|problem| match lost.is_empty() {
            true => problem,
            false => format!("{problem}, but it is partial: data of tests are lost"),
        }))
    }

    /// The tests that ran and whose coverage nobody told.
    fn lost(&self, manifest: &Manifest, answer: &Answer) -> Vec<String> {
        let is_lost = |test: TestIndex| self.executed.contains(&test) && !answer.tests.contains(&test.0);
        let ids = (0..).map(TestIndex).zip(manifest.ids());
        ids.filter(|(test, _)| is_lost(*test)).map(|(_, id)| id).collect()
    }

    async fn combine(&self, manifest: &Manifest, failed: bool, client: &Client) -> anyhow::Result<Answer> {
        let folder = tempfile::tempdir().context("there is no place for it")?;
        let told = folder.path().join("told");
        self.fetch(client, &told).await.with_context(|| told.display().to_string())?;
        let (python, inside) = self.place(manifest)?;
        let asked = json!({
            "arguments": self.spec.arguments,
            "folder": folder.path(),
            "told": told,
            "inside": inside,
            "trusted": inside.is_none(),
            "failed": failed,
        });
        let mut command = Command::new(&python);
        command.args(["-c", SCRIPT]).envs(&self.spec.suite.variables).current_dir(&self.directory);
        // They would have the combination itself measured.
        command.env_remove("COVERAGE_PROCESS_START").env_remove("COVERAGE_PROCESS_CONFIG");
        if inside.is_some() {
            // It is not sent to executors either.
            command.env_remove("PYTEST_ADDOPTS");
        }
        let output = answer(&mut command, asked.to_string().as_bytes()).await;
        let output = output.with_context(|| format!("cannot run {}", python.display()))?;
        let words = String::from_utf8_lossy(&output.stderr);
        let last = words.trim_end().lines().last().unwrap_or("it said nothing");
        let hint =
            format!("hint: {} is asked; it needs pytest-cov and the suite's plugins", python.display());
        ensure!(output.status.success(), "{last}\n{hint}");
        serde_json::from_slice(&output.stdout).context("its answer cannot be read")
    }

    /// An interpreter of this machine, which executors may name only if they are here; and if they are not, where the
    /// suite is in its repository.
    fn place(&self, manifest: &Manifest) -> anyhow::Result<(PathBuf, Option<&str>)> {
        Ok(match &self.spec.workspace {
            Workspace::InPlace { .. } => {
                (manifest.asked.coverage.as_deref().unwrap_or_default().into(), None)
            }
            Workspace::Artifact { directory, .. } => {
                (interpreter::find("", &self.directory)?, Some(directory))
            }
        })
    }

    /// Writes what workers told into a file, a text a line. What cannot be had is lost.
    async fn fetch(&self, client: &Client, path: &Path) -> std::io::Result<()> {
        let mut file = BufWriter::new(File::create(path)?);
        let mut written = Ok(());
        let write = |_, text: Result<String, crate::client::Error>| {
            if let (Ok(text), true) = (text, written.is_ok()) {
                written = writeln!(file, "{}", json!(text));
            }
        };
        client.texts(&self.spec.id, self.told.clone(), write).await;
        written?;
        file.flush()
    }
}

/// So many bytes with a text of this length, unless it is not to be read: executors may claim anything, and empty texts
/// without end.
fn with(bytes: u64, length: u64) -> Option<u64> {
    let sum = bytes + length.max(LEAST_BYTES);
    (length <= TEXT_BYTES && sum <= ALL_BYTES).then_some(sum)
}

/// The run's verdict, if this is its end and tests ran to it.
fn worth_reporting(item: &StreamItem) -> Option<RunVerdict> {
    match &item.event {
        RunEvent::RunFinished { verdict, counts, .. } if counts.total > 0 => {
            Some(*verdict).filter(|verdict| *verdict != RunVerdict::Cancelled)
        }
        _ => None,
    }
}

fn warn(screen: &mut Screen, problem: &str) -> anyhow::Result<()> {
    screen.say(&format!("warning: coverage: {}", report::clean(problem)))
}

/// The suite error that a run of this verdict fails by. An incomplete one does not, for losses are not failures: what is
/// wrong is handed back.
fn weigh(verdict: RunVerdict, message: String) -> Result<SuiteError, String> {
    match verdict {
        RunVerdict::Incomplete => Err(message),
        _ => Ok(SuiteError { title: "coverage".to_owned(), message, text: None }),
    }
}

/// Adds a suite error before the end of the run, which fails by it; hands back what it does not fail by.
fn add(items: &mut Vec<StreamItem>, message: String) -> Option<String> {
    let place = items.iter().position(|item| matches!(item.event, RunEvent::RunFinished { .. }))?;
    let RunEvent::RunFinished { verdict, exit_code, .. } = &mut items[place].event else { return None };
    let error = match weigh(*verdict, message) {
        Ok(error) => error,
        Err(message) => return Some(message),
    };
    (*verdict, *exit_code) = (RunVerdict::Failed, FAILED);
    let event = RunEvent::SuiteError { error, executor: None };
    items.insert(place, StreamItem { seq: items[place].seq, event });
    None
}

/// What a program answers to its input; killed if nobody waits any more.
async fn answer(command: &mut Command, input: &[u8]) -> std::io::Result<Output> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that ends without reading says by its end what is wrong.
        let _ = stdin.write_all(input).await;
    }
    child.wait_with_output().await
}

#[cfg(test)]
mod tests {
    use seagull_domain::{Counts, Seq};

    use super::*;

    fn end(verdict: RunVerdict, exit_code: u8, total: u32) -> StreamItem {
        let counts = Counts { total, ..Counts::default() };
        StreamItem { seq: Seq(7), event: RunEvent::RunFinished { verdict, counts, exit_code } }
    }

    #[test]
    fn a_problem_is_a_suite_error_and_the_run_fails_by_it_unless_it_is_incomplete() {
        for (verdict, code) in [(RunVerdict::Passed, 0), (RunVerdict::Failed, 100)] {
            let mut items = vec![end(verdict, code, 1)];
            assert_eq!(add(&mut items, "too little".into()), None);
            let RunEvent::SuiteError { error, executor: None } = &items[0].event else { panic!("{items:?}") };
            assert_eq!((error.title.as_str(), error.message.as_str()), ("coverage", "too little"));
            assert_eq!(items[1..], [end(RunVerdict::Failed, 100, 1)]);
            assert_eq!(items[0].seq, Seq(7));
        }
        let mut items = vec![end(RunVerdict::Incomplete, 101, 1)];
        assert_eq!(add(&mut items, "too little".into()).unwrap(), "too little");
        assert_eq!(items, [end(RunVerdict::Incomplete, 101, 1)]);
    }

    #[test]
    fn a_run_without_tests_or_an_end_of_its_own_has_no_coverage() {
        assert_eq!(worth_reporting(&end(RunVerdict::Failed, 100, 1)), Some(RunVerdict::Failed));
        assert_eq!(worth_reporting(&end(RunVerdict::Cancelled, 130, 1)), None);
        assert_eq!(worth_reporting(&end(RunVerdict::Incomplete, 101, 0)), None);
    }

    #[test]
    fn what_is_read_is_bounded() {
        assert_eq!(with(0, TEXT_BYTES), Some(TEXT_BYTES));
        assert_eq!(with(ALL_BYTES - LEAST_BYTES, 0), Some(ALL_BYTES));
        assert_eq!((with(0, TEXT_BYTES + 1), with(ALL_BYTES - LEAST_BYTES + 1, 0)), (None, None));
    }
}
