//! What dashboards read: the questions of clients, asked by a plain GET and answered in JSON. They are taken by the same bounds,
//! and answered by the same functions, as those that come as messages.

use std::collections::HashSet;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use seagull_domain::{
    CameTo, FailureGroup, NotExecuted, PastRun, Ranked, RunId, RunOverview, RunState, TestIndex, Verdict,
};
use seagull_proto::{Token, limits, v1};
use seagull_results::index::{PAGE, ResultsAsked, verdict_parts};
use serde::Serialize;
use serde_json::{Value, json};
use tonic::codegen::http::{HeaderMap, Method, Request, Response, StatusCode, Uri, header};
use tonic::{Code, Status};

use crate::past;
use crate::service::Service;
use crate::test_history;

/// Below which all questions are.
pub(crate) const ROOT: &str = "/api/v1";

/// Answers questions; only those that carry the token.
#[derive(Clone)]
pub(crate) struct Api {
    pub service: Arc<Service>,
    pub token: Token,
}

impl<B> tower::Service<Request<B>> for Api {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<String>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (api, head) = (self.clone(), request.into_parts().0);
        Box::pin(async move {
            let answer = match api.admits(&head.headers, &head.method) {
                Ok(()) => answer(&api.service, &head.uri).await,
                Err(refusal) => Err(refusal),
            };
            Ok(answer.map_or_else(|status| respond(&status), |value| written(StatusCode::OK, &value)))
        })
    }
}

impl Api {
    fn admits(&self, headers: &HeaderMap, method: &Method) -> Result<(), Status> {
        let given = headers.get(header::AUTHORIZATION);
        if !given.is_some_and(|given| self.token.is_header(given.as_bytes())) {
            let hint = "hint: -H \"Authorization: Bearer $(cat token)\" with the scheduler's own token";
            return Err(Status::unauthenticated(format!("missing or wrong token\n{hint}")));
        }
        if method != Method::GET {
            return Err(Status::unimplemented("there is only GET"));
        }
        Ok(())
    }
}

fn written(code: StatusCode, value: &Value) -> Response<String> {
    let mut response = Response::new(format!("{value}\n"));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}

