//! The report of a run, with a clock: what the reporters are told, and when.
#![expect(clippy::disallowed_methods, reason = "a shell: the reporters are told the time")]

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant as Moment;

use anyhow::Context;
use seagull_domain::{Instant, Manifest, RunId, StreamItem, TextRef};
use seagull_proto::convert::LiveSlot;

use crate::client::{Client, Error, Notice};
use crate::errors::{self, say};
use crate::report::{Files, Live, Output, Report, Settings, clean, count, partial};
use crate::written::Written;

const TOLD: &str = "cannot tell of the run";

pub struct Screen {
    report: Report,
    origin: Moment,
    /// Programs get events only; what is for people goes beside them.
    for_programs: bool,
    asked: Asked,
}

/// What becomes of the reports that the suite itself asks for.
enum Asked {
    /// Nothing: it is of the command that began the run.
    Left,
    /// It is written, and its place noted there.
    Written(Written),
    /// It cannot be written, which is said.
    Refused,
}

/// Texts by where they lie: log, offset, length.
type Fetched = HashMap<(u64, u64, u32), String>;

impl Screen {
    pub fn new(run: RunId, settings: Settings) -> Screen {
        let for_programs = settings.output == Output::Json;
        let report = Report::new(run, Instant(0), settings);
        Screen { report, origin: Moment::now(), for_programs, asked: Asked::Left }
    }

    /// The tests run in this tree: the report that the suite itself asks for is written, and its place noted there.
    #[must_use]
    pub fn in_place(self, note: Written) -> Screen {
        Screen { asked: Asked::Written(note), ..self }
    }

    /// The tests run on other machines.
    #[must_use]
    pub fn elsewhere(self) -> Screen {
        Screen { asked: Asked::Refused, ..self }
    }

    /// Shows what is news.
    pub fn show(&mut self, notice: &Notice) -> anyhow::Result<()> {
        match notice {
            Notice::Manifest(manifest) => self.manifest(manifest)?,
            Notice::Expected(manifest) => self.report.expected(manifest.clone()),
            Notice::Items(items) => self.items(items)?,
            Notice::Live(slots) => self.live(slots)?,
            Notice::Printed(printed) => self.report.printed(printed).context(TOLD)?,
            Notice::Waiting(word) => self.say(word)?,
            Notice::Said(word) => self.say(&format!("the scheduler says: {}", clean(word)))?,
            Notice::Disconnected(why) => self.say(&format!("reconnecting: {}", without_hints(why)))?,
            Notice::Reconnected => self.say("connected again")?,
            Notice::Failed(_) => {}
        }
        Ok(())
    }

    fn manifest(&mut self, manifest: &Arc<Manifest>) -> anyhow::Result<()> {
        self.report.manifest(manifest.clone());
        let path = |path: &Option<String>| path.as_ref().map(PathBuf::from);
        let wanted = Files { junit: path(&manifest.asked.junit), html: path(&manifest.asked.html) };
        let given = self.report.files.clone();
        let files = given.clone().or(wanted.clone());
        if files == given {
            return Ok(());
        }
        match &self.asked {
            Asked::Left => {}
            Asked::Written(note) => {
                note.add(wanted.paths());
                self.report.files = files;
            }
            Asked::Refused => {
                self.say("warning: --junitxml and --html are not written where tests run; use --junit FILE, --html FILE")?;
            }
        }
        Ok(())
    }

    fn items(&mut self, items: &[StreamItem]) -> anyhow::Result<()> {
        let now = self.now();
        items.iter().try_for_each(|item| self.report.item(now, item)).context(TOLD)
    }

    fn live(&mut self, slots: &[LiveSlot]) -> anyhow::Result<()> {
        let now = self.now();
        for LiveSlot { executor, slot, test } in slots {
            let live = Live { executor: executor.clone(), slot: *slot, test: *test };
            self.report.live(now, &live).context(TOLD)?;
        }
        Ok(())
    }

    pub fn tick(&mut self) -> anyhow::Result<()> {
        self.report.tick(self.now()).context(TOLD)
    }

    pub fn say(&mut self, text: &str) -> anyhow::Result<()> {
        if self.for_programs {
            say!("{text}");
            return Ok(());
        }
        self.report.say(text).context(TOLD)
    }

    /// Whether nobody reads the events any more.
    pub fn is_unread(&self) -> bool {
        self.report.is_unread()
    }

    /// Fetches what failing tests printed, and writes all reports.
    pub async fn finish(self, client: &Client, run: &RunId) -> anyhow::Result<()> {
        let fetched = fetch(client, run, self.report.texts()).await;
        for (file, path) in self.report.linked() {
            if let Err(error) = client.attachment(run, &file, &path).await {
                errors::warn(clean(&format!("{}: {error:#}", path.display())));
            }
        }
        let now = self.now();
        // Whoever reports it has said so.
        let covered = self.report.coverage().filter(|_| matches!(self.asked, Asked::Left));
        self.report.finish(now, &|text| fetched.get(&key(text)).cloned())?;
        let Some(covered) = covered else { return Ok(()) };
        if let Some(partial) = partial(&covered.lost) {
            errors::warn(clean(&partial));
        }
        if !covered.judged {
            errors::warn(format!(
                "nobody judged the coverage of run {run}\n\
                 hint: the command that began it, without --detach and with --run-id {run}, reports and judges it"
            ));
        }
        Ok(())
    }

    fn now(&self) -> Instant {
        Instant(u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

fn key(text: TextRef) -> (u64, u64, u32) {
    (text.log.0, text.offset, text.length)
}

fn without_hints(text: &str) -> String {
    text.lines().filter(|line| !line.starts_with("hint: ")).collect::<Vec<_>>().join("; ")
}

/// What cannot be had is left out, and said.
async fn fetch(client: &Client, run: &RunId, texts: Vec<TextRef>) -> Fetched {
    let mut fetched = Fetched::new();
    let mut trouble = None;
    let mut missing = 0;
    let take = |text, read: Result<String, Error>| match read {
        Ok(content) => drop(fetched.insert(key(text), content)),
        Err(error) => (missing, trouble) = (missing + 1, Some(error.to_string())),
    };
    client.texts(run, texts, take).await;
    if let Some(trouble) = trouble {
        errors::warn(format!(
            "{} of failures cannot be read: {}",
            count(missing, "text"),
            without_hints(&trouble)
        ));
    }
    fetched
}
