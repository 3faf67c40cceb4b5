//! Processes that tests have left: what they were, in words and for programs.

use std::cmp::Reverse;

use seagull_domain::{Leftover, TestIndex};
use serde::Serialize;

use super::tally::Tally;
use super::text::one_line;

const WIDTH: usize = 200;

#[derive(Serialize)]
pub struct LeftObject<'a> {
    /// None where it is all the others.
    command: Option<&'a str>,
    processes: u32,
    ports: &'a [u16],
    phase: Option<&'a str>,
}

impl<'a> LeftObject<'a> {
    pub fn of(left: &'a Leftover) -> LeftObject<'a> {
        let filled = |text: &'a String| Some(text.as_str()).filter(|text| !text.is_empty());
        let (command, phase) = (filled(&left.command), filled(&left.phase));
        LeftObject { command, processes: left.processes, ports: &left.ports, phase }
    }
}

/// `sleep 60 (2 processes), listening at 8080; begun in its call`
pub fn what(left: &Leftover) -> String {
    let mut told = match (left.command.as_str(), left.processes) {
        ("", 1) => "1 other process".to_owned(),
        ("", more) => format!("{more} other processes"),
        (command, 1) => one_line(command, WIDTH),
        (command, more) => format!("{} ({more} processes)", one_line(command, WIDTH)),
    };
    if !left.ports.is_empty() {
        let ports: Vec<String> = left.ports.iter().map(u16::to_string).collect();
        told += &format!(", listening at {}", ports.join(", "));
    }
    if !left.phase.is_empty() {
        told += &format!("; begun in its {}", one_line(&left.phase, WIDTH));
    }
    told
}

/// Those that count the most: what listens may be in somebody's way, then what there is more of. The first so many, and how
/// many there are.
pub fn worst(tally: &Tally, most: usize) -> (Vec<String>, usize) {
    let mut all: Vec<&(Option<TestIndex>, Leftover)> = tally.left.iter().collect();
    all.sort_by_key(|(_, left)| Reverse((left.ports.len(), left.processes)));
    let told = all.iter().take(most).map(|(test, left)| match test {
        Some(test) => format!("{}: {}", one_line(&tally.names.id(*test), WIDTH), what(left)),
        None => format!("not known whose: {}", what(left)),
    });
    (told.collect(), all.len())
}
