//! The logs of attempts on their way to the scheduler: text gets its place at once and is durable there before a
//! result that names it is reported.
//!
//! But for a log of which the scheduler takes no more: results that name text of it are reported though the text is
//! nowhere, because a verdict is worth more than its text.
#![expect(clippy::disallowed_methods, reason = "a shell: a worker's threads write to one log")]

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use seagull_domain::{AttemptId, RunId, TextRef};
use seagull_proto::convert::LogChunk;
use seagull_proto::limits::CHUNK_BYTES;
use seagull_results::LOG_BYTES;
use tonic::Status;

use super::connection::refuses_log;

/// Bytes that may wait for the scheduler, of all logs together: few enough for the results that wait for them to be
/// recorded soon.
const PENDING_BYTES: usize = 32 << 20;
/// Stands for texts that found no room.
const LEFT_OUT: &str = "[left out: there was more text than could be kept]\n";
/// Fills the place of text that the scheduler had and lost.
const LOST: &[u8] = b"[lost]\n";

/// Shared by the workers, who write, and the agent, who flushes before it reports.
#[derive(Debug, Clone, Default)]
pub(crate) struct Logs(Arc<Mutex<BTreeMap<AttemptId, Log>>>);

#[derive(Debug)]
struct Log {
    run: RunId,
    /// How much of it the scheduler has.
    durable: u64,
    /// Where the first byte of `pending` belongs. Past what is durable only if the scheduler lost what is between.
    start: u64,
    pending: Vec<u8>,
    /// Where [`LEFT_OUT`] stands, once for all that found no room.
    left_out: Option<TextRef>,
    /// The scheduler takes nothing more of it.
    refused: bool,
}

impl Logs {
    /// Text of the attempt has a place from now on, until the attempt is forgotten.
    pub fn open(&self, run: &RunId, attempt: AttemptId) {
        self.lock().entry(attempt).or_insert_with(|| Log {
            run: run.clone(),
            durable: 0,
            start: 0,
            pending: Vec::new(),
            left_out: None,
            refused: false,
        });
    }

    pub fn retain(&self, keep: impl Fn(&AttemptId) -> bool) {
        self.lock().retain(|attempt, _| keep(attempt));
    }

    /// Appends text to the log of an attempt.
    pub fn append(&self, attempt: AttemptId, text: &str) -> Option<TextRef> {
        let mut logs = self.lock();
        let waiting: usize = logs.values().map(|log| log.pending.len()).sum();
        let log = logs.get_mut(&attempt).filter(|log| !log.refused && !text.is_empty())?;
        let fits = waiting + text.len() <= PENDING_BYTES
            && log.end() + (text.len() + LEFT_OUT.len()) as u64 <= LOG_BYTES;
        if fits {
            return Some(log.append(attempt, text));
        }
        let left_out = log.left_out.unwrap_or_else(|| log.append(attempt, LEFT_OUT));
        log.left_out = Some(left_out);
        log.left_out
    }

    /// How far each log goes now.
    pub fn ends(&self) -> Vec<(AttemptId, u64)> {
        self.lock().iter().map(|(attempt, log)| (*attempt, log.end())).collect()
    }

    /// Sends what is pending up to these ends, and no more: workers may write faster than can be sent. A log that is
    /// refused holds up no other. May be given up and called again at any time: a repeated chunk changes nothing.
    pub async fn flush<F>(
        &self,
        ends: Vec<(AttemptId, u64)>,
        put: impl Fn(LogChunk) -> F,
    ) -> Result<(), Status>
    where
        F: Future<Output = Result<u64, Status>>,
    {
        for (attempt, end) in ends {
            while let Some(chunk) = self.next_chunk(attempt, end) {
                let sent = chunk.offset..chunk.offset + chunk.data.len() as u64;
                let answer = put(chunk).await;
                let mut logs = self.lock();
                match (answer, logs.get_mut(&attempt)) {
                    (Ok(durable), Some(log)) => log.answered(attempt, &sent, durable),
                    (Err(status), Some(log)) if refuses_log(&status) => log.refuse(attempt, status.message()),
                    (Err(status), _) => return Err(status),
                    (Ok(_), None) => {}
                }
            }
        }
        Ok(())
    }

