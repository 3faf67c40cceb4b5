//! The index in Elasticsearch, or what speaks its language.
#![expect(clippy::disallowed_methods, reason = "a shell: what is known of indices is shared")]

mod ask;
mod mapping;
mod wire;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use seagull_domain::{CameTo, FailureGroup, PastRun, Ranked, Ranking, RunId, RunOverview, RunPlace};
use serde_json::{Value, json};

use self::wire::{Answer, Wire};
use super::address::ElasticAddress;
use super::document::{Document, Kind, Learned};
use super::{Error, Fate, Index, PAGE, ResultsAsked, TakeLearned, Window, bulk};

/// Bytes and documents of one bulk request.
const BULK_BYTES: usize = 5 << 20;
const BULK_DOCUMENTS: usize = 10_000;
/// Bulk requests on their way at a time: one is made, and its answer read, while the server is at the other.
const AT_A_TIME: usize = 2;
/// Parts of a project's timings in one answer.
const PARTS: usize = 64;
/// Tests that are looked at for those that have become slower: the slowest. No other has become slower by more than the
/// last of these takes.
const CANDIDATES: usize = 10_000;
/// Tests, each with a revision, of which it is asked whether they passed there, too; and in one question.
const MOST_PAIRS: usize = 50_000;
const PAIRS: usize = 1000;

const FOREIGN: &str =
    "another prefix (es+https://HOST:PORT/PREFIX) keeps apart what is not seagull's, or another release's";

#[derive(Debug)]
pub struct Elastic {
    address: ElasticAddress,
    wire: Arc<Wire>,
    /// Indices that are there with our mapping, and patterns of those that are read.
    known: Mutex<HashSet<String>>,
}

impl Elastic {
    /// Reads the authority's certificate; asks nothing yet.
    pub fn new(address: &ElasticAddress) -> Result<Elastic, Error> {
        Ok(Elastic { address: address.clone(), wire: Arc::new(Wire::new(address)?), known: Mutex::default() })
    }

