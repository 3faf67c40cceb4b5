//! What the command asks of a scheduler, its own or another's: domain types in and out.
#![expect(
    clippy::disallowed_methods,
    reason = "a shell: calls run side by side, and are tried again after a while"
)]

mod blobs;
mod error;
mod tls;
mod watch;

use std::fmt;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use seagull_domain::{
    DrainState, FailureGroup, NotPassed, Ranked, RunId, RunOverview, RunSpec, Standing, SuiteError,
    TestHistory, TextRef, Whereabouts,
};
use seagull_executor::jittered;
use seagull_proto::convert::{
    self, DrainAsked, HistoryAsked, ListAsked, RankAsked, SearchAsked, TestAsked, TextAsked, Word,
};
use seagull_proto::endpoint::{Authorized, blobs_client, runs_client};
use seagull_proto::v1::blobs_client::BlobsClient;
use seagull_proto::v1::runs_client::RunsClient;
use seagull_proto::{Token, Unsupported, agree, status, v1};
use tokio::task::JoinSet;
use tonic::Code;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::errors::{say, usage, warn};
pub use error::Error;
pub use watch::Notice;

const CONNECT: Duration = Duration::from_secs(10);
/// A connection that is silent for so long is asked whether it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// That an answer takes longer is said.
const QUIET: Duration = Duration::from_secs(2);
/// Texts that are read at a time.
const AT_A_TIME: usize = 16;

/// A scheduler's address as people write it.
pub fn name(url: &Uri) -> String {
    url.to_string().trim_end_matches('/').to_owned()
}

/// A connection to a scheduler elsewhere, made when it is first needed, and again when it is lost. `authorities` is a
/// file with those that sign certificates of schedulers.
pub fn channel(url: &Uri, authorities: Option<&Path>) -> anyhow::Result<Channel> {
    let mut endpoint = Endpoint::from(url.clone());
    if is_trust_in_vain(url, authorities) {
        warn(format!(
            "--tls-ca has no effect: {} has no TLS, everything is sent unencrypted, the token too",
            name(url)
        ));
    }
    if is_secure(url) {
        endpoint = tls::secure(endpoint, authorities)?;
    }
    let channel = endpoint
        .connect_timeout(CONNECT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .connect_lazy();
    Ok(channel)
}

fn is_secure(url: &Uri) -> bool {
    url.scheme_str() == Some("https")
}

fn is_trust_in_vain(url: &Uri, authorities: Option<&Path>) -> bool {
    authorities.is_some() && !is_secure(url)
}

/// A run that was asked for.
#[derive(Debug)]
pub struct Submitted {
    /// It was there already.
    pub attached: bool,
    /// The last run of its project, if that did not pass and this one does not select tests.
    pub not_passed: Option<NotPassed>,
}

/// A scheduler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    pub version: String,
    /// By its clock when it answered; 0 if it does not say.
    pub unix_millis: u64,
    /// Of the executors that are there, if it says.
    pub slots: Option<u32>,
    /// It takes no runs.
    pub reads_only: bool,
}

impl About {
    /// Of one that speaks our protocol.
    fn of(info: v1::InfoResponse) -> Result<About, Unsupported> {
        agree(info.protocol)?;
        let v1::InfoResponse { version, unix_millis, slots, reads_only, .. } = info;
        Ok(About { version, unix_millis, slots, reads_only })
    }
}

/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    runs: RunsClient<Authorized>,
    blobs: BlobsClient<Authorized>,
    /// Where it is, if that is elsewhere.
    url: Option<Uri>,
    /// Whether it was said that an answer takes long.
    has_waited: Arc<AtomicBool>,
}

impl Client {
    pub fn new(channel: Channel, token: &Token) -> Client {
        let (runs, blobs) = (runs_client(channel.clone(), token), blobs_client(channel, token));
        Client { runs, blobs, url: None, has_waited: Arc::default() }
    }

    /// Of a scheduler elsewhere.
    pub fn at(self, url: &Uri) -> Client {
        Client { url: Some(url.clone()), ..self }
    }

    /// Checks address, token and protocol.
    pub async fn info(&self) -> Result<(), Error> {
        self.about().await.map(drop)
    }

    /// As [`Client::info`], with what the scheduler says of itself.
    pub async fn about(&self) -> Result<About, Error> {
        let answer = self.patiently(self.runs.clone().info(v1::InfoRequest {})).await;
        let answer = answer.map_err(|status| Error::from(status).at(self.url.as_ref()));
        let info = match (answer, &self.url) {
            (Ok(answer), _) => answer.into_inner(),
            (Err(error), Some(url)) if error.is_transient() && !is_secure(url) => {
                return Err(tls::is_spoken_at(url).await.map_or(error, Error::from));
            }
            (Err(error), _) => return Err(error),
        };
        About::of(info).map_err(Error::new)
    }

