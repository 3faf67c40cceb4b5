//! What a worker says, line by line: adapter events become events of the core, text goes to the log, and a discovery
//! is stored as a manifest.
#![expect(clippy::disallowed_methods, reason = "a shell: says when tests started")]

use std::cell::Cell;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use seagull_domain::{
    Discovery, Framework, InfraCause, Isolation, Manifest, Outcome, RunSpec, SlotNumber, SuiteError,
    TestIndex, TestResult,
};
use seagull_executor_core::{Failure, Renewal, WorkerEvent};
use seagull_proto::convert::{fit_result, fitted};
use seagull_proto::limits;

use super::adapter::{Event, Finished, bounded};
use super::discovery::Discovering;
use super::worker::Voice;
use crate::docker::Services;
use crate::supervisor::DUMP_SIGNAL;

/// How often it is read at most what a worker has taken.
const METERED: Duration = Duration::from_millis(20);

/// Hears one worker.
pub(crate) struct Reader {
    voice: Voice,
    /// What it has discovered so far; a worker is asked for that once, if at all.
    discovering: Option<Discovering>,
    /// When the last test started. Of several that run in one go, that is about when each did.
    started_at: u64,
    /// When it was read last what the worker has taken.
    metered: Cell<Option<Instant>>,
    /// Where the link's thread waits for what only async code can do.
    runtime: tokio::runtime::Handle,
}

impl Reader {
    pub fn new(voice: Voice) -> Reader {
        let discovering = voice.start.discover.then(|| Discovering::after(voice.start.died.as_deref()));
        Reader {
            voice,
            discovering,
            started_at: 0,
            metered: Cell::default(),
            runtime: tokio::runtime::Handle::current(),
        }
    }

    /// Takes a line, or says why it is nothing that an adapter says.
    pub fn line(&mut self, line: &[u8]) -> Result<(), String> {
        let secrets = &self.voice.secrets;
        let refusal = |error| format!("its adapter said what is not in the protocol: {error}");
        let mut event: Event =
            serde_json::from_slice(line).map_err(|error| secrets.hidden_in(refusal(error)))?;
        bounded(&event)?;
        event.texts().into_iter().for_each(|text| secrets.hide(text));
        self.voice.stage.hear(&event);
        if let Some(event) = self.hear(event, line.len()) {
            self.voice.say(event);
        }
        Ok(())
    }

    fn hear(&mut self, event: Event, bytes: usize) -> Option<WorkerEvent> {
        let voice = &self.voice;
        if matches!(&event, Event::Asks(asked) if asked.fail_fast.is_some()) {
            voice.say(WorkerEvent::FailsFast);
        }
        Some(match event {
            Event::Warning { .. }
            | Event::File { .. }
            | Event::Relation { .. }
            | Event::Needs { .. }
            | Event::Asks(_)
            | Event::Skipped { .. }
            | Event::Duplicate { .. }
            | Event::Hooked { .. } => {
                let excess = self.discovering.as_mut()?.take(event, bytes).err()?;
                self.discovering = None;
                WorkerEvent::DiscoveryFailed(excess)
            }
            Event::Discovered { deselected } => {
                let manifest = self.discovering.take()?.finish(deselected);
                self.meter();
                voice.say(WorkerEvent::Collected);
                self.runtime.block_on(discovered(voice, &manifest))
            }
            Event::Importing { path } => {
                voice.is_at(fitted(path, limits::PATH_BYTES));
                return None;
            }
            Event::Uncollected {} | Event::Finishing {} => return None,
            Event::Collecting {} => WorkerEvent::Collecting,
            Event::Collected {} => WorkerEvent::FileCollected,
            Event::Hello { dump_signal, batch_ms, found_with, .. } => {
                let found_with = fitted(found_with, limits::REPORT_BYTES);
                if voice.context.needs(voice.start.attempt).is_some_and(|needed| needed != found_with) {
                    voice.say(WorkerEvent::EnvironmentDiffers);
                }
                if let Some(discovering) = &mut self.discovering {
                    discovering.begin(found_with);
                }
                if let Some(millis) = batch_ms {
                    voice.say(WorkerEvent::Batches { micros: millis.saturating_mul(1000) });
                }
                let dumps = dump_signal == Some(DUMP_SIGNAL);
                voice.dumps.store(dumps, std::sync::atomic::Ordering::Relaxed);
                say_what_is_asked(voice);
                WorkerEvent::Ready { grace_ms: voice.context.spec.grace_ms }
            }
            Event::DiscoveryFailed { message, text } => {
                WorkerEvent::DiscoveryFailed(fitted(with_text(message, &text), limits::REPORT_BYTES))
            }
            Event::Next { failed, rss } => WorkerEvent::Next { failed, peak_kib: rss },
            Event::Node {} => WorkerEvent::NodeWaits,
            Event::NodeInput { node, input } => WorkerEvent::NodeInput { number: SlotNumber(node), input },
            Event::NodeReady {} => WorkerEvent::NodeReady,
            Event::NodeOutput { output } => WorkerEvent::NodeOutput(output),
            Event::Started { test } => {
                self.started_at = unix_millis();
                voice.context.claims.started(voice.start.worker);
                WorkerEvent::Started(TestIndex(test))
            }
            Event::Finished(finished) => self.finished(*finished)?,
            Event::Missing { test, reason } => {
                WorkerEvent::Missing { test: TestIndex(test), reason: fitted(reason, limits::LINE_BYTES) }
            }
            Event::Interrupted { test, message, location, text } => WorkerEvent::Interrupted {
                test: test.map(TestIndex),
                failure: failure(voice, message, location, &text),
            },
            Event::SuiteError { title, message, text } => WorkerEvent::SuiteError(SuiteError {
                title: fitted(title, limits::WORD_BYTES),
                message: fitted(message, limits::LINE_BYTES),
                text: voice.log(&voice.with_log(text)),
            }),
            Event::Coverage { data } => WorkerEvent::Coverage(voice.log(&data)?),
            Event::Ended { exit } => WorkerEvent::Ended { exit },
        })
    }

