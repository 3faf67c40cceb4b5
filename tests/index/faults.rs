//! What goes wrong on the way to an Elasticsearch: nothing is lost, nothing is there twice, and it is said what it was.
#![expect(clippy::disallowed_methods, reason = "a server is started beside what waits for it")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use seagull_results::index::{Address, Document, Error, Fate, Listener, Pace, Window, deliver};
use serde_json::{Value, json};

use super::story::{NOW, Row, Story, failed, passed};
use super::{block_on, open};
use crate::harness::{Authority, Elasticsearch, Fault, Proxy, Request};

const PACE: Pace = Pace { most: 1_000_000 };
const TESTS: usize = 2000;

/// What a delivery was told.
#[derive(Default)]
pub struct Heard {
    pub in_vain: Vec<String>,
    goes_on: usize,
}

impl Listener for Heard {
    fn in_vain(&mut self, why: &str, _: Duration) {
        self.in_vain.push(why.to_owned());
    }

    fn goes_on(&mut self) {
        self.goes_on += 1;
    }
}

fn story() -> Story {
    let ids: Vec<String> = (0..TESTS).map(|n| format!("t{n}")).collect();
    let rows: Vec<Row> =
        ids.iter().zip(0..).map(|(id, n)| if n % 9 == 0 { failed(id, "E") } else { passed(id, n) }).collect();
    Story::default().run("r", 0, "v", &rows)
}

fn is_bulk(request: &Request) -> bool {
    request.path.starts_with("/_bulk")
}

/// Delivers a run through a proxy, whose bulks go wrong in turn; all of it is there in the end, once. What was heard.
fn through(server: &Elasticsearch, faults: impl Fn(usize) -> Fault + Send + Sync + 'static) -> Heard {
    let bulks = AtomicUsize::new(0);
    let proxy = Proxy::new(server.address(), move |request| {
        if is_bulk(request) { faults(bulks.fetch_add(1, Ordering::SeqCst)) } else { Fault::None }
    });
    let index = open(&server.url_at(proxy.address));
    let mut heard = Heard::default();
    let rejected = block_on(async {
        index.prepare().await.unwrap();
        deliver(&*index, story().documents, PACE, &mut heard).await
    });
    assert!(rejected.is_empty(), "{rejected:?}");
    let counts = ["runs", "bundles", "attempts", "results"].map(|kind| server.count(kind));
    assert_eq!(counts, [1, 1, 1, TESTS as u64]);
    heard
}

/// Does so where the first bulk goes wrong, for a reason that is said.
#[track_caller]
fn once(fault: impl Fn() -> Fault + Send + Sync + 'static, said: &str) {
    let Some(server) = Elasticsearch::get() else { return };
    let heard = through(&server, move |bulk| if bulk == 0 { fault() } else { Fault::None });
    assert_eq!((heard.in_vain.len(), heard.goes_on), (1, 1), "{:?}", heard.in_vain);
    assert!(heard.in_vain[0].contains(said), "{:?} does not say {said:?}", heard.in_vain);
}

#[test]
fn connections_that_are_cut_lose_nothing() {
    once(|| Fault::Dropped, "is not available");
    once(|| Fault::CutRequest(40_000), "is not available");
    // It is done, and nobody knows.
    once(|| Fault::CutAnswer(1000), "is not available");
    once(|| Fault::CutAnswer(0), "is not available");
}

#[test]
fn a_server_that_is_overloaded_is_asked_again() {
    let error = json!({"error": {"type": "es_rejected_execution_exception", "reason": "queue is full"}, "status": 429});
    once(
        move || Fault::Status(429, error.to_string()),
        "status 429: es_rejected_execution_exception: queue is full",
    );
    once(|| Fault::Status(503, "Service Unavailable".into()), "status 503");
    once(|| Fault::Status(502, "<html>Bad Gateway</html>".into()), "status 502");
}

#[test]
fn garbage_is_no_answer() {
    once(|| Fault::Status(200, "<html>Welcome!</html>".into()), "its answer is no JSON: \"<html>");
    once(|| Fault::Status(200, "{}".into()), "not what was asked for");
    once(|| Fault::Status(200, "{\"errors\":false,\"items\":[]}".into()), "not what was asked for");
    once(|| Fault::Status(404, "no such page".into()), "not what was asked for");
}

