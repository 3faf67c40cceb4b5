//! What a run looks like from outside: reporters that only consume its events. `Report` keeps the one tally and hands
//! each event to the reporter of the chosen output; the JUnit report is written from the tally at the end.

pub mod around;
mod choice;
mod ci;
mod export;
pub mod file;
mod held;
mod html;
mod human;
mod json;
mod junit;
mod left;
mod losses;
mod measured;
mod names;
mod narrator;
pub mod page;
mod plain;
mod record;
mod summary;
mod tally;
#[cfg(test)]
mod tests;
mod text;

use std::io::{self, IsTerminal, LineWriter};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use seagull_domain::{
    Attachment, ExecutorId, Instant, Manifest, RunId, SlotNumber, StreamItem, TestIndex, TextRef,
};
use seagull_proto::convert::Printed;

pub use around::Form;
pub use choice::{Color, Output};
pub use export::Exported;
pub use held::had;
pub use measured::partial;
use names::Names;
pub use tally::{Covered, Tally};
pub use text::{Paint, clean, count, duration, micros, number, one_line, times};

use crate::again::Again;
use crate::errors::Stderr;

const FILE_HINT: &str = "hint: --junit FILE or --html FILE names another; may it be written to?";
/// Bytes of files that are fetched for a page.
const MAX_LINKED: u64 = 1 << 30;
/// Texts of one report are fetched up to this many bytes together.
const MAX_TEXTS: u64 = 256 << 20;
/// Of a test's id before what it prints.
const PRINTED_WIDTH: usize = 60;

/// What a slot runs now. Not part of the stream: it is never replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    pub executor: ExecutorId,
    pub slot: SlotNumber,
    pub test: Option<TestIndex>,
}

/// The text that a reference names, where it can still be had.
pub type Texts<'a> = &'a dyn Fn(TextRef) -> Option<String>;

/// A sink of a run's events. The tally has counted the event already when a reporter is called.
pub trait Reporter: Send {
    fn item(&mut self, tally: &Tally, item: &StreamItem) -> io::Result<()>;

    /// A slot turned to another test.
    fn live(&mut self, _: &Tally, _: &Live) -> io::Result<()> {
        Ok(())
    }

    /// A test that runs has printed something.
    fn printed(&mut self, _: &Tally, printed: &Printed) -> io::Result<()> {
        let id = one_line(&printed.test, PRINTED_WIDTH);
        printed.text.lines().try_for_each(|line| self.say(&format!("{id} | {}", clean(line))))
    }

    /// Time passed.
    fn tick(&mut self, _: &Tally) -> io::Result<()> {
        Ok(())
    }

    /// Something a person should know that is no event of the run.
    fn say(&mut self, _: &str) -> io::Result<()> {
        Ok(())
    }

    /// Whether nobody reads what it writes any more.
    fn is_unread(&self) -> bool {
        false
    }

    /// Nothing follows.
    fn finish(&mut self, _: &Tally, _: &Closing) -> io::Result<()> {
        Ok(())
    }
}

/// What reporters need besides the tally to close.
pub struct Closing<'a> {
    pub texts: Texts<'a>,
    /// The reports that were written.
    pub written: &'a [(&'static str, &'a Path)],
    pub again: &'a Again,
}

pub struct Settings {
    pub output: Output,
    pub color: Color,
    pub files: Files,
    /// Whether events arrive as they happen, from the run's first; else nothing is said about durations.
    pub live: bool,
    pub again: Again,
}

/// Makes the text of a report in a file.
type Render = fn(&Tally, Texts, &Path) -> anyhow::Result<String>;

/// Where reports are written to, once the run has ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    pub junit: Option<PathBuf>,
    pub html: Option<PathBuf>,
}

impl Files {
    /// These, or where they are not set the others.
    pub fn or(self, others: Files) -> Files {
        Files { junit: self.junit.or(others.junit), html: self.html.or(others.html) }
    }

    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.junit.iter().chain(&self.html).map(PathBuf::as_path)
    }

    fn is_empty(&self) -> bool {
        self.paths().next().is_none()
    }
}

/// All reports of one run.
pub struct Report {
    tally: Tally,
    reporter: Box<dyn Reporter>,
    pub files: Files,
    again: Again,
}