    /// Says what the worker has taken so far; of many short tests not after each, for that would cost more than they do.
    fn meter(&self) {
        if self.metered.get().is_some_and(|at| at.elapsed() < METERED) {
            return;
        }
        self.metered.set(Some(Instant::now()));
        self.voice.meter.read().into_iter().for_each(|used| self.voice.say(WorkerEvent::Used(used)));
    }

    /// A failure may well be that the test did not find what it needs.
    fn finished(&self, finished: Finished) -> Option<WorkerEvent> {
        let failed = finished.outcome == Outcome::Failed;
        // It is that which it came to: its worker is about to end for it.
        if is_long(&finished) && self.voice.meter.was_out_of_memory() {
            return None;
        }
        self.meter();
        if let Some(services) = self.voice.services.as_ref().filter(|_| failed)
            && let Some(error) = self.runtime.block_on(services.broken())
        {
            return Some(WorkerEvent::SandboxBroke(InfraCause::SandboxFailed, error.to_string()));
        }
        let began = Duration::try_from_secs_f64(finished.began.unwrap_or_default()).unwrap_or_default();
        let heard = Duration::from_millis(self.started_at);
        let began = UNIX_EPOCH + if began.is_zero() { heard } else { began.min(heard) };
        self.voice.say_left(TestIndex(finished.test), finished.attached, failed.then_some(began));
        // What comes after it is of the same failure.
        if failed && let Some(event) = self.voice.hold(TestIndex(finished.test)) {
            self.voice.say(event);
        }
        if finished.last {
            self.voice.context.claims.finished(self.voice.start.worker);
        }
        Some(WorkerEvent::Finished(result(&self.voice, finished, self.started_at)))
    }
}

fn failure(voice: &Voice, message: String, location: String, text: &str) -> Failure {
    let (message, location) = (fitted(message, limits::LINE_BYTES), fitted(location, limits::LOCATION_BYTES));
    Failure { peak_kib: 0, message, location, text: voice.log(text) }
}

/// Whether it may have had a process that was killed for want of memory. Not each of many short tests is looked at.
fn is_long(finished: &Finished) -> bool {
    finished.outcome == Outcome::Failed
        || u128::from(finished.phases().iter().sum::<u64>()) >= METERED.as_micros()
}

/// What the run asks of its workers.
fn say_what_is_asked(voice: &Voice) {
    let spec = &voice.context.spec;
    let resets = voice.services.as_ref().is_some_and(Services::resets);
    let asked = renewal(spec, voice.context.lives_for(voice.start.surroundings));
    voice.say(WorkerEvent::Renews(Renewal { resets, ..asked }));
    // The next test would find what is to stay as it is.
    if spec.fail_fast.is_some() || voice.holder.is_some() {
        voice.say(WorkerEvent::FailsFast);
    }
}

/// Where the tests have processes of their own, as cargo's all have, a new worker around these would change nothing.
fn renewal(spec: &RunSpec, sandbox: Isolation) -> Renewal {
    let (isolation, memory_kib) = match spec.suite.framework {
        Framework::Pytest => (spec.isolation, spec.worker_memory_kib),
        Framework::Command(_) => (spec.isolation, None),
        Framework::Cargo | Framework::Built(_) => (Isolation::Slot, None),
    };
    Renewal { isolation, sandbox, memory_kib, resets: false }
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

async fn discovered(voice: &Voice, manifest: &Manifest) -> WorkerEvent {
    let tests = manifest.len() as u32;
    let bytes = seagull_results::encode_manifest(manifest);
    let digest = seagull_results::digest(&bytes);
    match voice.shared.connection.put_blob(digest, bytes).await {
        Ok(()) => WorkerEvent::Discovered(Discovery { manifest: digest, tests }),
        Err(status) => WorkerEvent::NotStored(format!("the manifest cannot be stored: {}", status.message())),
    }
}

fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn result(voice: &Voice, finished: Finished, started_at: u64) -> TestResult {
    let mut result = TestResult {
        test: TestIndex(finished.test),
        ordinal: finished.ordinal,
        last: finished.last,
        outcome: finished.outcome,
        phases: finished.phases(),
        cpu_us: finished.cpu_us(),
        text: voice.log(&finished.text),
        detail: finished.detail,
        cause: finished.cause,
        peak_kib: finished.rss,
        started_at,
        message: finished.message,
        location: finished.location,
    };
    fit_result(&mut result);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tests_that_share_a_process_are_isolated_by_a_new_worker() {
        let spec = serde_json::json!({
            "id": "r", "owner": "o", "project": "p", "submitted_at": 0, "arguments": [], "cap_ms": 1, "retries": 0,
            "fail_fast": null, "grace_ms": 1, "seed": 1, "isolation": "test", "worker_memory_kib": 9,
            "environment": {}, "workspace": {"in_place": {"directory": "/s"}},
        });
        let mut spec: RunSpec = serde_json::from_value(spec).unwrap();
        let asked = Renewal { isolation: Isolation::Test, memory_kib: Some(9), ..Renewal::default() };
        assert_eq!(renewal(&spec, Isolation::Slot), asked);
        spec.suite.framework = Framework::Cargo;
        assert_eq!(renewal(&spec, Isolation::Slot), Renewal::default());
        let sandbox = Isolation::Bundle;
        assert_eq!(renewal(&spec, sandbox), Renewal { sandbox, ..Renewal::default() });
    }
}
