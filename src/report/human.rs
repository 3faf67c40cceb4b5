//! The live display of a terminal: a bar, a line for each slot, and what happened scrolling by above them.

use std::io::{self, LineWriter, Write};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use seagull_domain::{SlotNumber, StreamItem};
use terminal_size::terminal_size_of;

use super::narrator::{self, Narrator};
use super::plain::progress;
use super::tally::{SlotState, Tally};
use super::text::{Paint, duration, one_line};
use super::{Closing, Reporter, summary};
use crate::errors::Stderr;

/// So many slots have a line of their own.
const SLOT_LINES: usize = 8;
/// Columns of the bar at most, and at least where there is one.
const BAR_WIDTH: usize = 24;
const LEAST_BAR: usize = 8;
const ID_WIDTH: usize = 200;

pub struct Human<W> {
    screen: MultiProgress,
    /// How many there are at this moment.
    columns: fn() -> usize,
    lines: Vec<ProgressBar>,
    /// Where the summary goes once the display is gone.
    out: W,
    paint: Paint,
    narrator: Narrator,
}

impl Human<LineWriter<Stderr>> {
    pub fn on_stderr(paint: Paint) -> Self {
        let columns = || terminal_size_of(io::stderr()).map_or(usize::MAX, |(width, _)| width.0.into());
        Self::new(ProgressDrawTarget::stderr_with_hz(15), columns, LineWriter::new(Stderr), paint)
    }
}

impl<W: Write> Human<W> {
    pub fn new(target: ProgressDrawTarget, columns: fn() -> usize, out: W, paint: Paint) -> Self {
        let screen = MultiProgress::with_draw_target(target);
        Self { screen, columns, lines: Vec::new(), out, paint, narrator: Narrator::new(paint) }
    }

    fn draw(&mut self, tally: &Tally) {
        let frame = frame(tally, (self.columns)(), self.paint);
        while self.lines.len() > frame.len() {
            if let Some(line) = self.lines.pop() {
                self.screen.remove(&line);
            }
        }
        while self.lines.len() < frame.len() {
            let line = ProgressBar::new_spinner();
            let style = ProgressStyle::with_template("{wide_msg}").expect("the template is ours and valid");
            self.lines.push(self.screen.add(line.with_style(style)));
        }
        for (line, text) in self.lines.iter().zip(frame) {
            line.set_message(text);
        }
    }
}

impl<W: Write + Send> Reporter for Human<W> {
    fn item(&mut self, tally: &Tally, item: &StreamItem) -> io::Result<()> {
        match self.narrator.tell(tally, &item.event) {
            Some(text) => self.say(&text),
            None => Ok(()),
        }
    }

    fn tick(&mut self, tally: &Tally) -> io::Result<()> {
        if let Some(text) = self.narrator.waits(tally) {
            self.say(&text)?;
        }
        self.draw(tally);
        Ok(())
    }

    fn say(&mut self, text: &str) -> io::Result<()> {
        // As with all that is for people: a terminal that has gone is no trouble of the run.
        let _ = self.screen.println(text);
        Ok(())
    }

    fn finish(&mut self, tally: &Tally, closing: &Closing) -> io::Result<()> {
        self.lines.iter().for_each(ProgressBar::finish_and_clear);
        let _ = self.screen.clear();
        summary::write(&mut self.out, self.paint, None, tally, closing)?;
        self.out.flush()
    }
}

/// The lines of the display, the bar first.
pub fn frame(tally: &Tally, columns: usize, paint: Paint) -> Vec<String> {
    let mut lines = vec![bar(tally, columns, paint)];
    lines.extend(
        tally.slots.iter().take(SLOT_LINES).map(|(number, slot)| slot_line(tally, *number, slot, paint)),
    );
    if let Some(more) = tally.slots.len().checked_sub(SLOT_LINES).filter(|more| *more > 0) {
        lines.push(paint.dim(format!("  +{more} more slots")));
    }
    lines
}

fn slot_line(tally: &Tally, number: SlotNumber, slot: &SlotState, paint: Paint) -> String {
    let discovering = tally.discovering.is_some_and(|(_, at)| at == number);
    let what = match slot.test {
        Some(test) => one_line(&tally.names.id(test), ID_WIDTH),
        None if discovering => narrator::discovering(tally).to_owned(),
        None => paint.dim("waiting"),
    };
    // A waiting slot has no time of interest.
    let busy = slot.test.is_some() || discovering;
    let since = if busy { duration(tally.clock.now - slot.since) } else { String::new() };
    format!("  slot {number:<3} {since:>10}  {what}  {}", paint.dim(&slot.executor))
}

/// The bar has what the words leave of a line. Of a line that is too short for them they leave out the time that has gone.
fn bar(tally: &Tally, columns: usize, paint: Paint) -> String {
    let counts = tally.counts;
    if counts.total == 0 {
        let elapsed = tally.elapsed().map(duration).unwrap_or_default();
        return format!("{}  {elapsed}", narrator::discovering(tally));
    }
    let (done, mut times) = progress(tally);
    let words = |times: &[String]| [std::slice::from_ref(&done), times].concat().join(", ");
    if times.len() > 1 && words(&times).len() > columns {
        times.remove(0);
    }
    let words = words(&times);
    let width = BAR_WIDTH.min(columns.saturating_sub(words.len() + 1));
    if width < LEAST_BAR {
        return words;
    }
    let part = u64::from(counts.decided()) * width as u64 / u64::from(counts.total);
    let done = (part as usize).min(width);
    let full = "━".repeat(done);
    let full = if counts.failed > 0 { paint.bad(full) } else { paint.good(full) };
    let rest = paint.dim("─".repeat(width - done));
    format!("{full}{rest} {words}")
}
