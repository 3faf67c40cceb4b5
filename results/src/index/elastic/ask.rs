//! Questions as Elasticsearch takes them, without scripts, and what its answers say. An answer that is not of that shape is
//! none. Pure.

use std::collections::{HashMap, HashSet};

use seagull_domain::{
    CameTo, Counts, FailureGroup, PastRun, RunId, RunOverview, RunPlace, RunState, TestIndex, Verdict,
};
use serde_json::{Value, json};

use crate::index::document::{Learned, run_verdict, verdict};
use crate::index::{ResultsAsked, Window};

/// Buckets of a page of pairs.
const PAGE: usize = 5000;
/// Different tests up to which they are counted exactly.
const EXACT: u32 = 40_000;
/// What tells results apart that belong together, newest first.
const NEWEST: [(&str, &str); 2] = [("at", "desc"), ("key", "desc")];

fn sorted(by: &[(&str, &str)]) -> Value {
    let field = |(name, order): &(&str, &str)| json!({*name: {"order": order, "unmapped_type": "long"}});
    by.iter().map(field).collect()
}

/// A question for documents.
fn documents(filters: Vec<Value>, size: usize, sort: Value) -> Value {
    json!({"size": size, "track_total_hits": false, "query": {"bool": {"filter": filters}}, "sort": sort})
}

/// A question for figures.
fn figures(filters: Vec<Value>, figures: Value) -> Value {
    json!({"size": 0, "track_total_hits": false, "query": {"bool": {"filter": filters}}, "aggs": figures})
}

fn within(project: &str, window: Window) -> Vec<Value> {
    vec![
        json!({"term": {"project": project}}),
        json!({"range": {"at": {"gte": window.since, "lt": window.until, "format": "epoch_millis"}}}),
    ]
}

fn passed() -> Value {
    json!({"terms": {"verdict": ["passed", "flaky"]}})
}

pub fn runs(project: Option<&str>, after: Option<&RunPlace>, limit: usize) -> Value {
    let mut filters = vec![json!({"exists": {"field": "verdict"}})];
    filters.extend(project.map(|project| json!({"term": {"project": project}})));
    let mut question = documents(filters, limit, sorted(&[("submitted_at", "desc"), ("run", "desc")]));
    if let Some(RunPlace { submitted_at, run }) = after {
        question["search_after"] = json!([submitted_at, run.as_str()]);
    }
    question
}

pub fn newest(run: &RunId) -> Value {
    documents(vec![json!({"term": {"run": run.as_str()}})], 1, sorted(&NEWEST))
}

pub fn results(key: &str, asked: &ResultsAsked, limit: usize) -> Value {
    let mut filters = vec![json!({"term": {"key": key}})];
    if !asked.verdicts.is_empty() {
        filters.push(json!({"terms": {"verdict": asked.verdicts}}));
    }
    if !asked.prefix.is_empty() {
        filters.push(json!({"prefix": {"test": asked.prefix}}));
    }
    let mut question = documents(filters, limit, sorted(&[("position", "asc")]));
    question["_source"] = json!({"excludes": ["executions", "stack", "words"]});
    if let Some(after) = asked.after {
        question["search_after"] = json!([after.0]);
    }
    question
}

pub fn history(project: &str, test: &str, keys: &[String]) -> Value {
    let filters = vec![
        json!({"term": {"project": project}}),
        json!({"term": {"test": test}}),
        json!({"terms": {"key": keys}}),
    ];
    let mut question = documents(filters, keys.len(), sorted(&NEWEST));
    question["_source"] = json!({"excludes": ["executions", "stack", "words", "message"]});
    question
}

pub fn failing(project: &str, window: Window, limit: usize) -> Value {
    let mut filters = within(project, window);
    filters.push(json!({"term": {"verdict": "failed"}}));
    let tests = json!({"field": "test", "size": limit.max(1), "shard_size": limit * 10 + 1000,
        "order": [{"_count": "desc"}, {"_key": "asc"}]});
    figures(filters, json!({"tests": {"terms": tests}}))
}

/// Tests by their mean, the longest first; of these tests, if they are given.
pub fn slowest(project: &str, window: Window, limit: usize, of: Option<&[&str]>) -> Value {
    let mut filters = within(project, window);
    filters.push(passed());
    filters.extend(of.map(|tests| json!({"terms": {"test": tests}})));
    let tests = json!({"field": "test", "size": limit.max(1), "shard_size": limit * 2 + 1000,
        "order": [{"mean": "desc"}, {"_key": "asc"}]});
    figures(filters, json!({"tests": {"terms": tests, "aggs": {"mean": {"avg": {"field": "micros"}}}}}))
}