    fn next_chunk(&self, attempt: AttemptId, end: u64) -> Option<LogChunk> {
        let logs = self.lock();
        let log = logs.get(&attempt).filter(|log| !log.refused && log.durable < end)?;
        let piece = |bytes: u64| usize::try_from(bytes).map_or(CHUNK_BYTES, |bytes| bytes.min(CHUNK_BYTES));
        let data = match log.start - log.durable {
            0 => Bytes::copy_from_slice(&log.pending[..piece(end - log.start)]),
            lost => LOST.iter().copied().cycle().take(piece(lost)).collect(),
        };
        Some(LogChunk { run: log.run.clone(), attempt, offset: log.durable, data })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<AttemptId, Log>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    fn end(&self) -> u64 {
        self.start + self.pending.len() as u64
    }

    fn append(&mut self, attempt: AttemptId, text: &str) -> TextRef {
        let offset = self.end();
        self.pending.extend_from_slice(text.as_bytes());
        TextRef { log: attempt, offset, length: u32::try_from(text.len()).unwrap_or(u32::MAX) }
    }

    /// The scheduler has so much of it, now that a chunk was sent.
    fn answered(&mut self, attempt: AttemptId, sent: &Range<u64>, durable: u64) {
        if durable < sent.start {
            self.durable = durable;
        } else if durable < sent.end {
            self.refuse(attempt, "it is full");
        } else {
            self.durable = sent.end;
            let known = sent.end.saturating_sub(self.start);
            self.pending = self.pending.split_off(usize::try_from(known).unwrap_or(usize::MAX));
            self.start += known;
        }
    }

    fn refuse(&mut self, attempt: AttemptId, why: &str) {
        let _ = writeln!(
            std::io::stderr(),
            "warning: the scheduler takes no more text of attempt {attempt}: {why}"
        );
        self.refused = true;
        self.pending = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    const FIRST: AttemptId = AttemptId(1);
    const SECOND: AttemptId = AttemptId(2);

    /// What a scheduler does with chunks.
    #[derive(Default)]
    struct Scheduler(RefCell<BTreeMap<AttemptId, Vec<u8>>>);

    impl Scheduler {
        fn put(&self, chunk: &LogChunk) -> u64 {
            let mut logs = self.0.borrow_mut();
            let log = logs.entry(chunk.attempt).or_default();
            if let Some(known) = log.len().checked_sub(chunk.offset as usize) {
                log.extend(chunk.data.iter().skip(known));
            }
            log.len() as u64
        }

        fn text(&self, attempt: AttemptId) -> String {
            String::from_utf8(self.0.borrow()[&attempt].clone()).unwrap()
        }
    }

    fn logs() -> Logs {
        let logs = Logs::default();
        for attempt in [FIRST, SECOND] {
            logs.open(&"r".parse().unwrap(), attempt);
        }
        logs
    }

    async fn flush(logs: &Logs, scheduler: &Scheduler) {
        logs.flush(logs.ends(), async |chunk| Ok(scheduler.put(&chunk))).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_written_during_a_flush_waits_for_the_next() {
        let (logs, scheduler) = (logs(), Scheduler::default());
        logs.append(FIRST, "one ");
        let put = async |chunk| {
            logs.append(FIRST, "two ");
            Ok(scheduler.put(&chunk))
        };
        logs.flush(logs.ends(), put).await.unwrap();
        assert_eq!(scheduler.text(FIRST), "one ");
        flush(&logs, &scheduler).await;
        assert_eq!(scheduler.text(FIRST), "one two ");
    }

    #[tokio::test]
    async fn a_refused_log_holds_up_no_other() {
        let (logs, scheduler) = (logs(), Scheduler::default());
        logs.append(FIRST, "a");
        logs.append(SECOND, "b");
        let put = async |chunk: LogChunk| match chunk.attempt {
            FIRST => Err(Status::not_found("no such run")),
            _ => Ok(scheduler.put(&chunk)),
        };
        logs.flush(logs.ends(), put).await.unwrap();
        assert_eq!(scheduler.text(SECOND), "b");
        assert_eq!(logs.append(FIRST, "c"), None);
        // One that is full answers that it did not grow.
        logs.append(SECOND, "d");
        logs.flush(logs.ends(), async |_| Ok(1)).await.unwrap();
        assert_eq!(logs.append(SECOND, "e"), None);
    }

    #[tokio::test]
    async fn what_passes_is_tried_again() {
        let (logs, scheduler) = (logs(), Scheduler::default());
        logs.append(FIRST, "a");
        let away = logs.flush(logs.ends(), async |_| Err(Status::unavailable("away"))).await;
        assert!(away.is_err());
        flush(&logs, &scheduler).await;
        assert_eq!(scheduler.text(FIRST), "a");
    }

    #[tokio::test]
    async fn text_keeps_its_place_where_the_scheduler_lost_what_came_before() {
        let (logs, scheduler) = (logs(), Scheduler::default());
        logs.append(FIRST, &"x".repeat(CHUNK_BYTES + 3));
        flush(&logs, &scheduler).await;
        scheduler.0.borrow_mut().get_mut(&FIRST).unwrap().truncate(1);
        let text = logs.append(FIRST, "after").unwrap();
        flush(&logs, &scheduler).await;
        let found = scheduler.text(FIRST);
        assert!(found.starts_with("x[lost]\n[lost]\n"));
        assert_eq!(&found[text.offset as usize..], "after");
    }

    #[tokio::test]
    async fn what_waits_is_bounded_and_what_has_no_room_is_marked_once() {
        let (logs, scheduler) = (logs(), Scheduler::default());
        let long = "x".repeat(1 << 20);
        let texts: Vec<_> = (0..40).map(|_| logs.append(FIRST, &long).unwrap()).collect();
        assert_eq!(texts[31].length, 1 << 20);
        assert_eq!((texts[32].offset, texts[32].length), (32 << 20, LEFT_OUT.len() as u32));
        assert_eq!(texts[32], texts[39]);
        assert_eq!(logs.append(SECOND, "y").unwrap().length, LEFT_OUT.len() as u32);
        flush(&logs, &scheduler).await;
        let text = logs.append(FIRST, "z").unwrap();
        flush(&logs, &scheduler).await;
        assert_eq!(text.offset, (32 << 20) + LEFT_OUT.len() as u64);
        assert_eq!(&scheduler.text(FIRST)[32 << 20..], format!("{LEFT_OUT}z"));
        assert_eq!(scheduler.text(SECOND), LEFT_OUT);
    }

    #[tokio::test]
    async fn a_log_is_forgotten_with_its_attempt() {
        let (logs, scheduler) = (logs(), Scheduler::default());
        logs.append(FIRST, "a");
        logs.append(SECOND, "b");
        logs.retain(|attempt| *attempt == SECOND);
        assert_eq!(logs.append(FIRST, "late"), None);
        flush(&logs, &scheduler).await;
        assert_eq!(scheduler.0.borrow().keys().collect::<Vec<_>>(), [&SECOND]);
    }
}