impl Report {
    /// For this process: data to its standard output, everything else to its standard error.
    pub fn new(run: RunId, now: Instant, settings: Settings) -> Self {
        let terminal = io::stderr().is_terminal();
        let ci = ci::Log::here();
        let shown = terminal || ci.as_ref().is_some_and(ci::Log::has_colors);
        let paint = Paint { on: settings.color.on(settings.output.has_colors(shown)) };
        let reporter: Box<dyn Reporter> = match settings.output {
            Output::Json => Box::new(json::Json::new(io::stdout())),
            Output::Human if Output::is_live(terminal, ci.is_some()) => {
                Box::new(human::Human::on_stderr(paint))
            }
            Output::Human | Output::Plain => Box::new(plain::Plain::new(LineWriter::new(Stderr), paint, ci)),
        };
        Self::with(Tally::new(run, now, settings.live), reporter, settings.files, settings.again)
    }

    fn with(tally: Tally, reporter: Box<dyn Reporter>, files: Files, again: Again) -> Self {
        Self { tally, reporter, files, again }
    }

    /// The tests of the run. To be called before the event that confirms them.
    pub fn manifest(&mut self, manifest: Arc<Manifest>) {
        self.tally.manifest(manifest);
    }

    /// The tests that were expected. To be called before the event that names some of them.
    pub fn expected(&mut self, manifest: Arc<Manifest>) {
        self.tally.expected = Names::new(manifest);
    }

    pub fn item(&mut self, now: Instant, item: &StreamItem) -> io::Result<()> {
        self.tally.clock.now = now;
        self.tally.apply(item);
        self.reporter.item(&self.tally, item)
    }

    pub fn live(&mut self, now: Instant, live: &Live) -> io::Result<()> {
        self.tally.clock.now = now;
        if !self.tally.live(live) {
            return Ok(());
        }
        self.reporter.live(&self.tally, live)
    }

    pub fn printed(&mut self, printed: &Printed) -> io::Result<()> {
        self.reporter.printed(&self.tally, printed)
    }

    /// To be called about ten times a second.
    pub fn tick(&mut self, now: Instant) -> io::Result<()> {
        self.tally.clock.now = now;
        self.reporter.tick(&self.tally)
    }

    pub fn say(&mut self, text: &str) -> io::Result<()> {
        self.reporter.say(text)
    }

    pub fn is_unread(&self) -> bool {
        self.reporter.is_unread()
    }

    /// What a run that ended was to know of its suite's coverage.
    pub fn coverage(&self) -> Option<Covered> {
        self.tally.coverage()
    }

    /// The texts that `finish` will ask for, the most wanted first.
    pub fn texts(&self) -> Vec<TextRef> {
        let in_files = !self.files.is_empty();
        let failures = if in_files { usize::MAX } else { summary::IN_FULL };
        let errors = self.tally.suite_errors.iter().filter_map(|error| error.text);
        let failed = self.tally.tests.iter().filter(|test| test.is_failure()).take(failures);
        let flaky = self.tally.tests.iter().filter(|test| in_files && !test.is_failure());
        let texts = failed.chain(flaky).flat_map(|test| test.failures());
        let texts = texts.filter_map(|run| run.note.as_ref()?.text);
        let mut left = MAX_TEXTS;
        let fits = |text: &TextRef| {
            left = left.saturating_sub(u64::from(text.length));
            left > 0
        };
        errors.chain(texts).take_while(fits).collect()
    }

    /// What a page links to: files that tests have left, and where they are to be.
    pub fn linked(&self) -> Vec<(Attachment, PathBuf)> {
        let Some(page) = &self.files.html else { return Vec::new() };
        let directory = html::beside(page);
        let mut left = MAX_LINKED;
        let kept = around::left(&self.tally).filter(|left| left.attached.file.blob.is_some());
        let fits = |(file, _): &(Attachment, PathBuf)| {
            left = left.saturating_sub(file.bytes.max(1));
            left > 0
        };
        kept.map(|left| (left.attached.file.clone(), directory.join(left.place()))).take_while(fits).collect()
    }

    /// Writes the reports, then lets the reporter close. One that cannot be written is an error, but the summary is
    /// printed all the same.
    pub fn finish(mut self, now: Instant, texts: Texts) -> anyhow::Result<()> {
        self.tally.clock.now = now;
        let reports: [(_, _, Render); 2] =
            [("JUnit", &self.files.junit, junit::render), ("HTML", &self.files.html, html::render)];
        let mut written = Vec::new();
        let mut outcome = Ok(());
        for (name, path, render) in reports {
            let Some(path) = path.as_deref() else { continue };
            let failed = || format!("cannot write the {name} report {}\n{FILE_HINT}", path.display());
            let text = render(&self.tally, texts, path);
            match text.and_then(|text| file::write(&text, path)).with_context(failed) {
                Ok(()) => written.push((name, path)),
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        let closing = Closing { texts, written: &written, again: &self.again };
        self.reporter.finish(&self.tally, &closing)?;
        outcome
    }
}
