//! Reading what a worker says: adapter events become events of the core, text goes to the log, and a discovery is
//! stored as a manifest.

use seagull_domain::{Discovery, SuiteError, TestIndex, TestResult};
use seagull_executor_core::WorkerEvent;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::unix::OwnedReadHalf;
use tokio::task::JoinHandle;

use super::adapter::{Event, Finished, LINE_BYTES};
use super::discovery::Discovering;
use super::worker::Voice;

pub(crate) type Task = JoinHandle<()>;

/// Reads until the worker's end closes, or says something that no adapter says.
pub(crate) async fn run(voice: Voice, incoming: OwnedReadHalf) {
    let mut lines = BufReader::with_capacity(64 << 10, incoming);
    let mut line = Vec::new();
    let mut discovering = Discovering::default();
    loop {
        line.clear();
        let mut bounded = (&mut lines).take(LINE_BYTES as u64);
        match bounded.read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        match serde_json::from_slice(&line) {
            Ok(event) => hear(&voice, &mut discovering, event).await,
            Err(error) => {
                let message = format!("the adapter said what is not in its protocol: {error}");
                let title = "adapter protocol".to_owned();
                return voice.say(WorkerEvent::SuiteError(SuiteError { title, message, text: None })).await;
            }
        }
    }
}

async fn hear(voice: &Voice, discovering: &mut Discovering, event: Event) {
    let event = match event {
        Event::File { path, suffixes } => return discovering.file(path, suffixes),
        Event::Relation { tests } => return discovering.relation(tests),
        Event::Skipped { path, reason } => return discovering.skipped(path, reason),
        Event::Duplicate { id } => return discovering.duplicate(id),
        Event::Uncollected {} | Event::Finishing {} | Event::Collecting {} | Event::Collected {} => return,
        Event::Discovered {} => discovered(voice, std::mem::take(discovering)).await,
        Event::Hello { dump_signal } => {
            voice.dumps.store(dump_signal.is_some(), std::sync::atomic::Ordering::Relaxed);
            WorkerEvent::Ready { grace_ms: voice.context.spec.grace_ms }
        }
        Event::DiscoveryFailed { message, text } => WorkerEvent::DiscoveryFailed(with_text(message, &text)),
        Event::Next {} => WorkerEvent::Next,
        Event::Started { test } => WorkerEvent::Started(TestIndex(test)),
        Event::Finished(finished) => WorkerEvent::Finished(result(voice, *finished)),
        Event::Missing { test, reason } => WorkerEvent::Missing { test: TestIndex(test), reason },
        Event::Interrupted { test, message } => {
            WorkerEvent::Interrupted { test: test.map(TestIndex), message }
        }
        Event::SuiteError { title, message, text } => {
            WorkerEvent::SuiteError(SuiteError { title, message, text: voice.log(&text) })
        }
        Event::Ended {} => WorkerEvent::Ended,
    };
    voice.say(event).await;
}

/// Why there are no tests, as the framework says it: it is all there is to go by, so it is not left in a log.
fn with_text(message: String, text: &str) -> String {
    const MOST: usize = 12 << 10;
    if text.is_empty() || text == message {
        return message;
    }
    let start = text.len().saturating_sub(MOST);
    let start = (start..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    format!("{message}\n{}", &text[start..])
}

async fn discovered(voice: &Voice, discovering: Discovering) -> WorkerEvent {
    let manifest = discovering.finish();
    let tests = manifest.len() as u32;
    let bytes = seagull_results::encode_manifest(&manifest);
    let digest = seagull_results::digest(&bytes);
    match voice.shared.connection.put_blob(digest, bytes).await {
        Ok(()) => WorkerEvent::Discovered(Discovery { manifest: digest, tests }),
        Err(status) => {
            WorkerEvent::DiscoveryFailed(format!("the manifest cannot be stored: {}", status.message()))
        }
    }
}

fn result(voice: &Voice, finished: Finished) -> TestResult {
    let mut result = TestResult {
        test: TestIndex(finished.test),
        ordinal: finished.ordinal,
        last: finished.last,
        outcome: finished.outcome,
        phases: finished.phases(),
        text: voice.log(&finished.text),
        detail: finished.detail,
        cause: finished.cause,
        peak_kib: finished.rss,
        message: finished.message,
        location: finished.location,
    };
    seagull_proto::convert::fit_result(&mut result);
    result
}