    fn known(&self) -> MutexGuard<'_, HashSet<String>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn indices(&self, kind: Kind) -> String {
        mapping::pattern(&self.address, kind)
    }

    fn template(&self, kind: Kind) -> String {
        format!("_index_template/{}", mapping::name(&self.address, kind))
    }

    /// Whether a template that is there under our name is ours.
    async fn check_template(&self, kind: Kind) -> Result<(), Error> {
        let Answer::Yes(found) = self.wire.get(&self.template(kind)).await? else { return Ok(()) };
        let found = &found["index_templates"][0]["index_template"];
        let Some(why) = mapping::foreign(found, kind) else { return Ok(()) };
        let name = mapping::name(&self.address, kind);
        Err(self.wire.refused(format!("its template {name} {why}"), FOREIGN))
    }

    /// Sees to it that an index is there and has our mapping.
    async fn ensure(&self, index: &str, kind: Kind) -> Result<(), Error> {
        if self.known().contains(index) {
            return Ok(());
        }
        self.wire.put(index, &json!({})).await?;
        self.check(index, kind).await?;
        self.known().insert(index.to_owned());
        Ok(())
    }

    /// Whether indices, where there are any, have our mapping.
    async fn check(&self, indices: &str, kind: Kind) -> Result<(), Error> {
        let path = format!("{indices}/_mapping?ignore_unavailable=true&allow_no_indices=true");
        let Answer::Yes(found) = self.wire.get(&path).await? else { return Ok(()) };
        let found = found.as_object().ok_or_else(|| self.garbage())?;
        for (name, of) in found {
            if let Some(why) = mapping::foreign(&of["mappings"], kind) {
                return Err(self.wire.refused(format!("the mapping of its index {name} {why}"), FOREIGN));
            }
        }
        Ok(())
    }

    /// Whether what is read is ours: looked at once.
    async fn is_ours(&self, kind: Kind) -> Result<(), Error> {
        let indices = self.indices(kind);
        if self.known().contains(&indices) {
            return Ok(());
        }
        self.check(&indices, kind).await?;
        self.known().insert(indices);
        Ok(())
    }

    /// Writes a document to an index and finds it there.
    async fn trial(&self, index: &str) -> Result<(), Error> {
        self.wire.put(index, &json!({})).await?;
        self.wire.put(&format!("{index}/_doc/1?refresh=true"), &json!({"word": "trial"})).await?;
        let found = self.wire.search(index, &json!({"query": {"match": {"word": "trial"}}})).await?;
        let is_there = found["hits"]["hits"].as_array().is_some_and(|hits| hits.len() == 1);
        is_there.then_some(()).ok_or_else(|| self.wire.unavailable("what was written is not found"))
    }

    /// A bulk request of the first documents.
    async fn frame(&self, documents: &[Document]) -> Result<bulk::Frame, Error> {
        let mut frame = bulk::Frame::new(BULK_BYTES);
        let mut names = HashMap::new();
        for document in documents.iter().take(BULK_DOCUMENTS) {
            let (kind, at) = (document.kind(), document.of.at);
            let index = match names.entry((kind, at)) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    let index = mapping::index(&self.address, kind, at);
                    self.ensure(&index, kind).await?;
                    new.insert(index)
                }
            };
            if !frame.add(document, index) {
                break;
            }
        }
        Ok(frame)
    }

    fn garbage(&self) -> Error {
        self.wire.garbage()
    }

    fn understood<T>(&self, answer: Option<T>) -> Result<T, Error> {
        answer.ok_or_else(|| self.garbage())
    }

    async fn search(&self, kind: Kind, body: &Value) -> Result<Value, Error> {
        self.is_ours(kind).await?;
        self.wire.search(&self.indices(kind), body).await
    }

    /// Tests and their scores, the first by a ranking.
    async fn scores(
        &self,
        project: &str,
        ranking: Ranking,
        window: Window,
        limit: usize,
    ) -> Result<Vec<(String, f64)>, Error> {
        let asked = match ranking {
            Ranking::Failing => ask::failing(project, window, limit),
            Ranking::Slowest => ask::slowest(project, window, limit, None),
            Ranking::Flaky => return self.flaky(project, window, limit).await,
            Ranking::Slower => return self.slower(project, window, limit).await,
        };
        self.understood(ask::scored(&self.search(Kind::Results, &asked).await?))
    }

    async fn slower(&self, project: &str, window: Window, limit: usize) -> Result<Vec<(String, f64)>, Error> {
        let asked = ask::slowest(project, window, CANDIDATES, None);
        let now = self.understood(ask::scored(&self.search(Kind::Results, &asked).await?))?;
        let tests: Vec<&str> = now.iter().map(|(test, _)| test.as_str()).collect();
        let asked = ask::slowest(project, window.before(), CANDIDATES, Some(&tests));
        let before = self.understood(ask::scored(&self.search(Kind::Results, &asked).await?))?;
        Ok(ask::slower(now, before, limit))
    }

    async fn flaky(&self, project: &str, window: Window, limit: usize) -> Result<Vec<(String, f64)>, Error> {
        let mut pairs = Vec::new();
        let mut after = None;
        loop {
            let asked = ask::pairs(project, window, &["failed", "flaky"], None, after.as_ref());
            let page = self.understood(ask::paired(&self.search(Kind::Results, &asked).await?))?;
            pairs.extend(page.pairs);
            after = page.after;
            if after.is_none() || pairs.len() >= MOST_PAIRS {
                break;
            }
        }
        let failed: Vec<_> =
            pairs.iter().filter(|pair| !pair.both && !pair.revision.is_empty()).cloned().collect();
        let mut passed = HashSet::new();
        for chunk in failed.chunks(PAIRS) {
            let mut after = None;
            loop {
                let asked = ask::pairs(project, window, &["passed"], Some(chunk), after.as_ref());
                let page = self.understood(ask::paired(&self.search(Kind::Results, &asked).await?))?;
                passed.extend(page.pairs.into_iter().map(|pair| (pair.test, pair.revision)));
                after = page.after;
                if after.is_none() {
                    break;
                }
            }
        }
        Ok(ask::flaky(pairs, &passed, limit))
    }
}

/// Sends a bulk request, or as much of it as the server takes at a time.
async fn send(wire: Arc<Wire>, frame: bulk::Frame) -> Result<Vec<Fate>, Error> {
    let (lines, ends) = frame.into_lines();
    let mut sent = ends.len();
    loop {
        let end = sent.checked_sub(1).map_or(0, |last| ends[last]);
        match wire.bulk(lines.slice(..end)).await? {
            Answer::Yes(answer) => return answer.fates(sent).ok_or_else(|| wire.garbage()),
            Answer::TooLarge if sent > 1 => sent /= 2,
            Answer::TooLarge => {
                return Ok(vec![Fate::Rejected("it is larger than the index takes".to_owned())]);
            }
            Answer::NotFound | Answer::Exists => return Err(wire.garbage()),
        }
    }
}

#[async_trait]
impl Index for Elastic {
    async fn prepare(&self) -> Result<(), Error> {
        // Where something is not ours, nothing is written.
        for kind in Kind::ALL {
            self.check(&self.indices(kind), kind).await?;
            self.check_template(kind).await?;
        }
        for kind in Kind::ALL {
            self.wire.put(&self.template(kind), &mapping::template(&self.address, kind)).await?;
        }
        Ok(())
    }

    async fn try_out(&self) -> Result<(), Error> {
        self.prepare().await?;
        let index = format!("{}-trial-{:x}", self.address.prefix, RandomState::new().hash_one(0));
        let tried = self.trial(&index).await;
        let deleted = self.wire.delete(&index).await;
        tried.and(deleted.map(drop))
    }

