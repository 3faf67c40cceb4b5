//! What a worker's test prints while it runs, seen from outside: in the files that the worker writes it to, which nothing
//! in the worker has to know. It is told to the scheduler for those who wait, and is not needed by anything else.
#![expect(clippy::disallowed_methods, reason = "a shell: it looks at files now and then")]

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use seagull_domain::{RunId, TestIndex};
use seagull_proto::convert::{OutputTold, Printed};

use super::adapter::Event;
use super::worker::Voice;
use crate::secrets::Secrets;

const LOOK: Duration = Duration::from_millis(300);
/// What is read of a stream at a time; of more that has come meanwhile, the end.
const PIECE: u64 = 64 << 10;
/// What is told of one execution.
const MOST: u64 = 1 << 20;
const TOO_MUCH: &str = "[more than is shown while it runs]\n";
/// Bytes before a place that say whether a file has been written anew since it was read up to there.
const BEFORE: u64 = 32;

/// The runs of which somebody wants to see what tests print.
#[derive(Debug, Clone, Default)]
pub(crate) struct Followed(Arc<Mutex<BTreeSet<RunId>>>);

impl Followed {
    pub fn set(&self, runs: Vec<RunId>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = runs.into_iter().collect();
    }

    fn has(&self, run: &RunId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(run)
    }
}

/// What a worker is at, as it says.
#[derive(Debug, Clone)]
pub(crate) struct Stage {
    /// Whether its processes are this machine's: the number of one in a container is another's here.
    here: bool,
    at: Arc<Mutex<At>>,
}

#[derive(Debug, Clone, Default)]
struct At {
    process: Option<u32>,
    test: Option<TestIndex>,
    since: Option<SystemTime>,
    /// How many executions have begun.
    executions: u64,
    /// Whether its session has ended.
    over: bool,
}

impl Stage {
    pub fn new(here: bool) -> Stage {
        Stage { here, at: Arc::default() }
    }

    fn at(&self) -> MutexGuard<'_, At> {
        self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The test that it is at, and since when, by what was heard.
    pub fn test(&self) -> Option<(TestIndex, SystemTime)> {
        let at = self.at();
        at.test.map(|test| (test, at.since.unwrap_or_else(SystemTime::now)))
    }

    /// Whether its session has ended, with whatever was to come down at its end.
    pub fn is_over(&self) -> bool {
        self.at().over
    }

    /// Takes what the worker says of itself.
    pub fn hear(&self, event: &Event) {
        let mut at = self.at();
        match event {
            Event::Hello { pid, .. } => at.process = pid.filter(|_| self.here),
            Event::Started { test } => {
                (at.test, at.since) = (Some(TestIndex(*test)), Some(SystemTime::now()));
                at.executions += 1;
            }
            Event::Finished(_) | Event::Interrupted { .. } => at.test = None,
            Event::Ended { .. } => at.over = true,
            _ => {}
        }
    }
}

/// Tells what the worker's tests print, for as long as anybody wants to see it.
pub(crate) async fn tell(voice: &Voice) -> Infallible {
    let (shared, run) = (&voice.shared, &voice.start.run);
    let (executor, slot) = (shared.executor.clone(), voice.start.number);
    let mut heard = Heard::default();
    loop {
        tokio::time::sleep(LOOK).await;
        let at = voice.stage.at().clone();
        let (Some(process), Some(test), true) = (at.process, at.test, shared.followed.has(run)) else {
            continue;
        };
        let attempt = voice.attempt();
        let Some((id, _)) = voice.context.id(attempt, test) else { continue };
        let Some((offset, text)) = heard.look(process, at.executions, &voice.secrets) else { continue };
        let printed = Printed { executor: executor.clone(), slot, attempt, test: id, offset, text };
        // What is lost by it comes with the test's end.
        let _ = shared.connection.tell_output(OutputTold { run: run.clone(), printed }).await;
    }
}

/// What was heard of an execution.
#[derive(Default)]
struct Heard {
    execution: u64,
    /// By inode: how far each file was read.
    files: BTreeMap<u64, Place>,
    /// What has come of it.
    told: u64,
}

#[derive(Default)]
struct Place {
    read: u64,
    /// What stands before it.
    before: Vec<u8>,
}