#[test]
fn a_request_that_arrives_twice_and_a_slow_answer_change_nothing() {
    let Some(server) = Elasticsearch::get() else { return };
    let heard = through(&server, |bulk| match bulk {
        0 => Fault::Twice,
        _ => Fault::Slow(Duration::from_millis(300)),
    });
    assert!(heard.in_vain.is_empty(), "{:?}", heard.in_vain);
}

#[test]
fn what_a_bulk_has_not_taken_is_sent_again_alone() {
    let Some(server) = Elasticsearch::get() else { return };
    let heard = through(&server, |bulk| {
        let every_third = |body: &[u8]| {
            let mut answer: Value = serde_json::from_slice(body).unwrap();
            for item in answer["items"].as_array_mut().unwrap().iter_mut().step_by(3) {
                item["index"] = json!({"status": 429, "error": {"type": "circuit_breaking_exception", "reason": "memory"}});
            }
            answer.to_string().into_bytes()
        };
        if bulk < 2 { Fault::Changed(every_third) } else { Fault::None }
    });
    assert_eq!(heard.in_vain.len(), 2, "{:?}", heard.in_vain);
    assert!(heard.in_vain[0].contains("circuit_breaking_exception: memory"), "{:?}", heard.in_vain);
}

#[test]
fn a_bulk_that_is_too_large_is_halved() {
    let Some(server) = Elasticsearch::get() else { return };
    let proxy = Proxy::new(server.address(), |request| {
        let is_large = is_bulk(request) && request.body.len() > 100_000;
        if is_large { Fault::Status(413, String::new()) } else { Fault::None }
    });
    let index = open(&server.url_at(proxy.address));
    let mut heard = Heard::default();
    block_on(async {
        index.prepare().await.unwrap();
        assert!(deliver(&*index, story().documents, PACE, &mut heard).await.is_empty());
    });
    assert!(heard.in_vain.is_empty() && server.count("results") == TESTS as u64, "{:?}", heard.in_vain);
}

#[test]
fn an_index_that_is_only_read_or_full_keeps_all_waiting() {
    let Some(server) = Elasticsearch::get() else { return };
    let index = open(&server.url());
    block_on(async {
        index.prepare().await.unwrap();
        super::write(&*index, &Story::default().run("first", 0, "v", &[passed("a", 1)])).await;
    });
    for (setting, said) in [
        ("index.blocks.write", "cluster_block_exception"),
        // What Elasticsearch sets where its disks are full.
        ("index.blocks.read_only_allow_delete", "cluster_block_exception"),
    ] {
        let set = |value: Value| {
            let body = json!({setting: value});
            server.ask("PUT", &format!("{}-*/_settings", server.prefix), Some(&body));
        };
        set(json!(true));
        let documents = Story::default().run("second", 0, "v", &[passed("a", 1)]).documents;
        let fates = block_on(index.write(&documents)).unwrap();
        assert_eq!(fates.len(), documents.len());
        for fate in fates {
            assert!(matches!(&fate, Fate::Again(why) if why.contains(said)), "{fate:?}");
        }
        set(Value::Null);
    }
    let mut heard = Heard::default();
    let documents = Story::default().run("second", 0, "v", &[passed("a", 1)]).documents;
    assert!(block_on(deliver(&*index, documents, PACE, &mut heard)).is_empty());
    assert_eq!(server.count("runs"), 2);
}

#[test]
fn a_document_that_is_wrong_is_set_aside_and_the_others_are_written() {
    let Some(server) = Elasticsearch::get() else { return };
    // Somebody has given a field another type by a template of a higher priority.
    let index = open(&server.url());
    block_on(index.prepare()).unwrap();
    let name = format!("{}-bundles-v1", server.prefix);
    let mut template =
        server.ask("GET", &format!("_index_template/{name}"), None)["index_templates"][0]["index_template"]
            .clone();
    template["priority"] = json!(501);
    template["template"]["mappings"]["properties"]["predicted"] = json!({"type": "boolean"});
    server.ask("PUT", &format!("_index_template/{}-other", server.prefix), Some(&template));
    let mut heard = Heard::default();
    let rejected = block_on(deliver(&*index, story().documents, PACE, &mut heard));
    assert_eq!(rejected.len(), 1, "{rejected:?}");
    let (document, why): &(Document, String) = &rejected[0];
    assert!(document.id().ends_with("/1") && why.contains("document_parsing_exception"), "{why}");
    assert!(heard.in_vain.is_empty());
    assert_eq!((server.count("results"), server.count("bundles")), (TESTS as u64, 0));
}

