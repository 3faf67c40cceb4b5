//! What a worker says, line by line: adapter events become events of the core, text goes to the log, and a discovery
//! is stored as a manifest.

use seagull_domain::{Discovery, SuiteError, TestIndex, TestResult};
use seagull_executor_core::WorkerEvent;

use super::adapter::{Event, Finished};
use super::discovery::Discovering;
use super::worker::Voice;
use crate::supervisor::DUMP_SIGNAL;

/// Hears one worker.
pub(crate) struct Reader {
    voice: Voice,
    discovering: Discovering,
    /// Where the link's thread waits for what only async code can do.
    runtime: tokio::runtime::Handle,
}

impl Reader {
    pub fn new(voice: Voice) -> Reader {
        Reader { voice, discovering: Discovering::default(), runtime: tokio::runtime::Handle::current() }
    }

    /// Takes a line, or says why it is nothing that an adapter says.
    pub fn line(&mut self, line: &[u8]) -> Result<(), String> {
        let event = serde_json::from_slice(line)
            .map_err(|error| format!("its adapter said what is not in the protocol: {error}"))?;
        self.hear(event);
        Ok(())
    }

    fn hear(&mut self, event: Event) {
        let voice = &self.voice;
        let event = match event {
            Event::Warning { message } => return self.discovering.warning(message),
            Event::File { path, suffixes } => return self.discovering.file(path, suffixes),
            Event::Relation { tests } => return self.discovering.relation(tests),
            Event::Skipped { path, reason } => return self.discovering.skipped(path, reason),
            Event::Duplicate { id } => return self.discovering.duplicate(id),
            Event::Uncollected {} | Event::Finishing {} | Event::Collecting {} | Event::Collected {} => {
                return;
            }
            Event::Discovered {} => {
                voice.say(WorkerEvent::Collected);
                self.runtime.block_on(discovered(voice, std::mem::take(&mut self.discovering)))
            }
            Event::Hello { dump_signal } => {
                let dumps = dump_signal == Some(DUMP_SIGNAL);
                voice.dumps.store(dumps, std::sync::atomic::Ordering::Relaxed);
                WorkerEvent::Ready { grace_ms: voice.context.spec.grace_ms }
            }
            Event::DiscoveryFailed { message, text } => {
                WorkerEvent::DiscoveryFailed(with_text(message, &text))
            }
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
        voice.say(event);
    }
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
        Err(status) => WorkerEvent::NotStored(format!("the manifest cannot be stored: {}", status.message())),
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