impl Heard {
    /// What a process has printed since it was looked at last, without what is to be hidden, and where that begins in what
    /// its execution has printed.
    fn look(&mut self, process: u32, execution: u64, secrets: &Secrets) -> Option<(u64, String)> {
        if self.execution != execution {
            *self = Heard { execution, ..Heard::default() };
        }
        if self.told >= MOST {
            return None;
        }
        let mut text = String::new();
        let mut seen = BTreeSet::new();
        for descriptor in [1, 2] {
            let path = format!("/proc/{process}/fd/{descriptor}");
            // A pipe or a terminal has other readers.
            let Some(metadata) = fs::metadata(&path).ok().filter(fs::Metadata::is_file) else { continue };
            if !seen.insert(metadata.ino()) {
                continue;
            }
            // What captures has no name. Anything else is shared with what came before.
            let captures =
                fs::read_link(&path).is_ok_and(|link| link.to_string_lossy().ends_with(" (deleted)"));
            let from = if captures { 0 } else { metadata.len() };
            let place = self.files.entry(metadata.ino());
            let place = place.or_insert_with(|| Place { read: from, before: Vec::new() });
            if let Ok(file) = File::open(&path) {
                text.push_str(&place.read(&file, secrets).unwrap_or_default());
            }
        }
        let offset = self.told;
        self.told += text.len() as u64;
        if self.told >= MOST {
            text.push_str(TOO_MUCH);
        }
        (!text.is_empty()).then_some((offset, text))
    }
}

impl Place {
    /// The whole lines that have come, without what is to be hidden.
    fn read(&mut self, file: &File, secrets: &Secrets) -> std::io::Result<String> {
        let length = file.metadata()?.len();
        let mut before = vec![0; self.before.len()];
        let begins = self.read - before.len() as u64;
        let goes_on =
            length >= self.read && file.read_exact_at(&mut before, begins).is_ok() && before == self.before;
        if !goes_on {
            *self = Place::default();
        }
        let begins = self.read;
        let from = begins.max(length.saturating_sub(PIECE));
        let mut bytes = vec![0; usize::try_from(length - from).unwrap_or(0)];
        let got = file.read_at(&mut bytes, from)?;
        bytes.truncate(got);
        // A line that is under way comes when it is whole, so that nothing in it is hidden only by half.
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        bytes.truncate(whole);
        if whole > 0 {
            self.read = from + whole as u64;
            self.before = bytes[whole.saturating_sub(BEFORE as usize)..].to_vec();
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        // Of one that began before what is read, the rest.
        Ok(if from > begins { secrets.hidden_in_end(text) } else { secrets.hidden_in(text) })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use super::*;

    #[test]
    fn a_file_is_read_line_by_line_and_from_its_start_when_it_is_written_anew() {
        let mut file = tempfile::tempfile().unwrap();
        let secrets = Secrets::default().and([("KEY".to_owned(), "hunter2hunter2".to_owned())]);
        let mut place = Place::default();
        let write = |text: &str, file: &mut File| file.write_all(text.as_bytes()).unwrap();
        write("one\ntw", &mut file);
        assert_eq!(place.read(&file, &secrets).unwrap(), "one\n");
        assert_eq!(place.read(&file, &secrets).unwrap(), "");
        write("o\n", &mut file);
        assert_eq!(place.read(&file, &secrets).unwrap(), "two\n");
        // As capturing does between two phases; what comes is longer than what was there.
        file.set_len(0).unwrap();
        file.rewind().unwrap();
        write("another and longer one\n", &mut file);
        assert_eq!(place.read(&file, &secrets).unwrap(), "another and longer one\n");
        // Of very much, the end.
        write(&"x".repeat(PIECE as usize * 2), &mut file);
        write("\nlast\n", &mut file);
        let read = place.read(&file, &secrets).unwrap();
        assert!(read.len() as u64 <= PIECE && read.ends_with("xx\nlast\n"));
        // Where that begins in the middle of what is to be hidden, the rest of it is.
        write("hunter2hunter2", &mut file);
        write(&"x".repeat(PIECE as usize - 8), &mut file);
        write("\n", &mut file);
        let read = place.read(&file, &secrets).unwrap();
        assert!(read.starts_with("***xx"), "{read:.20}");
    }

    #[test]
    fn an_execution_is_heard_from_its_beginning_and_what_is_no_file_is_left_alone() {
        let mut captured = tempfile::tempfile().unwrap();
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .stdout(captured.try_clone().unwrap())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let (mut heard, secrets) = (Heard::default(), Secrets::default());
        assert_eq!(heard.look(child.id(), 1, &secrets), None);
        captured.write_all(b"one\n").unwrap();
        assert_eq!(heard.look(child.id(), 1, &secrets), Some((0, "one\n".into())));
        captured.write_all(b"two\nth").unwrap();
        assert_eq!(heard.look(child.id(), 1, &secrets), Some((4, "two\n".into())));
        captured.set_len(0).unwrap();
        captured.rewind().unwrap();
        captured.write_all(b"of the next\n").unwrap();
        assert_eq!(heard.look(child.id(), 2, &secrets), Some((0, "of the next\n".into())));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(heard.look(child.id(), 2, &secrets), None);
    }
}