/// In how many results of a window tests were executed, and their mean.
pub fn means(project: &str, window: Window, tests: &[&str]) -> Value {
    let mut filters = within(project, window);
    filters.push(json!({"terms": {"test": tests}}));
    let figure = json!({
        "executed": {"filter": {"range": {"results": {"gt": 0}}}},
        "passed": {"filter": passed(), "aggs": {"mean": {"avg": {"field": "micros"}}}},
    });
    let of = json!({"field": "test", "size": tests.len().max(1)});
    figures(filters, json!({"tests": {"terms": of, "aggs": figure}}))
}

/// A test on a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    pub test: String,
    pub revision: String,
    /// Passed and failed in one run.
    pub both: bool,
}

pub struct Pairs {
    pub pairs: Vec<Pair>,
    /// Where the next page begins, if there may be one.
    pub after: Option<Value>,
}

/// Tests by revision that came to one of these verdicts; of those that are given, if they are.
pub fn pairs(
    project: &str,
    window: Window,
    verdicts: &[&str],
    of: Option<&[Pair]>,
    after: Option<&Value>,
) -> Value {
    let mut filters = within(project, window);
    filters.push(json!({"terms": {"verdict": verdicts}}));
    if let Some(of) = of {
        let tests: HashSet<_> = of.iter().map(|pair| &pair.test).collect();
        let revisions: HashSet<_> = of.iter().map(|pair| &pair.revision).collect();
        filters.push(json!({"terms": {"test": tests}}));
        filters.push(json!({"terms": {"revision": revisions}}));
    }
    let mut composite = json!({"size": PAGE, "sources": [
        {"test": {"terms": {"field": "test"}}}, {"revision": {"terms": {"field": "revision"}}}]});
    if let Some(after) = after {
        composite["after"] = after.clone();
    }
    let flaky = json!({"flaky": {"filter": {"term": {"verdict": "flaky"}}}});
    figures(filters, json!({"pairs": {"composite": composite, "aggs": flaky}}))
}

pub fn failures(project: &str, words: &str, window: Window, limit: usize) -> Value {
    let mut filters = within(project, window);
    filters.push(json!({"exists": {"field": "fingerprint"}}));
    filters.extend(
        words.split(' ').filter(|word| !word.is_empty()).map(|word| json!({"term": {"words": word}})),
    );
    let newest = sorted(&[NEWEST[0], NEWEST[1], ("position", "desc")]);
    let of = json!({"field": "fingerprint", "size": limit.max(1), "shard_size": limit * 10 + 1000,
        "order": [{"_count": "desc"}, {"_key": "asc"}]});
    let told = json!({
        "tests": {"cardinality": {"field": "test", "precision_threshold": EXACT}},
        "newest": {"top_hits": {"size": 1, "sort": newest,
            "_source": ["message", "location", "test", "run", "at"]}},
    });
    figures(filters, json!({"groups": {"terms": of, "aggs": told}}))
}

pub fn timings(project: &str, after: Option<u32>, limit: usize) -> Value {
    let mut question =
        documents(vec![json!({"term": {"project": project}})], limit, sorted(&[("part", "asc")]));
    if let Some(after) = after {
        question["search_after"] = json!([after]);
    }
    question
}

fn sources(answer: &Value) -> Option<impl Iterator<Item = &Value>> {
    Some(answer["hits"]["hits"].as_array()?.iter().map(|hit| &hit["_source"]))
}

fn buckets<'a>(answer: &'a Value, of: &str) -> Option<&'a Vec<Value>> {
    // Where there is no index yet, there is nothing of the kind.
    static NONE: Vec<Value> = Vec::new();
    match answer.get("aggregations") {
        Some(figures) => figures[of]["buckets"].as_array(),
        None => answer.get("hits").map(|_| &NONE),
    }
}

fn text(of: &Value, name: &str) -> Option<String> {
    of[name].as_str().map(str::to_owned)
}

fn number<T: TryFrom<u64>>(of: &Value, name: &str) -> Option<T> {
    of[name].as_u64()?.try_into().ok()
}

