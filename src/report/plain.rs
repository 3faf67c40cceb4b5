//! Plain lines for a log that nobody may watch: no cursor, no bar, one line for each thing that happened.

use std::io::{self, Write};
use std::time::Duration;

use seagull_domain::{Instant, RunEvent, StreamItem};

use super::ci::{Lines, Log};
use super::narrator::Narrator;
use super::tally::Tally;
use super::text::{Paint, duration};
use super::{Closing, Reporter, summary};

/// A line of progress comes when so much time has passed, or so much more is done, though never in a burst.
const EVERY: Duration = Duration::from_secs(10);
const STEP_PERCENT: u32 = 5;
const AT_MOST_EVERY: Duration = Duration::from_secs(1);

pub struct Plain<W> {
    out: W,
    paint: Paint,
    ci: Option<Log>,
    narrator: Narrator,
    /// When the last line of progress was written, and how many tests were decided then.
    last: (Instant, u32),
}

impl<W: Write> Plain<W> {
    pub fn new(out: W, paint: Paint, ci: Option<Log>) -> Self {
        Self { out, paint, ci, narrator: Narrator::new(paint), last: (Instant::default(), 0) }
    }

    fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(Lines::new(&mut self.out, self.ci.as_ref()), "{text}")
    }

    fn progress(&mut self, tally: &Tally) -> io::Result<()> {
        let (when, before) = self.last;
        let (done, total) = (tally.counts.decided(), tally.counts.total);
        if done == before || tally.end.is_some() || tally.plan.is_none() {
            return Ok(());
        }
        let step = percent(done, total) / STEP_PERCENT > percent(before, total) / STEP_PERCENT;
        let passed = tally.clock.now - when;
        if done < total && (passed < AT_MOST_EVERY || (!step && passed < EVERY)) {
            return Ok(());
        }
        self.last = (tally.clock.now, done);
        writeln!(self.out, "{}", progress_line(tally))
    }
}

impl<W: Write + Send> Reporter for Plain<W> {
    fn item(&mut self, tally: &Tally, item: &StreamItem) -> io::Result<()> {
        if matches!(item.event, RunEvent::Plan(_)) {
            self.last = (tally.clock.now, 0);
        }
        if let Some(text) = self.narrator.tell(tally, &item.event) {
            self.line(&text)?;
        }
        self.progress(tally)
    }

    fn tick(&mut self, tally: &Tally) -> io::Result<()> {
        if let Some(text) = self.narrator.waits(tally) {
            self.line(&text)?;
        }
        for text in self.narrator.runs_on(tally) {
            self.line(&text)?;
        }
        self.progress(tally)
    }

    fn say(&mut self, text: &str) -> io::Result<()> {
        self.line(text)
    }

    fn finish(&mut self, tally: &Tally, closing: &Closing) -> io::Result<()> {
        summary::write(&mut self.out, self.paint, self.ci.as_ref(), tally, closing)?;
        self.out.flush()
    }
}

/// ` 35 %  2417/6908, 2 failed, 1 flaky, 20 s, about 37 s left`
pub fn progress_line(tally: &Tally) -> String {
    let (counts, times) = progress(tally);
    [&[counts], times.as_slice()].concat().join(", ")
}

/// How many are done, and the time that has gone and that is left, as far as it is known.
pub fn progress(tally: &Tally) -> (String, Vec<String>) {
    let counts = tally.counts;
    let mut text =
        format!("{:>3} %  {}/{}", percent(counts.decided(), counts.total), counts.decided(), counts.total);
    for (number, word) in
        [(counts.failed, "failed"), (counts.flaky, "flaky"), (counts.not_executed, "not executed")]
    {
        if number > 0 {
            text += &format!(", {number} {word}");
        }
    }
    let left = tally.remaining().map(|remaining| format!("about {} left", duration(remaining)));
    (text, tally.elapsed().map(duration).into_iter().chain(left).collect())
}

fn percent(part: u32, whole: u32) -> u32 {
    u32::try_from(u64::from(part) * 100 / u64::from(whole.max(1))).unwrap_or(100)
}
