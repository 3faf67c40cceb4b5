//! What dashboards read by a plain GET: at a scheduler, and at a results proxy.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use crate::harness::{Cluster, Running, Suite, text, until};
use crate::stores::listens;

const SOURCE: &str = "\
import pytest
@pytest.mark.parametrize('n', range(5))
def test_n(n): assert n != 3, 'three is refused'
";

/// What is answered: the status, and the object.
pub fn get(url: &str, token: &str, question: &str) -> (u16, Value) {
    let address = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let headers = format!("Host: {address}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n");
    stream.write_all(format!("GET /api/v1/{question} HTTP/1.1\r\n{headers}").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}")))
}

fn tests(answer: &Value, list: &str) -> Vec<String> {
    let list = answer[list].as_array().unwrap_or_else(|| panic!("{answer}"));
    list.iter().map(|one| text(one, "test").replace("test_a.py::test_n", "")).collect()
}

fn answers(url: &str, token: &str, project: &str) {
    let ask = |question: &str| {
        let (status, answer) = get(url, token, &question.replace("PROJECT", project));
        assert_eq!(status, 200, "{question}: {answer}");
        answer
    };
    let runs = ask("runs?project=PROJECT&limit=5");
    assert_eq!((text(&runs["runs"][0], "run"), text(&runs["runs"][0], "verdict")), ("one", "failed"));
    assert_eq!(runs["runs"][0]["counts"]["passed"], 4);

    let page = ask("runs/one/results?limit=3");
    assert_eq!(
        (tests(&page, "results"), &page["next"]),
        (["[0]", "[1]", "[2]"].map(str::to_owned).to_vec(), &2.into())
    );
    let page = ask("runs/one/results?limit=3&after=2");
    assert_eq!(
        (tests(&page, "results"), &page["next"]),
        (["[3]", "[4]"].map(str::to_owned).to_vec(), &Value::Null)
    );
    let failed = ask("runs/one/results?verdict=failed&verdict=flaky&prefix=test_a.py");
    assert_eq!(tests(&failed, "results"), ["[3]"]);
    assert!(text(&failed["results"][0], "message").contains("three is refused"));

    for question in ["tests", "search?text=x", "history?test=x"] {
        let (status, answer) = get(url, token, question);
        assert!(status == 400 && text(&answer, "error").starts_with("project: "), "{status} {answer}");
    }
    let history = ask("history?project=PROJECT&test=test_a.py%3A%3Atest_n%5B3%5D");
    assert_eq!((text(&history["runs"][0], "run"), text(&history["runs"][0], "verdict")), ("one", "failed"));
    assert_eq!(tests(&ask("tests?project=PROJECT&by=failing"), "tests"), ["[3]"]);
    assert_eq!(tests(&ask("tests?project=PROJECT&by=slowest&days=1&limit=9"), "tests").len(), 4);
    assert_eq!(tests(&ask("search?project=PROJECT&text=refused+three"), "failures"), ["[3]"]);
    assert!(tests(&ask("search?project=PROJECT&text=nothing"), "failures").is_empty());
}

#[test]
fn dashboards_read_by_http_at_a_scheduler_and_at_a_proxy() {
    let store = tempfile::tempdir().unwrap();
    let [blobs, index] = [("file", "kept"), ("sqlite", "index")]
        .map(|(scheme, name)| format!("{scheme}:{}/{name}", store.path().display()));
    let cluster =
        Cluster::start_with(Suite::of(&[("test_a.py", SOURCE)]), &["--blobs", &blobs, "--index", &index]);
    let _executor = cluster.executor("e-one");
    cluster.start_run(&["--run-id", "one", "--project", "shop"]).finish().expect_code(100);
    let token = std::fs::read_to_string(cluster.token()).unwrap();
    let token = token.trim();
    let all = || get(&cluster.url, token, "runs/one/results").1["results"].as_array().map_or(0, Vec::len);
    until(|| all() == 5);
    // What is ranked, and what is learned of a test, are told by others, each in its time.
    until(|| !tests(&get(&cluster.url, token, "tests?project=shop").1, "tests").is_empty());
    until(|| get(&cluster.url, token, "history?project=shop&test=n%5B3%5D").1["runs"][0].is_object());
    answers(&cluster.url, token, "shop");
    for (question, status) in [
        ("runs?limit=0", 400),
        ("runs?limit=many", 400),
        ("runs?sort=name", 400),
        ("runs/none/results", 404),
        ("runs/one/results?limit=10001", 400),
        ("runs/one/results?verdict=great", 400),
        ("tests?by=name", 400),
        ("search?text=%", 400),
        ("nothing", 404),
    ] {
        let (found, answer) = get(&cluster.url, token, question);
        assert!(found == status && answer["error"].is_string(), "{question}: {found} {answer}");
    }
    assert_eq!(get(&cluster.url, "wrong", "runs").0, 401);

    let file = cluster.token().into_os_string().into_string().unwrap();
    let options = ["--listen", "127.0.0.1:0", "--token-file", &file, "--blobs", &blobs, "--index", &index];
    let command = cluster.suite.seagull(&[&["results-proxy"][..], &options].concat());
    let mut proxy = Running::start(command, &cluster.suite.beside("proxy"));
    until(|| store.path().join("kept/streams/one.jsonl.zst").exists());
    answers(&listens(&mut proxy), token, "shop");
}