fn id<T: std::str::FromStr>(of: &Value, name: &str) -> Option<T> {
    of[name].as_str()?.parse().ok()
}

fn verdict_of(of: &Value) -> Option<Verdict> {
    verdict(of["verdict"].as_str()?, of["why"].as_str()?)
}

pub fn keys(answer: &Value) -> Option<Vec<String>> {
    sources(answer)?.map(|source| text(source, "key")).collect()
}

pub fn overviews(answer: &Value) -> Option<Vec<RunOverview>> {
    sources(answer)?.map(overview).collect()
}

fn overview(of: &Value) -> Option<RunOverview> {
    Some(RunOverview {
        run: id(of, "run")?,
        owner: text(of, "owner")?,
        project: text(of, "project")?,
        rev: text(of, "rev")?,
        submitted_at: number(of, "submitted_at")?,
        rerun_of: id(of, "rerun_of"),
        counts: Counts {
            total: number(of, "total")?,
            passed: number(of, "passed")?,
            failed: number(of, "failed")?,
            skipped: number(of, "skipped")?,
            flaky: number(of, "flaky")?,
            quarantined: number(of, "quarantined")?,
            not_executed: number(of, "not_executed")?,
        },
        suite_errors: number(of, "suite_errors")?,
        state: RunState::Ended {
            verdict: run_verdict(of["verdict"].as_str()?)?,
            exit_code: number(of, "exit_code")?,
            at: number(of, "ended_at")?,
        },
    })
}

pub fn came_to(answer: &Value) -> Option<Vec<CameTo>> {
    let result = |of: &Value| {
        Some(CameTo {
            test: text(of, "test")?,
            position: TestIndex(number(of, "position")?),
            verdict: verdict_of(of)?,
            results: number(of, "results")?,
            failed: number(of, "failed")?,
            micros: number(of, "micros"),
            executor: id(of, "executor"),
            message: text(of, "message").unwrap_or_default(),
        })
    };
    sources(answer)?.map(result).collect()
}

/// In the order of the keys.
pub fn past(answer: &Value, keys: &[String]) -> Option<Vec<PastRun>> {
    let run = |of: &Value| {
        let past = PastRun {
            run: id(of, "run")?,
            submitted_at: number(of, "submitted_at")?,
            verdict: verdict_of(of)?,
            results: number(of, "results")?,
            failed: number(of, "failed")?,
            micros: number(of, "micros"),
            executor: id(of, "executor"),
        };
        Some((text(of, "key")?, past))
    };
    let mut by_key: HashMap<String, PastRun> = sources(answer)?.map(run).collect::<Option<_>>()?;
    Some(keys.iter().filter_map(|key| by_key.remove(key)).collect())
}

/// Tests with what they are ordered by: a mean, or how many there are.
pub fn scored(answer: &Value) -> Option<Vec<(String, f64)>> {
    let test = |bucket: &Value| {
        let score = bucket["mean"]["value"].as_f64().or(bucket["doc_count"].as_f64())?;
        Some((text(bucket, "key")?, score))
    };
    buckets(answer, "tests")?.iter().map(test).collect()
}

/// Those that take longer than before, and by how much: the most first.
pub fn slower(now: Vec<(String, f64)>, before: Vec<(String, f64)>, limit: usize) -> Vec<(String, f64)> {
    let before: HashMap<_, _> = before.into_iter().collect();
    let slower = now.into_iter().filter_map(|(test, now)| {
        let by = now - before.get(&test)?;
        (by > 0.0).then_some((test, by))
    });
    first(slower.collect(), limit)
}

/// On how many revisions tests are flaky: in one run, or in one that failed and another that passed.
pub fn flaky(pairs: Vec<Pair>, passed: &HashSet<(String, String)>, limit: usize) -> Vec<(String, f64)> {
    let mut count: HashMap<String, f64> = HashMap::new();
    for Pair { test, revision, both } in pairs {
        let pair = (test, revision);
        if both || passed.contains(&pair) {
            *count.entry(pair.0).or_default() += 1.0;
        }
    }
    first(count.into_iter().collect(), limit)
}

fn first(mut scored: Vec<(String, f64)>, limit: usize) -> Vec<(String, f64)> {
    scored.sort_by(|(a, of_a), (b, of_b)| of_b.total_cmp(of_a).then_with(|| a.cmp(b)));
    scored.truncate(limit);
    scored
}

