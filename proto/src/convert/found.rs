//! What is found in many runs at once.

use seagull_domain::{FailureGroup, Ranked, Ranking};

use super::Invalid;
use super::scalar::{self, Checked};
use super::words::{self, Word};
use crate::{limits, v1};

/// A call of `Rank`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RankAsked {
    pub project: String,
    pub ranking: Ranking,
    pub days: u32,
    pub limit: u32,
}

/// A call of `Search`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchAsked {
    pub project: String,
    pub text: String,
    pub days: u32,
    pub limit: u32,
}

impl From<RankAsked> for v1::RankRequest {
    fn from(asked: RankAsked) -> Self {
        let RankAsked { project, ranking, days, limit } = asked;
        Self { project, ranking: ranking.number(), days, limit }
    }
}

impl TryFrom<v1::RankRequest> for RankAsked {
    type Error = Invalid;

    fn try_from(message: v1::RankRequest) -> Checked<Self> {
        Ok(Self {
            project: scalar::text(message.project, limits::WORD_BYTES, "RankRequest.project")?,
            ranking: words::word(message.ranking, "RankRequest.ranking")?,
            days: bounded(message.days, limits::DAYS, "RankRequest.days")?,
            limit: bounded(message.limit, limits::FOUND, "RankRequest.limit")?,
        })
    }
}

impl From<SearchAsked> for v1::SearchRequest {
    fn from(asked: SearchAsked) -> Self {
        let SearchAsked { project, text, days, limit } = asked;
        Self { project, text, days, limit }
    }
}

impl TryFrom<v1::SearchRequest> for SearchAsked {
    type Error = Invalid;

    fn try_from(message: v1::SearchRequest) -> Checked<Self> {
        Ok(Self {
            project: scalar::text(message.project, limits::WORD_BYTES, "SearchRequest.project")?,
            text: scalar::text(message.text, limits::LINE_BYTES, "SearchRequest.text")?,
            days: bounded(message.days, limits::DAYS, "SearchRequest.days")?,
            limit: bounded(message.limit, limits::FOUND, "SearchRequest.limit")?,
        })
    }
}

fn bounded(number: u32, most: u32, field: &'static str) -> Checked<u32> {
    scalar::at_most(scalar::at_least_one(number, field)?, most, field)
}

/// As many of the first as have texts of no more than the bound together.
fn fitting<T>(found: Vec<T>, bytes: impl Fn(&T) -> usize) -> impl Iterator<Item = T> {
    let mut room = limits::MATCHES_BYTES;
    let fits = move |one: &T| {
        let needed = bytes(one);
        let is_room = needed <= room;
        room = room.saturating_sub(needed);
        is_room
    };
    found.into_iter().take(limits::FOUND as usize).take_while(fits)
}

impl From<Vec<Ranked>> for v1::RankResponse {
    fn from(ranked: Vec<Ranked>) -> Self {
        Self { tests: fitting(ranked, |ranked| ranked.test.len()).map(Into::into).collect() }
    }
}

impl TryFrom<v1::RankResponse> for Vec<Ranked> {
    type Error = Invalid;

    fn try_from(message: v1::RankResponse) -> Checked<Self> {
        let bytes = message.tests.iter().map(|ranked| ranked.test.len()).sum();
        scalar::at_most(bytes, limits::MATCHES_BYTES, "RankResponse.tests")?;
        scalar::list(message.tests, limits::FOUND as usize, "RankResponse.tests", TryInto::try_into)
    }
}

impl From<Ranked> for v1::RankedTest {
    fn from(ranked: Ranked) -> Self {
        let Ranked { test, runs, count, micros, before } = ranked;
        let [micros, before] = [micros, before].map(|micros| micros.map(|micros| micros.min(limits::MOMENT)));
        Self { test, runs, count, micros, before }
    }
}

impl TryFrom<v1::RankedTest> for Ranked {
    type Error = Invalid;

    fn try_from(message: v1::RankedTest) -> Checked<Self> {
        let micros = |micros: Option<u64>, field| {
            micros.map(|micros| scalar::at_most(micros, limits::MOMENT, field)).transpose()
        };
        Ok(Self {
            test: scalar::text(message.test, limits::MATCHES_BYTES, "RankedTest.test")?,
            runs: message.runs,
            count: message.count,
            micros: micros(message.micros, "RankedTest.micros")?,
            before: micros(message.before, "RankedTest.before")?,
        })
    }
}

impl From<Vec<FailureGroup>> for v1::SearchResponse {
    fn from(groups: Vec<FailureGroup>) -> Self {
        let bytes = |group: &FailureGroup| group.message.len() + group.test.len();
        Self { groups: fitting(groups, bytes).map(Into::into).collect() }
    }
}

impl TryFrom<v1::SearchResponse> for Vec<FailureGroup> {
    type Error = Invalid;

    fn try_from(message: v1::SearchResponse) -> Checked<Self> {
        let bytes = message.groups.iter().map(|group| group.message.len() + group.test.len()).sum();
        scalar::at_most(bytes, limits::MATCHES_BYTES, "SearchResponse.groups")?;
        scalar::list(message.groups, limits::FOUND as usize, "SearchResponse.groups", TryInto::try_into)
    }
}

impl From<FailureGroup> for v1::FailureGroup {
    fn from(group: FailureGroup) -> Self {
        let FailureGroup { fingerprint, failures, tests, message, location, test, run, at } = group;
        Self {
            fingerprint: scalar::fitted(fingerprint, limits::WORD_BYTES),
            failures,
            tests,
            message: scalar::fitted(message, limits::LINE_BYTES),
            location: scalar::fitted(location, limits::LOCATION_BYTES),
            test,
            run: run.into(),
            at: at.min(limits::MOMENT),
        }
    }
}

impl TryFrom<v1::FailureGroup> for FailureGroup {
    type Error = Invalid;

    fn try_from(message: v1::FailureGroup) -> Checked<Self> {
        Ok(Self {
            fingerprint: scalar::text(message.fingerprint, limits::WORD_BYTES, "FailureGroup.fingerprint")?,
            failures: message.failures,
            tests: scalar::at_most(message.tests, message.failures, "FailureGroup.tests")?,
            message: scalar::text(message.message, limits::LINE_BYTES, "FailureGroup.message")?,
            location: scalar::text(message.location, limits::LOCATION_BYTES, "FailureGroup.location")?,
            test: scalar::text(message.test, limits::MATCHES_BYTES, "FailureGroup.test")?,
            run: scalar::id(message.run, "FailureGroup.run")?,
            at: scalar::at_most(message.at, limits::MOMENT, "FailureGroup.at")?,
        })
    }
}