    /// Asks for a run.
    pub async fn submit(&self, spec: RunSpec) -> anyhow::Result<Submitted> {
        self.offer(spec).await?.map_err(|differs| usage(differs.to_string()))
    }

    /// Asks for a run, which may differ from one of its id.
    pub async fn offer(&self, spec: RunSpec) -> anyhow::Result<Result<Submitted, Differs>> {
        let run = spec.id.clone();
        let request = convert::submission(spec).map_err(|invalid| usage(invalid.to_string()))?;
        let answer = self.ask(|| async { Ok(self.runs.clone().submit(request.clone()).await?) }).await;
        match answer {
            Ok(answer) => {
                let v1::SubmitResponse { attached, not_passed } = answer.into_inner();
                let not_passed = not_passed.and_then(|last| last.try_into().ok());
                Ok(Ok(Submitted { attached, not_passed }))
            }
            Err(error) => match error.status().and_then(status::difference) {
                Some(difference) => Ok(Err(Differs { run, difference: difference.to_owned() })),
                None => Err(refused(error)),
            },
        }
    }

    /// Stops a run; its end is seen by watching it.
    pub async fn cancel(&self, run: RunId) -> Result<(), Error> {
        let request = v1::CancelRequest::from(run);
        self.insist(|| async { Ok(self.runs.clone().cancel(request.clone()).await?) }).await?;
        Ok(())
    }

    /// Says what is wrong with a run's suite as a whole, or, by None, that this is being found out.
    pub async fn judge(&self, run: RunId, errors: Option<Vec<SuiteError>>) -> Result<(), Error> {
        let request = v1::JudgeRequest::from(Word { run, errors });
        self.insist(|| async { Ok(self.runs.clone().judge(request.clone()).await?) }).await?;
        Ok(())
    }

    /// The newest runs.
    pub async fn list(&self, asked: ListAsked) -> Result<Vec<RunOverview>, Error> {
        let request = v1::ListRequest::from(asked);
        let answer = self.ask(|| async { Ok(self.runs.clone().list(request.clone()).await?) }).await?;
        Vec::try_from(answer.into_inner()).map_err(Error::new)
    }

    /// What is kept of a test.
    pub async fn history(&self, asked: HistoryAsked) -> Result<TestHistory, Error> {
        let request = v1::HistoryRequest::from(asked);
        let answer = self.ask(|| async { Ok(self.runs.clone().history(request.clone()).await?) }).await?;
        TestHistory::try_from(answer.into_inner()).map_err(Error::new)
    }

    /// The first tests of a project by a ranking.
    pub async fn rank(&self, asked: RankAsked) -> Result<Vec<Ranked>, Error> {
        let request = v1::RankRequest::from(asked);
        let answer = self.ask(|| async { Ok(self.runs.clone().rank(request.clone()).await?) }).await?;
        Vec::try_from(answer.into_inner()).map_err(Error::new)
    }

    /// Failures of a project that have some words.
    pub async fn search(&self, asked: SearchAsked) -> Result<Vec<FailureGroup>, Error> {
        let request = v1::SearchRequest::from(asked);
        let answer = self.ask(|| async { Ok(self.runs.clone().search(request.clone()).await?) }).await?;
        Vec::try_from(answer.into_inner()).map_err(Error::new)
    }

    /// Asks executors to leave, once; how far each has come, in their order.
    pub async fn drain(&self, asked: DrainAsked) -> Result<Vec<DrainState>, Error> {
        let (expected, request) = (asked.executors.len(), v1::DrainRequest::from(asked));
        let answer = self.patiently(self.runs.clone().drain(request)).await;
        let answer = answer.map_err(|status| Error::from(status).at(self.url.as_ref()))?;
        let states = Vec::try_from(answer.into_inner()).map_err(Error::new)?;
        if states.len() == expected { Ok(states) } else { Err(Error::new("of other executors")) }
    }

    /// Where a test is that waits for its verdict; None where the scheduler has no such test, or cannot tell.
    pub async fn find(&self, asked: TestAsked) -> Result<Option<Whereabouts>, Error> {
        match self.patiently(self.runs.clone().find_test(v1::FindTestRequest::from(asked))).await {
            Ok(answer) => answer.into_inner().try_into().map(Some).map_err(Error::new),
            // An older release does not know the call.
            Err(status) if matches!(status.code(), Code::NotFound | Code::Unimplemented) => Ok(None),
            Err(status) => Err(Error::from(status).at(self.url.as_ref())),
        }
    }

    /// What a run under way waits for; None where the scheduler has none of that name, or cannot tell.
    pub async fn standing(&self, run: &RunId) -> Result<Option<Standing>, Error> {
        match self.patiently(self.runs.clone().get_standing(v1::GetStandingRequest::from(run.clone()))).await
        {
            Ok(answer) => answer.into_inner().try_into().map(Some).map_err(Error::new),
            // An older release does not know the call.
            Err(status) if matches!(status.code(), Code::NotFound | Code::Unimplemented) => Ok(None),
            Err(status) => Err(Error::from(status).at(self.url.as_ref())),
        }
    }