fn respond(status: &Status) -> Response<String> {
    let code = match status.code() {
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::Unimplemented => StatusCode::METHOD_NOT_ALLOWED,
        Code::InvalidArgument => StatusCode::BAD_REQUEST,
        Code::NotFound => StatusCode::NOT_FOUND,
        // The index is away, or refuses.
        Code::FailedPrecondition | Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    written(code, &json!({"error": status.message()}))
}

async fn answer(service: &Arc<Service>, uri: &Uri) -> Result<Value, Status> {
    let path = uri.path().strip_prefix(ROOT).unwrap_or(uri.path());
    let parts: Vec<_> = path.trim_matches('/').split('/').collect();
    let query = Query::read(uri.query().unwrap_or_default())?;
    match parts.as_slice() {
        ["runs"] => {
            query.has_only(&["project", "limit"])?;
            let (project, limit) = (query.text("project"), query.number("limit", 50)?);
            let asked = v1::ListRequest { project, limit, ..Default::default() };
            let runs = past::listed(service, asked.try_into()?).await?;
            Ok(json!({"runs": runs.iter().map(run).collect::<Vec<_>>()}))
        }
        ["runs", id, "results"] => results(service, id, &query).await,
        ["history"] => {
            query.has_only(&["project", "test", "runs"])?;
            let (project, test) = (query.needed("project")?, query.needed("test")?);
            let asked = v1::HistoryRequest { project, test, runs: query.number("runs", 20)? };
            let history = test_history::history(service.clone(), asked.try_into()?).await?;
            Ok(json!({
                "tests": history.tests,
                "matching": history.matching,
                "typical_seconds": history.typical_us.map(seconds),
                "searched": history.searched,
                "behind": history.behind,
                "runs": history.runs.iter().map(past_run).collect::<Vec<_>>(),
            }))
        }
        ["tests"] => {
            query.has_only(&["project", "by", "days", "limit"])?;
            let asked = v1::RankRequest {
                project: query.needed("project")?,
                ranking: ranking(&query.text("by"))?.into(),
                days: query.number("days", 7)?,
                limit: query.number("limit", 20)?,
            };
            let tests = past::ranked(service, asked.try_into()?).await?;
            Ok(json!({"tests": tests.iter().map(ranked).collect::<Vec<_>>()}))
        }
        ["search"] => {
            query.has_only(&["project", "text", "days", "limit"])?;
            let asked = v1::SearchRequest {
                project: query.needed("project")?,
                text: query.text("text"),
                days: query.number("days", 7)?,
                limit: query.number("limit", 20)?,
            };
            let groups = past::searched(service, asked.try_into()?).await?;
            Ok(json!({"failures": groups.iter().map(group).collect::<Vec<_>>()}))
        }
        _ => Err(Status::not_found("there is no such question\nhint: seagull docs dashboards lists them")),
    }
}

/// In the manifest's order, a page at a time.
async fn results(service: &Arc<Service>, id: &str, query: &Query) -> Result<Value, Status> {
    query.has_only(&["verdict", "prefix", "after", "limit"])?;
    let run: RunId = id.parse().map_err(|_| Status::invalid_argument("a run's id is expected"))?;
    let limit = query.number("limit", 1000)? as usize;
    if !(1..=PAGE).contains(&limit) {
        return Err(Status::invalid_argument(format!("limit: 1 to {PAGE} is expected")));
    }
    let verdicts: Vec<String> = query.all("verdict").map(str::to_owned).collect();
    let known = words();
    if let Some(other) = verdicts.iter().find(|word| !known.contains(word.as_str())) {
        return Err(Status::invalid_argument(format!("verdict: {other:?} is none")));
    }
    let prefix = query.text("prefix");
    if prefix.len() > limits::ARGUMENT_BYTES {
        return Err(Status::invalid_argument("prefix: it is too long"));
    }
    let after = query.given("after").map(|_| query.number("after", 0)).transpose()?.map(TestIndex);
    let asked = ResultsAsked { verdicts, prefix, after, limit };
    let found = service.index.results(&run, &asked).await.map_err(|error| past::refused(&error))?;
    let found = found.ok_or_else(|| Status::not_found(past::not_ended(&run)))?;
    let next = found.last().filter(|_| found.len() == limit).map(|last| last.position.0);
    let results: Vec<_> = found.iter().map(came_to).collect();
    Ok(json!({"run": run.as_str(), "results": results, "next": next}))
}

/// Those of verdicts.
fn words() -> HashSet<&'static str> {
    let not_executed = Verdict::NotExecuted(NotExecuted::Cancelled);
    let known = [Verdict::Passed, Verdict::Failed, Verdict::Skipped, Verdict::Flaky, Verdict::Quarantined];
    known.into_iter().chain([not_executed]).map(|verdict| verdict_parts(verdict).0).collect()
}

fn ranking(word: &str) -> Result<v1::Ranking, Status> {
    match word {
        "" | "failing" => Ok(v1::Ranking::Failing),
        "flaky" => Ok(v1::Ranking::Flaky),
        "slowest" => Ok(v1::Ranking::Slowest),
        "slower" => Ok(v1::Ranking::Slower),
        _ => Err(Status::invalid_argument("by: failing, flaky, slowest or slower is expected")),
    }
}

fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

fn run(run: &RunOverview) -> Value {
    let (state, verdict, exit_code, ended_at) = match run.state {
        RunState::UnderWay => ("under_way", None, None, None),
        RunState::BrokenOff => ("broken_off", None, None, None),
        RunState::Ended { verdict, exit_code, at } => {
            ("ended", Some(verdict.word()), Some(exit_code), Some(at))
        }
    };
    json!({
        "run": run.run.as_str(),
        "project": run.project,
        "owner": run.owner,
        "rev": run.rev,
        "submitted_at": run.submitted_at,
        "ended_at": ended_at,
        "state": state,
        "verdict": verdict,
        "exit_code": exit_code,
        "counts": run.counts,
        "suite_errors": run.suite_errors,
        "rerun_of": run.rerun_of.as_ref().map(|of| of.as_str()),
    })
}

/// What a test came to, wherever that is told.
#[derive(Serialize)]
struct Came<'a> {
    verdict: &'a str,
    why: String,
    seconds: Option<f64>,
    results: u32,
    failed: u32,
    executor: Option<&'a str>,
}

