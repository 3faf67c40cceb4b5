//! Reporters against scripted streams, compared with approved texts.
#![expect(clippy::disallowed_methods, reason = "what a reporter wrote is read by its test")]

mod around;
mod lost;
mod schema;
mod screens;
mod script;
mod tallies;
mod waits;

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use seagull_domain::Instant;

use crate::again::Again;
use crate::golden;

use super::tally::Tally;
use super::text::Paint;
use super::{Files, Report, Reporter, json, plain};
use script::Script;

/// A place to write to that the test can read.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Paper {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn report(reporter: impl Reporter + 'static, live: bool) -> Report {
    Report::with(
        Tally::new("r-7".parse().unwrap(), Instant(0), live),
        Box::new(reporter),
        Files::default(),
        Again::default(),
    )
}

/// What a reporter writes for a script.
fn output(script: &Script, live: bool, reporter: impl FnOnce(Paper) -> Box<dyn Reporter>) -> String {
    let paper = Paper::default();
    let tally = Tally::new("r-7".parse().unwrap(), Instant(0), live);
    let mut report = Report::with(tally, reporter(paper.clone()), Files::default(), Again::default());
    script::play(&mut report, script);
    let now = script.last().map_or(0, |(at, _)| *at);
    report.finish(Instant(now), &script::text).unwrap();
    paper.text()
}

fn plain_output(script: &Script, live: bool) -> String {
    output(script, live, |paper| Box::new(plain::Plain::new(paper, Paint::PLAIN, None)))
}

fn json_output(script: &Script) -> String {
    output(script, true, |paper| Box::new(json::Json::new(paper)))
}
