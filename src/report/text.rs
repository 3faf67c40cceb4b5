//! Text for people: durations in words, colours, and what tests print made harmless for a terminal.

use std::fmt::Display;
use std::time::Duration;

use seagull_domain::{Counts, RunVerdict};

/// Colours, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paint {
    pub on: bool,
}

impl Paint {
    pub const PLAIN: Paint = Paint { on: false };

    fn wrap(self, code: &str, text: impl Display) -> String {
        if self.on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }

    pub fn bold(self, text: impl Display) -> String {
        self.wrap("1", text)
    }

    pub fn dim(self, text: impl Display) -> String {
        self.wrap("2", text)
    }

    pub fn bad(self, text: impl Display) -> String {
        self.wrap("1;31", text)
    }

    pub fn good(self, text: impl Display) -> String {
        self.wrap("1;32", text)
    }

    pub fn odd(self, text: impl Display) -> String {
        self.wrap("1;33", text)
    }

    /// A word with the colour of what it says.
    pub fn verdict(self, word: &str) -> String {
        match word.trim_end() {
            "passed" => self.good(word),
            "failed" => self.bad(word),
            "skipped" => self.dim(word),
            _ => self.odd(word),
        }
    }

    pub fn run_verdict(self, verdict: Option<RunVerdict>) -> String {
        self.verdict(verdict.map_or("unfinished", RunVerdict::word))
    }
}

/// A duration with about two significant digits: `0.04 s`, `3.2 s`, `58 s`, `1 min 4 s`, `2 h 10 min`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    let whole = seconds.round() as u64;
    if seconds < 0.995 {
        format!("{seconds:.2} s")
    } else if seconds < 9.95 {
        format!("{seconds:.1} s")
    } else if whole < 60 {
        format!("{whole} s")
    } else if whole < 3600 {
        format!("{} min {} s", whole / 60, whole % 60)
    } else {
        format!("{} h {} min", whole / 3600, whole % 3600 / 60)
    }
}

pub fn millis(millis: u64) -> String {
    duration(Duration::from_millis(millis))
}

pub fn micros(micros: u64) -> String {
    duration(Duration::from_micros(micros))
}

/// `1 test`, `2 tests`.
pub fn count(number: u32, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// `once`, `2 times`.
pub fn times(number: u32) -> String {
    if number == 1 { "once".to_owned() } else { format!("{number} times") }
}

/// A length as it is counted.
pub fn number(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// `3 passed, 2 failed`; `open` is the word for tests without a verdict.
pub fn parts(counts: &Counts, open: &str) -> String {
    let parts = [
        (counts.passed, "passed"),
        (counts.failed, "failed"),
        (counts.flaky, "flaky"),
        (counts.quarantined, "quarantined"),
        (counts.skipped, "skipped"),
        (counts.not_executed, "not executed"),
        (counts.open(), open),
    ];
    let parts = parts.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}"));
    parts.collect::<Vec<_>>().join(", ")
}

/// Text without escape sequences and control characters (lines and tabs stay): what a test prints must not be able to
/// move the cursor, name the window or hide a line.
pub fn clean(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '\x1b' => skip_escape(&mut rest),
            '\n' | '\t' => cleaned.push(character),
            '\r' if rest.peek() != Some(&'\n') => cleaned.push('\n'),
            _ if !character.is_control() => cleaned.push(character),
            _ => {}
        }
    }
    cleaned
}

/// Passes the rest of an escape sequence (ECMA-48: CSI to its final byte, OSC and the like to their terminator, else
/// one character).
fn skip_escape(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match rest.next() {
        Some('[') => while rest.next().is_some_and(|c| !('\x40'..='\x7e').contains(&c)) {},
        Some(']' | 'P' | '_' | '^' | 'X') => {
            while let Some(character) = rest.next() {
                if character == '\x07' {
                    break;
                }
                if character == '\x1b' {
                    rest.next();
                    break;
                }
            }
        }
        _ => {}
    }
}

/// Text on one line of at most `limit` characters; the middle goes, since ids differ at their ends.
pub fn one_line(text: &str, limit: usize) -> String {
    let line = clean(text).trim_end().replace('\n', "\\n").replace('\t', " ");
    let length = line.chars().count();
    if length <= limit {
        return line;
    }
    let head = limit / 2;
    let tail = limit - head - 1;
    let start: String = line.chars().take(head).collect();
    let end: String = line.chars().skip(length - tail).collect();
    format!("{start}…{end}")
}

/// A message on one line: its lines one after the other.
pub fn message(text: &str, limit: usize) -> String {
    let text = clean(text);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let joined = lines.fold(String::new(), |joined, line| {
        let between = match joined.chars().next_back() {
            None => "",
            Some(':' | ';' | ',' | '.') => " ",
            Some(_) => "; ",
        };
        joined + between + line
    });
    one_line(&joined, limit)
}