pub fn paired(answer: &Value) -> Option<Pairs> {
    let pair = |bucket: &Value| {
        let both = bucket["flaky"]["doc_count"].as_u64()? > 0;
        Some(Pair { test: text(&bucket["key"], "test")?, revision: text(&bucket["key"], "revision")?, both })
    };
    let found = buckets(answer, "pairs")?;
    let after = answer["aggregations"]["pairs"].get("after_key").filter(|_| found.len() == PAGE).cloned();
    Some(Pairs { pairs: found.iter().map(pair).collect::<Option<_>>()?, after })
}

/// By test: in how many results it was executed, and its mean microseconds where it passed.
pub fn meant(answer: &Value) -> Option<HashMap<String, (u32, Option<u64>)>> {
    let test = |bucket: &Value| {
        let mean = bucket["passed"]["mean"]["value"].as_f64().map(|mean| mean.round() as u64);
        Some((text(bucket, "key")?, (number(&bucket["executed"], "doc_count")?, mean)))
    };
    buckets(answer, "tests")?.iter().map(test).collect()
}

pub fn groups(answer: &Value) -> Option<Vec<FailureGroup>> {
    let group = |bucket: &Value| {
        let newest = &bucket["newest"]["hits"]["hits"][0]["_source"];
        Some(FailureGroup {
            fingerprint: text(bucket, "key")?,
            failures: number(bucket, "doc_count")?,
            tests: number(&bucket["tests"], "value")?,
            message: text(newest, "message")?,
            location: text(newest, "location")?,
            test: text(newest, "test")?,
            run: id(newest, "run")?,
            at: number(newest, "at")?,
        })
    };
    buckets(answer, "groups")?.iter().map(group).collect()
}

/// The timings of each part.
pub fn parts(answer: &Value) -> Option<Vec<(u32, Vec<Learned>)>> {
    let part = |of: &Value| Some((number(of, "part")?, Vec::<Learned>::deserialize(&of["learned"]).ok()?));
    use serde::Deserialize;
    sources(answer)?.map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn garbage_is_no_answer() {
        for answer in [json!(null), json!([]), json!({}), json!({"hits": {"hits": [{"_source": {}}]}})] {
            assert!(keys(&answer).is_none() && overviews(&answer).is_none(), "{answer}");
            assert!(came_to(&answer).is_none() && past(&answer, &[]).is_none(), "{answer}");
            assert!(parts(&answer).is_none(), "{answer}");
        }
        for answer in [json!(null), json!({}), json!({"aggregations": {}})] {
            assert!(scored(&answer).is_none() && paired(&answer).is_none(), "{answer}");
            assert!(meant(&answer).is_none() && groups(&answer).is_none(), "{answer}");
        }
    }

    #[test]
    fn no_index_yet_means_nothing_found() {
        let nothing = json!({"hits": {"hits": []}});
        assert_eq!(scored(&nothing), Some(Vec::new()));
        assert_eq!(groups(&nothing), Some(Vec::new()));
        assert_eq!(keys(&nothing), Some(Vec::new()));
    }

    #[test]
    fn a_test_is_flaky_where_it_passed_and_failed_on_one_revision() {
        let pair = |test: &str, revision: &str, both| Pair {
            test: test.to_owned(),
            revision: revision.to_owned(),
            both,
        };
        let pairs = vec![
            pair("in-a-run", "", true),
            pair("twice", "1", false),
            pair("twice", "2", true),
            pair("broken", "1", false),
        ];
        let passed =
            HashSet::from([("twice".to_owned(), "1".to_owned()), ("broken".to_owned(), "2".to_owned())]);
        let ranked = flaky(pairs, &passed, 9);
        assert_eq!(ranked, [("twice".to_owned(), 2.0), ("in-a-run".to_owned(), 1.0)]);
    }

    #[test]
    fn those_are_slower_that_were_there_before() {
        let of =
            |pairs: &[(&str, f64)]| pairs.iter().map(|(test, score)| ((*test).to_owned(), *score)).collect();
        let now = of(&[("new", 9.0), ("a", 5.0), ("b", 5.0), ("same", 1.0)]);
        let ranked = slower(now, of(&[("a", 4.0), ("b", 2.0), ("same", 1.0)]), 9);
        assert_eq!(ranked, [("b".to_owned(), 3.0), ("a".to_owned(), 1.0)]);
    }
}
