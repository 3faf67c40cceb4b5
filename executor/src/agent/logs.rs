//! The logs of attempts on their way to the scheduler: text gets its place at once and is durable there before a
//! result that names it is reported.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use seagull_domain::{AttemptId, RunId, TextRef};
use seagull_proto::convert::LogChunk;
use seagull_proto::limits::CHUNK_BYTES;

use super::connection::Connection;

/// Shared by the workers, who write, and the agent, who flushes before it reports.
#[derive(Debug, Clone, Default)]
pub(crate) struct Logs(Arc<Mutex<BTreeMap<AttemptId, Log>>>);

#[derive(Debug)]
struct Log {
    run: RunId,
    /// Where the first byte of `pending` belongs.
    durable: u64,
    pending: Vec<u8>,
}

impl Logs {
    /// Appends text to the log of an attempt.
    pub fn append(&self, run: &RunId, attempt: AttemptId, text: &str) -> Option<TextRef> {
        if text.is_empty() {
            return None;
        }
        let mut logs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let empty = || Log { run: run.clone(), durable: 0, pending: Vec::new() };
        let log = logs.entry(attempt).or_insert_with(empty);
        let offset = log.durable + log.pending.len() as u64;
        log.pending.extend_from_slice(text.as_bytes());
        Some(TextRef { log: attempt, offset, length: u32::try_from(text.len()).unwrap_or(u32::MAX) })
    }

    /// Sends what is pending. It may be given up and called again at any time: a repeated chunk changes nothing.
    pub async fn flush(&self, connection: &Connection) -> Result<(), tonic::Status> {
        while let Some(chunk) = self.next_chunk() {
            let (attempt, end) = (chunk.attempt, chunk.offset + chunk.data.len() as u64);
            connection.put_log(chunk).await?;
            self.sent(attempt, end);
        }
        Ok(())
    }

    fn next_chunk(&self) -> Option<LogChunk> {
        let logs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (attempt, log) = logs.iter().find(|(_, log)| !log.pending.is_empty())?;
        let length = log.pending.len().min(CHUNK_BYTES);
        let data = Bytes::copy_from_slice(&log.pending[..length]);
        Some(LogChunk { run: log.run.clone(), attempt: *attempt, offset: log.durable, data })
    }

    fn sent(&self, attempt: AttemptId, end: u64) {
        let mut logs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(log) = logs.get_mut(&attempt) {
            let sent = usize::try_from(end.saturating_sub(log.durable)).unwrap_or(usize::MAX);
            log.pending.drain(..sent.min(log.pending.len()));
            log.durable = end.max(log.durable);
        }
    }
}
