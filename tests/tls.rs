//! TLS between clients, executors and a scheduler: what works, and what is said where it does not.

use std::process::Output;

use crate::harness::{Authority, Cluster, Running, Suite};

/// What a certificate is for.
const HERE: &str = "subjectAltName=IP:127.0.0.1";

/// A scheduler with these options, on a suite of one test.
fn cluster(options: &[String]) -> Cluster {
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    Cluster::start_with(Suite::of(&[("test_a.py", "def test_a(): pass\n")]), &options)
}

/// What a client is told by a scheduler at this address.
fn asked(cluster: &Cluster, command: &[&str], url: &str, trusted: &str) -> Output {
    let token = cluster.token().into_os_string().into_string().unwrap();
    let at = ["--scheduler", url, "--token-file", &token];
    let mut command = cluster.suite.seagull(&[command, &at].concat());
    // Where a client without --tls-ca looks first.
    command.env("SSL_CERT_FILE", trusted).env_remove("SSL_CERT_DIR").output().unwrap()
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned()).concat()
}

#[test]
fn a_run_goes_by_tls_and_the_doctor_finds_it_well() {
    let authority = Authority::new("ours");
    let cluster = cluster(&authority.sign("server", HERE, &[]));
    assert!(cluster.url.starts_with("https://127.0.0.1:"), "{}", cluster.url);
    let ca = authority.file("ca.pem");
    let _executor = cluster.executor_with("e-one", &["--tls-ca", &ca], &[]);
    cluster.start_run(&["--tls-ca", &ca]).finish().expect(0, &[("test_a.py::test_a", "passed")]);
    // An authority that the machine knows, and one from the environment, are trusted as well.
    let runs = asked(&cluster, &["runs"], &cluster.url, &ca);
    assert_eq!(runs.status.code(), Some(0), "{}", said(&runs));
    let doctor = asked(&cluster, &["doctor", "--tls-ca", &ca], &cluster.url, "/nowhere");
    assert!(said(&doctor).contains("takes the token"), "{}", said(&doctor));
}

#[test]
fn what_is_wrong_with_a_connection_is_said_with_what_to_do() {
    let [authority, other, namesake] = ["ours", "other", "ours"].map(Authority::new);
    let good = cluster(&authority.sign("server", HERE, &[]));
    let elsewhere = cluster(&authority.sign("elsewhere", "subjectAltName=DNS:ci.example.com", &[]));
    let between =
        |name, start, end| cluster(&authority.sign(name, HERE, &["-startdate", start, "-enddate", end]));
    let expired = between("expired", "20200101000000Z", "20210101000000Z");
    let early = between("early", "21200101000000Z", "21210101000000Z");
    let itself = format!("{HERE}\nbasicConstraints=CA:TRUE");
    let itself = cluster(&authority.sign("itself", &itself, &[]));
    let plain = cluster(&[]);
    let [ours, others, renewed] = [&authority, &other, &namesake].map(|authority| authority.file("ca.pem"));
    let (http, https) = (good.url.replace("https:", "http:"), plain.url.replace("http:", "https:"));
    let table = [
        (&good, &good.url, &others, "is of an authority that is not trusted here", "--tls-ca FILE"),
        (&good, &good.url, &renewed, "is of an authority that is not trusted here", "--tls-ca FILE"),
        (&elsewhere, &elsewhere.url, &ours, "127.0.0.1 is asked for, it has ci.example.com", "make one"),
        (&expired, &expired.url, &ours, "has expired", "renew it"),
        (&early, &early.url, &ours, "is not valid yet", "clock"),
        (&itself, &itself.url, &ours, "is that of an authority", "seagull docs run"),
        (&good, &http, &ours, "speaks TLS, and is asked without", "https://"),
        (&plain, &https, &ours, "does not speak TLS", "http://"),
    ];
    for (cluster, url, trusted, what, hint) in table {
        for command in ["runs", "executor"] {
            let output = asked(cluster, &[command], url, trusted);
            let said = said(&output);
            assert_eq!(output.status.code(), Some(1), "{command} {url}: {said}");
            assert!(said.contains(what), "{command} {url}: {said}");
            assert!(said.lines().any(|line| line.starts_with("hint: ") && line.contains(hint)), "{said}");
        }
    }
    let doctor = asked(&good, &["doctor"], &http, &ours);
    assert!(said(&doctor).contains("speaks TLS, and is asked without"), "{}", said(&doctor));
    let none = asked(&good, &["runs"], &good.url, "/nowhere");
    assert!(said(&none).contains("hint: --tls-ca FILE names the authority to trust"), "{}", said(&none));
    let key = asked(&good, &["runs", "--tls-ca", &authority.file("server.key")], &good.url, &ours);
    assert_eq!(key.status.code(), Some(2), "{}", said(&key));
    assert!(said(&key).contains("there is no certificate in it\nhint: "), "{}", said(&key));
}

#[test]
fn a_certificate_lets_a_scheduler_listen_beyond_loopback_if_it_can_be_used() {
    let authority = Authority::new("ours");
    let server = authority.sign("server", HERE, &[]);
    let [_, _, _, key] = authority.sign("other", HERE, &[]);
    let suite = Suite::of(&[]);
    let state = suite.beside("scheduler").into_os_string().into_string().unwrap();
    let arguments = |options: &[String]| {
        let arguments = ["scheduler", "--listen", "0.0.0.0:0", "--state", &state].map(str::to_owned);
        [&arguments[..], options].concat()
    };
    let [cert, pem, ..] = server.clone();
    let bad = ["--tls-cert".to_owned(), pem.clone(), "--tls-key".to_owned(), key];
    let swapped = ["--tls-cert".to_owned(), server[3].clone(), "--tls-key".to_owned(), pem.clone()];
    let missing = [cert.clone(), "/nowhere".to_owned(), "--tls-key".to_owned(), server[3].clone()];
    let both = [&server[..], &["--insecure".to_owned()]].concat();
    for (options, what) in [
        (&bad[..], "the certificate cannot be used"),
        (&swapped, "the certificate cannot be used"),
        (&missing, "cannot read --tls-cert /nowhere"),
        (&[cert, pem], "--tls-key"),
        (&both, "--insecure"),
    ] {
        let output = suite.seagull(&arguments(options)).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains(what), "{}", said(&output));
    }
    let mut scheduler = Running::start(suite.seagull(&arguments(&server)), &suite.beside("stderr"));
    let line = scheduler.line();
    assert!(
        line.is_some_and(|line| line.starts_with("listening on https://0.0.0.0:")),
        "{}",
        scheduler.stderr()
    );
}
