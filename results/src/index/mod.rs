//! The index: what runs came to, as documents that are written in bulk and asked in many ways. One interface, and a
//! backend for a laptop and one for a fleet that answer the same.

mod address;
mod bulk;
mod dead;
mod deliver;
mod document;
mod elastic;
mod fingerprint;
mod sqlite;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use seagull_domain::{
    CameTo, FailureGroup, PastRun, Ranked, Ranking, RunId, RunOverview, RunPlace, TestIndex,
};

pub use address::{Address, ElasticAddress, Secret};
pub use bulk::Fate;
pub use dead::DeadLetters;
pub use deliver::{Listener, Pace, deliver};
pub use document::{
    AttemptBody, Body, BundleBody, CountsBody, Document, EXECUTIONS, Execution, Failure, Kind, Learned, Of,
    ResultBody, RunBody, TimingsBody, part, run_key, verdict_parts,
};
pub use elastic::Elastic;
pub use fingerprint::{TEXT_BYTES, excerpt, fingerprint, words};
pub use sqlite::SqliteIndex;

/// Results that one question is answered with at most.
pub const PAGE: usize = 10_000;

/// Why an index did not do what it was asked. Nothing that was to be written is lost by it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is down, slow, overloaded or full: the same works later.
    #[error("the index {index} is not available: {why}")]
    Unavailable { index: String, why: String },
    /// Somebody has to see to it: credentials, permissions, what is there under our names.
    #[error("the index {index} refuses: {why}\nhint: {hint}")]
    Refused { index: String, why: String, hint: String },
    #[error("{0}")]
    Address(String),
}

/// Which results of a run.
#[derive(Debug, Clone, Default)]
pub struct ResultsAsked {
    /// Words of verdicts; of any if empty.
    pub verdicts: Vec<String>,
    /// How their ids begin.
    pub prefix: String,
    /// Only those of a later place in the manifest.
    pub after: Option<TestIndex>,
    /// At most [`PAGE`].
    pub limit: usize,
}

/// A window of time, by when runs were first seen: Unix milliseconds, the end excluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub since: u64,
    pub until: u64,
}

impl Window {
    /// As long, and just before.
    pub fn before(self) -> Window {
        let length = self.until.saturating_sub(self.since);
        Window { since: self.since.saturating_sub(length), until: self.since }
    }
}

/// Takes timings as they come.
pub type TakeLearned<'a> = &'a mut (dyn FnMut(Learned) + Send);

#[async_trait]
pub trait Index: Send + Sync + fmt::Debug {
    /// Sees to it that documents find what they need, and that nothing of somebody else is in the way.
    async fn prepare(&self) -> Result<(), Error>;

    /// Whether all that is asked of it can be done, by doing it; nothing is left of that.
    async fn try_out(&self) -> Result<(), Error> {
        self.prepare().await?;
        self.runs(None, None, 1).await.map(drop)
    }

    /// Writes documents, in any order and any number of times; what becomes of each. As many as one request takes: the
    /// fates may be fewer than the documents, and are those of the first.
    async fn write(&self, documents: &[Document]) -> Result<Vec<Fate>, Error>;

    /// Runs that have ended, the newest first: those that come after one.
    async fn runs(
        &self,
        project: Option<&str>,
        after: Option<&RunPlace>,
        limit: usize,
    ) -> Result<Vec<RunOverview>, Error>;

    /// Results of the newest run of an id, in the order of the manifest. None where there is no such run.
    async fn results(&self, run: &RunId, asked: &ResultsAsked) -> Result<Option<Vec<CameTo>>, Error>;

    /// What a test came to in the newest so many runs of its project that have ended, the newest first; and how many
    /// those are.
    async fn history(&self, project: &str, test: &str, runs: usize) -> Result<(Vec<PastRun>, u32), Error>;

    /// The first of a project's tests by a ranking.
    async fn ranked(
        &self,
        project: &str,
        ranking: Ranking,
        window: Window,
        limit: usize,
    ) -> Result<Vec<Ranked>, Error>;

    /// Failures whose text has every word of `text`, by fingerprint: those with most first.
    async fn search(
        &self,
        project: &str,
        text: &str,
        window: Window,
        limit: usize,
    ) -> Result<Vec<FailureGroup>, Error>;

    /// Removes what is of runs that were first seen before then, in Unix milliseconds, but for those in `kept` where runs can
    /// be told apart; or only says what. Whole indices in Elasticsearch, runs in SQLite.
    async fn forget(&self, before: u64, kept: &HashSet<RunId>, dry_run: bool) -> Result<Vec<String>, Error>;

    /// All timings of a project in one pass; how many there were.
    async fn timings(&self, project: &str, take: TakeLearned<'_>) -> Result<usize, Error>;
}

/// Opens the index that an address names. Nothing is asked of it yet.
pub fn open(address: &Address) -> Result<Arc<dyn Index>, Error> {
    Ok(match address {
        Address::Sqlite(path) => {
            let unusable = |error: crate::Error| Error::Address(error.to_string());
            Arc::new(SqliteIndex::open(path).map_err(unusable)?)
        }
        Address::Elastic(address) => Arc::new(Elastic::new(address)?),
    })
}
