//! The one outstanding call to the scheduler: when to report, when to give a held call up, when to try again.
#![expect(clippy::disallowed_methods, reason = "a shell: calls are spaced in time")]

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use seagull_executor_core::State;
use seagull_proto::convert;
use tokio::time::Instant;
use tonic::Status;

use super::connection::{Connection, backoff};
use super::logs::Logs;

/// Results are reported at most this often.
const RESULTS: Duration = Duration::from_millis(50);

type Answer = Pin<Box<dyn Future<Output = Result<convert::Answer, Status>> + Send>>;

pub(crate) struct Calls {
    connection: Connection,
    logs: Logs,
    call: Option<Call>,
    /// The state changed: report at once.
    urgent: bool,
    /// There are results to report.
    results: bool,
    last: Option<Instant>,
    failures: u32,
    /// Not before this, after a failure.
    retry: Option<Instant>,
}

struct Call {
    answer: Answer,
    /// It delivers results, so it is answered as soon as they are durable and is not given up before.
    delivers: bool,
}

impl Calls {
    pub fn new(connection: Connection, logs: Logs) -> Calls {
        Calls {
            connection,
            logs,
            call: None,
            urgent: false,
            results: false,
            last: None,
            failures: 0,
            retry: None,
        }
    }

    pub fn urgent(&mut self) {
        self.urgent = true;
    }

    pub fn results(&mut self) {
        self.results = true;
    }

    /// When a report is due, if one can be sent.
    pub fn due(&self) -> Option<Instant> {
        let now = Instant::now();
        let delivering = self.call.as_ref().is_some_and(|call| call.delivers);
        let spaced = self.last.map_or(now, |last| last + RESULTS);
        let wanted = match (self.urgent, self.results, &self.call) {
            _ if delivering => None,
            (true, ..) => Some(now),
            (false, true, _) => Some(spaced),
            (false, false, None) => Some(now),
            (false, false, Some(_)) => None,
        };
        wanted.map(|at| self.retry.map_or(at, |retry| retry.max(at)))
    }

    pub fn send_if_due(&mut self, core: &mut State) {
        if self.due().is_none_or(|at| at > Instant::now()) {
            return;
        }
        let report = core.next_report();
        let delivers = !report.batches.is_empty();
        let (connection, logs) = (self.connection.clone(), self.logs.clone());
        let ends = logs.ends();
        let answer = Box::pin(async move {
            logs.flush(ends, |chunk| connection.put_log(chunk)).await?;
            connection.synchronize(report).await
        });
        self.call = Some(Call { answer, delivers });
        (self.urgent, self.results) = (false, false);
        self.last = Some(Instant::now());
    }

    /// The answer to the call; waits for ever if there is none.
    pub async fn answer(&mut self) -> Result<convert::Answer, Status> {
        let Some(call) = &mut self.call else { return std::future::pending().await };
        let answer = call.answer.as_mut().await;
        self.call = None;
        match &answer {
            Ok(_) => (self.failures, self.retry) = (0, None),
            Err(_) => {
                self.failures += 1;
                self.retry = Some(Instant::now() + backoff(self.failures));
                self.urgent = true;
            }
        }
        answer
    }
}
