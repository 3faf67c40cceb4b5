//! The one outstanding call to the scheduler: when to report, when to give a held call up, when to try again.
#![expect(clippy::disallowed_methods, reason = "a shell: calls are spaced in time")]

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use seagull_domain::Report;
use seagull_executor_core::State;
use seagull_proto::convert;
use tokio::time::Instant;
use tonic::Status;

use super::attachments::{Attachments, Packed};
use super::connection::{Connection, backoff};
use super::logs::Logs;

/// Results are reported at most this often.
const RESULTS: Duration = Duration::from_millis(50);
/// For so long text may keep a report waiting while there is no call. Then one goes without results: less than a lease
/// after a closed connection, and hardly ever.
const SILENCE: Duration = Duration::from_secs(1);

type Answer = Pin<Box<dyn Future<Output = Result<convert::Answer, Status>> + Send>>;
type Flush = Pin<Box<dyn Future<Output = Result<(), Status>> + Send>>;

pub(crate) struct Calls {
    connection: Connection,
    logs: Logs,
    attachments: Attachments,
    text: Text,
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

/// The text of the results that are to be reported.
enum Text {
    /// There are none.
    Idle,
    Goes {
        flush: Flush,
        since: Instant,
    },
    /// They can be reported.
    Arrived,
}

struct Call {
    answer: Answer,
    /// It delivers results, so it is answered as soon as they are durable and is not given up before.
    delivers: bool,
}

impl Calls {
    pub fn new(connection: Connection, logs: Logs, attachments: Attachments) -> Calls {
        Calls {
            connection,
            logs,
            attachments,
            text: Text::Idle,
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

    /// When text or a report is due, if one can be sent.
    pub fn due(&self) -> Option<Instant> {
        let now = Instant::now();
        let wanted = match (&self.text, &self.call) {
            (_, Some(call)) if call.delivers => None,
            (Text::Arrived, _) => Some(now),
            (Text::Goes { since, .. }, None) => {
                Some(self.last.map_or(*since, |last| last.max(*since)) + SILENCE)
            }
            (Text::Goes { .. }, Some(_)) => None,
            (Text::Idle, _) if self.urgent => Some(now),
            (Text::Idle, _) if self.results => Some(self.last.map_or(now, |last| last + RESULTS)),
            (Text::Idle, None) => Some(now),
            (Text::Idle, Some(_)) => None,
        };
        wanted.map(|at| self.retry.map_or(at, |retry| retry.max(at)))
    }

    pub fn send_if_due(&mut self, core: &mut State) {
        if self.due().is_none_or(|at| at > Instant::now()) {
            return;
        }
        match self.text {
            Text::Idle => {
                core.close_batches();
                self.text = Text::Goes { flush: self.flush(), since: Instant::now() };
                (self.urgent, self.results) = (false, false);
            }
            Text::Goes { .. } => self.send(core.report_without_results()),
            Text::Arrived => {
                self.text = Text::Idle;
                self.send(core.next_report());
            }
        }
    }

    /// Sends all that results to be reported name.
    fn flush(&self) -> Flush {
        let (connection, logs, ends) = (self.connection.clone(), self.logs.clone(), self.logs.ends());
        let (attachments, waiting) = (self.attachments.clone(), self.attachments.waiting());
        Box::pin(async move {
            logs.flush(ends, |chunk| connection.put_log(chunk)).await?;
            let put = async |packed: Arc<Packed>| {
                let file = packed.file.reopen().map_err(|error| Status::internal(error.to_string()))?;
                connection.put_file(packed.run.clone(), packed.digest, file).await
            };
            attachments.flush(waiting, put).await
        })
    }

    fn send(&mut self, mut report: Report) {
        self.attachments.leave_out(&mut report.batches);
        let delivers = !report.batches.is_empty();
        let connection = self.connection.clone();
        let answer = Box::pin(async move { connection.synchronize(report).await });
        self.call = Some(Call { answer, delivers });
        self.last = Some(Instant::now());
    }

    /// Until there is an answer, or something has failed, or text has arrived: then a report is due, and there is none.
    /// Waits for ever if nothing is under way. May be given up and called again at any time.
    pub async fn answer(&mut self) -> Option<Result<convert::Answer, Status>> {
        let text = async {
            match &mut self.text {
                Text::Goes { flush, .. } => flush.as_mut().await,
                Text::Idle | Text::Arrived => std::future::pending().await,
            }
        };
        let answer = async {
            match &mut self.call {
                Some(call) => call.answer.as_mut().await,
                None => std::future::pending().await,
            }
        };
        let answer = tokio::select! {
            arrived = text => match arrived {
                Ok(()) => {
                    self.text = Text::Arrived;
                    return None;
                }
                Err(status) => {
                    self.text = Text::Idle;
                    Err(status)
                }
            },
            answer = answer => {
                self.call = None;
                answer
            }
        };
        match &answer {
            Ok(_) => (self.failures, self.retry) = (0, None),
            Err(_) => {
                self.failures += 1;
                self.retry = Some(Instant::now() + backoff(self.failures));
                self.urgent = true;
            }
        }
        Some(answer)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hyper_util::rt::TokioIo;
    use seagull_domain::AttemptId;
    use seagull_executor_core::Settings;
    use seagull_proto::v1::executors_server::Executors;
    use seagull_proto::{Token, endpoint, v1};
    use tokio::sync::{Semaphore, mpsc};
    use tokio_stream::StreamExt;
    use tonic::transport::{Channel, Endpoint, Server, Uri};
    use tonic::{Request, Response};

    use super::*;

    /// Holds every call, and takes text when it may.
    struct Scheduler {
        reports: mpsc::UnboundedSender<u64>,
        takes_text: Arc<Semaphore>,
    }

    #[tonic::async_trait]
    impl Executors for Scheduler {
        async fn synchronize(
            &self,
            request: Request<v1::ReportMessage>,
        ) -> Result<Response<v1::DesiredMessage>, Status> {
            let report = Report::try_from(request.into_inner())?;
            let _ = self.reports.send(report.sequence);
            std::future::pending().await
        }

        async fn put_log(
            &self,
            _: Request<v1::PutLogRequest>,
        ) -> Result<Response<v1::PutLogResponse>, Status> {
            let _permit = self.takes_text.acquire().await;
            Ok(Response::new(v1::PutLogResponse { durable: 4 }))
        }

        async fn get_run(
            &self,
            _: Request<v1::GetRunRequest>,
        ) -> Result<Response<v1::RunDescription>, Status> {
            Err(Status::not_found("run"))
        }

        async fn get_bundle(
            &self,
            _: Request<v1::GetBundleRequest>,
        ) -> Result<Response<v1::BundleContents>, Status> {
            Err(Status::not_found("bundle"))
        }

        async fn tell_output(&self, _: Request<v1::OutputTold>) -> Result<Response<v1::OutputHeard>, Status> {
            Ok(Response::new(v1::OutputHeard {}))
        }
    }

    async fn channel(scheduler: Scheduler, token: &Token) -> Channel {
        let (client, server) = tokio::io::duplex(64 << 10);
        let service = endpoint::executors_server(scheduler, token);
        let connections = tokio_stream::once(Ok::<_, std::io::Error>(server)).chain(tokio_stream::pending());
        tokio::spawn(Server::builder().add_service(service).serve_with_incoming(connections));
        let mut client = Some(client);
        let connect = tower::service_fn(move |_: Uri| {
            let client = client.take().ok_or_else(|| std::io::Error::other("connected twice"));
            std::future::ready(client.map(TokioIo::new))
        });
        Endpoint::from_static("http://memory").connect_with_connector(connect).await.unwrap()
    }

    /// As the agent's loop, until the scheduler has heard of the executor.
    async fn heard(
        calls: &mut Calls,
        core: &mut State,
        reports: &mut mpsc::UnboundedReceiver<u64>,
    ) -> Option<u64> {
        loop {
            calls.send_if_due(core);
            let due = calls.due();
            tokio::select! {
                answer = calls.answer() => assert!(answer.is_none(), "it holds calls"),
                report = reports.recv() => return report,
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            }
        }
    }

    #[tokio::test]
    async fn an_executor_is_heard_of_while_text_goes() {
        let takes_text = Arc::new(Semaphore::new(0));
        let token: Token = "right".parse().unwrap();
        let (sender, mut reports) = mpsc::unbounded_channel();
        let scheduler = Scheduler { reports: sender, takes_text: takes_text.clone() };
        let connection = Connection::new(channel(scheduler, &token).await, &token);
        let (logs, attempt) = (Logs::default(), AttemptId(1));
        logs.open(&"r".parse().unwrap(), attempt);
        logs.append(attempt, "text");
        let directory = tempfile::tempdir().unwrap();
        let attachments = Attachments::new(directory.path().to_owned()).unwrap();
        let mut calls = Calls::new(connection, logs, attachments);
        let id = "e".parse().unwrap();
        let mut core = State::new(id, "b".parse().unwrap(), 1, Settings::default());
        assert_eq!(heard(&mut calls, &mut core, &mut reports).await, Some(1));
        // The report of what the text belongs to replaces that one.
        takes_text.add_permits(1);
        assert_eq!(heard(&mut calls, &mut core, &mut reports).await, Some(2));
    }
}