impl<'a> Came<'a> {
    fn json(self, more: Value) -> Value {
        let mut all = json!(self);
        if let (Value::Object(all), Value::Object(more)) = (&mut all, more) {
            all.extend(more);
        }
        all
    }
}

fn came_to(test: &CameTo) -> Value {
    let (verdict, why) = verdict_parts(test.verdict);
    let (seconds, executor) = (test.micros.map(seconds), test.executor.as_ref().map(|one| one.as_str()));
    let came = Came { verdict, why, seconds, results: test.results, failed: test.failed, executor };
    came.json(json!({"test": test.test, "position": test.position.0, "message": test.message}))
}

fn past_run(run: &PastRun) -> Value {
    let (verdict, why) = verdict_parts(run.verdict);
    let (seconds, executor) = (run.micros.map(seconds), run.executor.as_ref().map(|one| one.as_str()));
    let came = Came { verdict, why, seconds, results: run.results, failed: run.failed, executor };
    came.json(json!({"run": run.run.as_str(), "submitted_at": run.submitted_at}))
}

fn ranked(test: &Ranked) -> Value {
    json!({
        "test": test.test,
        "runs": test.runs,
        "count": test.count,
        "seconds": test.micros.map(seconds),
        "seconds_before": test.before.map(seconds),
    })
}

fn group(group: &FailureGroup) -> Value {
    json!({
        "fingerprint": group.fingerprint,
        "failures": group.failures,
        "tests": group.tests,
        "message": group.message,
        "location": group.location,
        "test": group.test,
        "run": group.run.as_str(),
        "at": group.at,
    })
}

/// Names and values of a query, as they are meant.
struct Query(Vec<(String, String)>);

impl Query {
    fn read(text: &str) -> Result<Query, Status> {
        let pair = |part: &str| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            Ok((plain(name)?, plain(value)?))
        };
        text.split('&').filter(|part| !part.is_empty()).map(pair).collect::<Result<_, _>>().map(Query)
    }

    fn has_only(&self, names: &[&str]) -> Result<(), Status> {
        match self.0.iter().find(|(name, _)| !names.contains(&name.as_str())) {
            Some((name, _)) => {
                let names = names.join(", ");
                Err(Status::invalid_argument(format!("{name:?} is none of {names}")))
            }
            None => Ok(()),
        }
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(of, _)| of == name).map(|(_, value)| value.as_str())
    }

    fn given<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).last()
    }

    fn text(&self, name: &str) -> String {
        self.given(name).unwrap_or_default().to_owned()
    }

    fn needed(&self, name: &str) -> Result<String, Status> {
        let given = self.given(name).filter(|given| !given.is_empty());
        let missing = || Status::invalid_argument(format!("{name}: this question needs one"));
        given.map(str::to_owned).ok_or_else(missing)
    }

    fn number(&self, name: &str, default: u32) -> Result<u32, Status> {
        let Some(text) = self.given(name) else { return Ok(default) };
        text.parse().map_err(|_| Status::invalid_argument(format!("{name}: a number is expected")))
    }
}

/// A part of a query without its escapes.
fn plain(part: &str) -> Result<String, Status> {
    let mut bytes = Vec::new();
    let mut rest = part.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
                let escaped = digit().zip(digit()).and_then(|(high, low)| u8::try_from(16 * high + low).ok());
                escaped.ok_or_else(|| Status::invalid_argument("a % without two digits"))?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).map_err(|_| Status::invalid_argument("UTF-8 is expected"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_means_what_is_escaped_in_it() {
        let query =
            Query::read("test=a.py%3A%3Atest_x%5B1%5D&text=two+words&verdict=failed&verdict=flaky").unwrap();
        assert_eq!((query.text("test"), query.text("text")), ("a.py::test_x[1]".into(), "two words".into()));
        assert_eq!(query.all("verdict").collect::<Vec<_>>(), ["failed", "flaky"]);
        assert_eq!((query.text("none"), query.number("none", 7).unwrap()), (String::new(), 7));
        assert!(query.number("text", 0).is_err() && query.has_only(&["test", "text"]).is_err());
        for bad in ["%", "%4", "%zz", "%ff"] {
            assert!(Query::read(bad).is_err(), "{bad}");
        }
    }
}