/// What an index says that it refuses.
#[track_caller]
fn refusal<T: std::fmt::Debug>(outcome: Result<T, Error>) -> String {
    match outcome {
        Err(error @ Error::Refused { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_id_that_is_too_long_has_no_history_which_is_said() {
    let Some(server) = Elasticsearch::get() else { return };
    let index = open(&server.url());
    let said = refusal(block_on(index.history("p", &"t".repeat(8192), 1)));
    assert!(
        said.contains("an id of more than 8191 characters") && said.contains("hint: seagull results"),
        "{said}"
    );
    assert_eq!(block_on(index.history("p", &"t".repeat(8191), 1)).unwrap(), (Vec::new(), 0));
}

#[test]
fn what_is_not_ours_is_refused() {
    let Some(server) = Elasticsearch::get() else { return };
    let foreign = format!("{}-results-v1-2026.11", server.prefix);
    let index = open(&server.url());
    // An index of somebody else, before and after ours is prepared.
    server.ask("PUT", &foreign, Some(&json!({"mappings": {"properties": {"test": {"type": "long"}}}})));
    let said = refusal(block_on(index.prepare()));
    assert!(said.contains(&format!("the mapping of its index {foreign} was not made by seagull")), "{said}");
    assert!(said.contains("hint: another prefix"), "{said}");
    let ours = server.ask("GET", &format!("_index_template/{}-*", server.prefix), None);
    assert_eq!(ours["index_templates"], json!([]), "nothing is written");
    // Nor is it read as if nothing were there.
    let said = refusal(block_on(index.search("p", "word", Window { since: 0, until: NOW + 1 }, 1)));
    assert!(said.contains("was not made by seagull"), "{said}");
    server.ask("DELETE", &foreign, None);
    block_on(index.prepare()).unwrap();
    block_on(index.try_out()).unwrap();
    let left = server.ask("GET", &format!("_cat/indices/{}-trial-*?format=json", server.prefix), None);
    assert_eq!(left, json!([]));
    let template = format!("_index_template/{}-results-v1", server.prefix);
    server.ask("DELETE", &template, None);
    let theirs = json!({"index_patterns": [format!("{}-results-v1-*", server.prefix)], "priority": 500});
    server.ask("PUT", &template, Some(&theirs));
    let said = refusal(block_on(index.prepare()));
    assert!(said.contains("its template") && said.contains("was not made by seagull"), "{said}");
    let said = refusal(block_on(index.write(&story().documents)));
    assert!(said.contains("the mapping of its index"), "{said}");
    // One of a newer release.
    server.ask("DELETE", &foreign, None);
    server.ask("DELETE", &template, None);
    let meta = json!({"seagull": {"kind": "results", "mapping": 2}});
    let newer = json!({"index_patterns": [format!("{}-results-v1-*", server.prefix)], "priority": 500, "_meta": meta});
    server.ask("PUT", &template, Some(&newer));
    let said = refusal(block_on(index.prepare()));
    assert!(said.contains("\"mapping\":2"), "{said}");
}

#[test]
fn credentials_are_sent_and_told_apart_from_trouble() {
    let Some(server) = Elasticsearch::get() else { return };
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("key");
    std::fs::write(&key, "b2xk\n").unwrap();
    let proxy = Proxy::new(server.address(), |request| match request.header("authorization") {
        Some("ApiKey bmV3") => Fault::None,
        // u:hunter2
        Some("Basic dTpodW50ZXIy") => Fault::Status(
            403,
            json!({"error": {"type": "security_exception",
            "reason": "action [indices:admin/index_template/put] is unauthorized"}})
            .to_string(),
        ),
        _ => Fault::Status(
            401,
            json!({"error": {"type": "security_exception", "reason": "unable to authenticate"}}).to_string(),
        ),
    });
    let at = |more: &str| open(&format!("{}&{more}", server.url_at(proxy.address)));
    let said = refusal(block_on(open(&server.url_at(proxy.address)).prepare()));
    assert!(said.contains("status 401: security_exception: unable to authenticate"), "{said}");
    let index = at(&format!("api-key=file:{}", key.display()));
    assert!(refusal(block_on(index.prepare())).contains("status 401"));
    // A new one is found where the old one was.
    std::fs::write(&key, "bmV3\n").unwrap();
    block_on(index.prepare()).unwrap();
    std::fs::remove_file(&key).unwrap();
    let said = refusal(block_on(index.prepare()));
    assert!(said.contains(&format!("file:{}", key.display())), "{said}");
    std::fs::write(&key, "hunter2").unwrap();
    let said = refusal(block_on(at(&format!("user=u&password=file:{}", key.display())).prepare()));
    assert!(
        said.contains("status 403") && said.contains("privileges") && !said.contains("hunter2"),
        "{said}"
    );
}

#[test]
fn tls_goes_by_an_authority_of_ones_own() {
    let Some(server) = Elasticsearch::get() else { return };
    let authority = Authority::new("ours");
    let proxy = Proxy::with_tls(server.address(), localhost(&authority), |_| Fault::None);
    let url = |host: &str, more: &str| {
        format!("es+https://{host}:{}/{}?replicas=0{more}", proxy.address.port(), server.prefix)
    };
    let ca = format!("&ca={}", authority.file("ca.pem"));
    block_on(async {
        let index = open(&url("localhost", &ca));
        index.prepare().await.unwrap();
        super::write(&*index, &Story::default().run("r", 0, "v", &[passed("a", 1)])).await;
        let said = refusal(open(&url("localhost", "")).prepare().await);
        assert!(said.contains("certificate") && said.contains("hint: ?ca=FILE"), "{said}");
        let said = refusal(open(&url("127.0.0.1", &ca)).prepare().await);
        assert!(said.contains("certificate"), "{said}");
        let said = refusal(open(&url("localhost", "").replace("es+https", "es+http")).prepare().await);
        assert!(said.contains("HTTP is not spoken there\nhint: an index with TLS"), "{said}");
        let said = refusal(open(&server.url().replace("es+http", "es+https")).prepare().await);
        assert!(said.contains("TLS is not spoken there\nhint: an index without TLS"), "{said}");
    });
    assert_eq!(server.count("runs"), 1);
    let nothing: Address = url("localhost", "&ca=/no/such.pem").parse().unwrap();
    assert!(seagull_results::index::open(&nothing).unwrap_err().to_string().contains("/no/such.pem: "));
}

/// A server of an authority, called localhost.
fn localhost(authority: &Authority) -> Arc<rustls::ServerConfig> {
    let [_, certificate, _, key] = authority.sign("server", "subjectAltName=DNS:localhost", &[]);
    let chain = CertificateDer::pem_file_iter(certificate).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    Arc::new(rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap())
}

/// Kills the server half way through, and starts it again.
#[test]
fn a_server_that_is_killed_loses_nothing_that_it_took() {
    let Some(server) = Elasticsearch::apart("killed") else { return };
    let address = server.address();
    let index = open(&server.url());
    let mut heard = Heard::default();
    let mut stories = Story::default();
    for n in 0..5 {
        stories.documents.extend(story().documents.into_iter().map(|mut document| {
            let of = Arc::make_mut(&mut document.of);
            of.run = format!("r{n}").parse().unwrap();
            document
        }));
    }
    block_on(async {
        index.prepare().await.unwrap();
        let (first, rest) = stories.documents.split_at(TESTS * 2);
        assert!(deliver(&*index, first.to_vec(), PACE, &mut heard).await.is_empty());
        server.kill();
        let delivery = deliver(&*index, rest.to_vec(), PACE, &mut heard);
        let again = tokio::task::spawn_blocking(move || (server.start(), server));
        let (rejected, back) = tokio::join!(delivery, again);
        assert!(rejected.is_empty());
        let (started, server) = back.unwrap();
        assert!(started && server.address() == address);
        let counts = ["runs", "bundles", "attempts", "results"].map(|kind| server.count(kind));
        assert_eq!(counts, [5, 5, 5, 5 * TESTS as u64]);
        let window = Window { since: 0, until: NOW + 1 };
        let found = index.search("p", "e", window, 1000).await.unwrap();
        assert_eq!(found.iter().map(|group| group.failures).sum::<u32>() as usize, 5 * TESTS.div_ceil(9));
    });
    assert!(heard.goes_on >= 1, "it was not asked while it was away");
}