    /// Reads a text of a run, piece by piece.
    pub async fn text(&self, run: &RunId, text: TextRef) -> Result<String, Error> {
        let mut bytes = Vec::new();
        let mut left = text;
        while left.length > 0 {
            let request = v1::ReadLogRequest::from(TextAsked { run: run.clone(), text: left });
            let answer =
                self.ask(|| async { Ok(self.runs.clone().read_log(request.clone()).await?) }).await?;
            let data = answer.into_inner().data;
            let got = u32::try_from(data.len()).unwrap_or(u32::MAX);
            if got == 0 || got > left.length {
                break;
            }
            bytes.extend_from_slice(&data);
            left.offset += u64::from(got);
            left.length -= got;
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Reads many texts of a run, some at a time and in any order; an error says why one cannot be had.
    pub async fn texts(
        &self,
        run: &RunId,
        texts: Vec<TextRef>,
        mut take: impl FnMut(TextRef, Result<String, Error>),
    ) {
        let mut wanted = texts.into_iter();
        let mut reading = JoinSet::new();
        loop {
            while reading.len() < AT_A_TIME
                && let Some(text) = wanted.next()
            {
                let (client, run) = (self.clone(), run.clone());
                reading.spawn(async move { (text, client.text(&run, text).await) });
            }
            match reading.join_next().await {
                None => return,
                Some(Ok((text, read))) => take(text, read),
                Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
            }
        }
    }

    /// Calls as [`Client::insist`] does, and [patiently](Client::patiently).
    async fn ask<T, F>(&self, call: impl FnMut() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        self.patiently(self.insist(call)).await
    }

    /// Waits for an answer; that it takes long is said once.
    async fn patiently<T>(&self, answer: impl Future<Output = T>) -> T {
        let mut answer = pin!(answer);
        if let Ok(answer) = tokio::time::timeout(QUIET, &mut answer).await {
            return answer;
        }
        if let Some(word) = self.waits().filter(|_| !self.has_waited.swap(true, Ordering::Relaxed)) {
            say!("{word}");
        }
        answer.await
    }

    /// What is said of a scheduler elsewhere.
    fn waits(&self) -> Option<String> {
        let url = name(self.url.as_ref()?);
        Some(format!("waiting for the scheduler at {url}, which has not answered for {} s", QUIET.as_secs()))
    }

    /// Calls again, a minute long, until there is an answer that a retry will not change.
    async fn insist<T, F>(&self, mut call: impl FnMut() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        const TRIES: u32 = 18;
        let mut failures = 0;
        loop {
            match call().await {
                Err(error) if error.is_transient() && failures < TRIES => failures += 1,
                outcome => return outcome.map_err(|error| error.at(self.url.as_ref())),
            }
            tokio::time::sleep(backoff(failures)).await;
        }
    }
}

/// A run of the same id is another.
#[derive(Debug)]
pub struct Differs {
    pub run: RunId,
    difference: String,
}

impl Differs {
    pub fn is_of_files(&self) -> bool {
        self.difference == "workspace"
    }
}

impl fmt::Display for Differs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Differs { run, difference } = self;
        write!(
            f,
            "there is a run {run} already, which differs in its {difference}\n\
             hint: leave --run-id out for a new run, or ask for what it was; seagull results {run} shows it"
        )
    }
}

/// What is asked for and cannot be is a mistake of whoever asked.
fn refused(error: Error) -> anyhow::Error {
    let Some(status) = error.status() else { return error.into() };
    if status.code() == Code::InvalidArgument {
        return usage(status.message());
    }
    error.into()
}

/// How long to wait before another try.
fn backoff(failures: u32) -> Duration {
    jittered((Duration::from_millis(50) * (1 << failures.min(7))).min(Duration::from_secs(5)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheduler_of_another_release_is_refused_whether_older_or_newer() {
        for (min, max) in [(0, 0), (2, 3)] {
            let protocol = Some(v1::ProtocolRange { min, max });
            let info = v1::InfoResponse { version: "9.9.9".into(), protocol, ..Default::default() };
            let error = Error::new(About::of(info).unwrap_err());
            assert!(!error.is_transient());
            let said = error.to_string();
            assert!(
                said.contains(&format!("1..1 here, {min}..{max} offered"))
                    && said.contains("\nhint: install the same release"),
                "{said}"
            );
        }
    }

    #[test]
    fn whoever_trusts_an_authority_expects_tls() {
        let (ca, in_vain) =
            (Path::new("ca.pem"), |url: &str, ca| is_trust_in_vain(&url.parse().unwrap(), ca));
        assert!(in_vain("http://ci:7878", Some(ca)));
        assert!(!in_vain("https://ci:7878", Some(ca)) && !in_vain("http://ci:7878", None));
    }
}