/// The words of a text without its times of day, durations and rates: what two tellings of the same have in common.
pub fn timeless(text: &str) -> String {
    const UNITS: [&str; 9] = ["ms", "s", "sec", "seconds", "m", "min", "minutes", "h", "hours"];
    let is_unit = |word: &str| UNITS.contains(&word) || word.ends_with("/s");
    let bare = |word: &'_ &str| word.trim_matches(|c: char| c.is_ascii_punctuation()).to_owned();
    let words: Vec<&str> = text.split_whitespace().collect();
    let is_time = |place: usize| {
        let (word, next) = (bare(&words[place]), words.get(place + 1).map(bare));
        let letters = word.replace(|c: char| c.is_ascii_digit() || ".,:".contains(c), "");
        let is_clock = word.contains(':') && !word.contains('.');
        let is_number = letters.is_empty() && (is_clock || next.is_some_and(|next| is_unit(&next)));
        letters.len() < word.len() && (is_number || is_unit(&letters))
    };
    let kept = (0..words.len()).filter(|place| !is_time(*place)).map(|place| words[place]);
    kept.collect::<Vec<_>>().join(" ")
}

/// Of what was lost, a sentence with the last lines of a log below it: without what differs each time that it happens. That
/// is all numbers of the log, and in the sentence, besides times, those in the name of a worker.
pub fn last_words(text: &str) -> String {
    let (sentence, log) = text.split_once('\n').unwrap_or((text, ""));
    let without_numbers = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "");
    let words = timeless(sentence);
    let words = words.split(' ').map(|word| match word.contains("-gw") {
        true => without_numbers(word),
        false => word.to_owned(),
    });
    format!("{}\n{}", words.collect::<Vec<_>>().join(" "), without_numbers(log))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well_at_every_size() {
        let table = [
            (0, "0.00 s"),
            (40, "0.04 s"),
            (996, "1.0 s"),
            (3_200, "3.2 s"),
            (59_400, "59 s"),
            (59_600, "1 min 0 s"),
            (118_000, "1 min 58 s"),
            (725_000, "12 min 5 s"),
            (3_600_000, "1 h 0 min"),
            (7_800_000, "2 h 10 min"),
        ];
        for (given, words) in table {
            assert_eq!(millis(given), words);
        }
    }

    #[test]
    fn what_differs_in_its_times_alone_says_the_same() {
        let told = |after: &str, rate: &str, eta: &str| {
            format!(
                "setup failed, exit code 1 after {after}:\n 62.0/62.0 kB {rate} MB/s eta {eta}\nno package a==2"
            )
        };
        assert_eq!(timeless(&told("6.4 s", "3.1", "0:00:01")), timeless(&told("7.25 s", "12", "0:00:00")));
        assert_eq!(timeless("resolved 4 packages in 12ms"), "resolved 4 packages in");
        for said in ["exit code 1", "a.py:12: in test_5s", "version 1.2", "at 127.0.0.1:80", "line 3, in f"] {
            assert_eq!(timeless(said), said);
        }
    }

    #[test]
    fn last_words_are_the_same_whenever_they_are_said() {
        let of = |service: &str, code: u32, at: &str, pid: u32| {
            format!("{service} ended: exit code {code}; it said last:\n    {at} UTC [{pid}] FATAL: no space")
        };
        let first = last_words(&of("pg1", 1, "2026-11-28 10:20:00.123", 7));
        assert_eq!(first, last_words(&of("pg1", 1, "2026-11-28 10:21:30.001", 12)));
        for other in [of("pg2", 1, "", 7), of("pg1", 2, "", 7)] {
            assert_ne!(first, last_words(&other));
        }
        let refused =
            |worker: &str| format!("cannot start the container seagull-1f-{worker}-pg: no such program");
        assert_eq!(last_words(&refused("gw0-3")), last_words(&refused("gw1-12")));
    }

    #[test]
    fn what_a_test_prints_cannot_steer_the_terminal() {
        assert_eq!(clean("a\x1b[31mred\x1b[0m\x07 b"), "ared b");
        assert_eq!(clean("\x1b]0;title\x07x\x1b]8;;u\x1b\\y"), "xy");
        assert_eq!(clean("50 %\r100 %\r\nend"), "50 %\n100 %\nend");
        assert_eq!(clean("cut\x1b["), "cut");
        assert_eq!(clean("cut\x1b]"), "cut");
    }

    #[test]
    fn a_message_has_its_lines_one_after_the_other() {
        let said = "setup failed, exit code 3:\nhi\n\n  no package foo\nhint: name one\n";
        assert_eq!(message(said, 99), "setup failed, exit code 3: hi; no package foo; hint: name one");
        assert_eq!(message("a\nb", 99), "a; b");
    }

    #[test]
    fn one_line_keeps_both_ends() {
        assert_eq!(one_line("a\nb\tc", 20), "a\\nb c");
        assert_eq!(one_line("0123456789", 7), "012…789");
        assert_eq!(one_line("éééé", 4), "éééé");
    }
}