    async fn write(&self, documents: &[Document]) -> Result<Vec<Fate>, Error> {
        let (mut rest, mut under_way, mut fates) = (documents, VecDeque::new(), Vec::new());
        loop {
            while under_way.len() < AT_A_TIME && !rest.is_empty() {
                let frame = self.frame(rest).await?;
                rest = &rest[frame.documents()..];
                under_way.push_back((frame.documents(), tokio::spawn(send(self.wire.clone(), frame))));
            }
            let Some((sent, answered)) = under_way.pop_front() else { return Ok(fates) };
            // What is sent behind one that fails may be sent again.
            match answered.await.unwrap_or_else(|error| Err(self.wire.unavailable(error.to_string()))) {
                Ok(decided) => {
                    let is_whole = decided.len() == sent;
                    if decided.iter().any(|fate| matches!(fate, Fate::Again(_))) {
                        // An index may be gone meanwhile.
                        self.known().clear();
                    }
                    fates.extend(decided);
                    if !is_whole {
                        return Ok(fates);
                    }
                }
                Err(error) if fates.is_empty() => return Err(error),
                Err(_) => return Ok(fates),
            }
        }
    }

    async fn runs(
        &self,
        project: Option<&str>,
        after: Option<&RunPlace>,
        limit: usize,
    ) -> Result<Vec<RunOverview>, Error> {
        let answer = self.search(Kind::Runs, &ask::runs(project, after, limit)).await?;
        self.understood(ask::overviews(&answer))
    }

    async fn results(&self, run: &RunId, asked: &ResultsAsked) -> Result<Option<Vec<CameTo>>, Error> {
        let newest = self.search(Kind::Runs, &ask::newest(run)).await?;
        let Some(key) = self.understood(ask::keys(&newest))?.into_iter().next() else { return Ok(None) };
        let limit = asked.limit.min(PAGE);
        let answer = self.search(Kind::Results, &ask::results(&key, asked, limit)).await?;
        self.understood(ask::came_to(&answer)).map(Some)
    }

    async fn history(&self, project: &str, test: &str, runs: usize) -> Result<(Vec<PastRun>, u32), Error> {
        if test.chars().count() > mapping::LONGEST_KEYWORD as usize {
            let why =
                format!("an id of more than {} characters has no history there", mapping::LONGEST_KEYWORD);
            return Err(self.wire.refused(why, "seagull results RUN says what it came to in a run"));
        }
        let newest = self.search(Kind::Runs, &ask::runs(Some(project), None, runs)).await?;
        let keys = self.understood(ask::keys(&newest))?;
        let answer = self.search(Kind::Results, &ask::history(project, test, &keys)).await?;
        let past = self.understood(ask::past(&answer, &keys))?;
        Ok((past, u32::try_from(keys.len()).unwrap_or(u32::MAX)))
    }

    async fn ranked(
        &self,
        project: &str,
        ranking: Ranking,
        window: Window,
        limit: usize,
    ) -> Result<Vec<Ranked>, Error> {
        let scores = self.scores(project, ranking, window, limit).await?;
        let tests: Vec<&str> = scores.iter().map(|(test, _)| test.as_str()).collect();
        let mut means = Vec::new();
        for window in [window, window.before()] {
            let answer = self.search(Kind::Results, &ask::means(project, window, &tests)).await?;
            means.push(self.understood(ask::meant(&answer))?);
        }
        let is_counted = matches!(ranking, Ranking::Failing | Ranking::Flaky);
        let ranked = scores.into_iter().map(|(test, score)| {
            let (runs, micros) = means[0].get(&test).copied().unwrap_or_default();
            let before = means[1].get(&test).and_then(|(_, micros)| *micros);
            Ranked { test, runs, count: if is_counted { score as u32 } else { 0 }, micros, before }
        });
        Ok(ranked.collect())
    }

    async fn search(
        &self,
        project: &str,
        text: &str,
        window: Window,
        limit: usize,
    ) -> Result<Vec<FailureGroup>, Error> {
        let words = super::words(text);
        let answer = self.search(Kind::Results, &ask::failures(project, &words, window, limit)).await?;
        self.understood(ask::groups(&answer))
    }

    async fn forget(&self, before: u64, _: &HashSet<RunId>, dry_run: bool) -> Result<Vec<String>, Error> {
        let mut old = Vec::new();
        for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Timings) {
            let path = format!("{}/_settings/index.creation_date", self.indices(kind));
            let Answer::Yes(found) = self.wire.get(&path).await? else { continue };
            let names = found.as_object().ok_or_else(|| self.garbage())?.keys();
            old.extend(names.filter(|name| mapping::is_over(&self.address, kind, name, before)).cloned());
        }
        old.sort();
        if !dry_run {
            for name in &old {
                self.wire.delete(name).await?;
                self.known().remove(name);
            }
        }
        Ok(old)
    }

    async fn timings(&self, project: &str, take: TakeLearned<'_>) -> Result<usize, Error> {
        let (mut after, mut count) = (None, 0);
        loop {
            let answer = self.search(Kind::Timings, &ask::timings(project, after, PARTS)).await?;
            let parts = self.understood(ask::parts(&answer))?;
            let Some((last, _)) = parts.last() else { return Ok(count) };
            after = Some(*last);
            for learned in parts.into_iter().flat_map(|(_, learned): (u32, Vec<Learned>)| learned) {
                count += 1;
                take(learned);
            }
        }
    }
}
