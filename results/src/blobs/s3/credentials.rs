//! Who asks a server: by the environment, else by a profile's file, else by what a container or an instance is given.
//!
//! Not by the SDK's own chain, which brings two more services (STS and SSO) to build: whoever runs a scheduler gives it
//! keys, or gives its machine or container a role.
#![expect(
    clippy::disallowed_methods,
    reason = "a shell: files and endpoints are asked off the async threads"
)]

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{Result, future};
use aws_sdk_s3::config::{Credentials, ProvideCredentials};
use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};

use super::super::url::Bucket;

/// How long an endpoint of the machine's own may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// The most that is read of an answer.
const ANSWER_BYTES: u64 = 64 << 10;
const INSTANCE: &str = "http://169.254.169.254";
const CONTAINER: &str = "http://169.254.170.2";
const ROLES: &str = "/latest/meta-data/iam/security-credentials/";

/// Where credentials are looked for, in this order.
#[derive(Debug, Clone)]
pub(super) struct Chain {
    /// The file and the profile that the store's URL names: with either, the environment's keys do not count.
    file: Option<PathBuf>,
    profile: Option<String>,
}

impl Chain {
    pub fn of(bucket: &Bucket) -> Chain {
        Chain { file: bucket.credentials.clone(), profile: bucket.profile.clone() }
    }
}

impl ProvideCredentials for Chain {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let chain = self.clone();
        future::ProvideCredentials::new(async move {
            let looked =
                tokio::task::spawn_blocking(move || look(chain, &|name| std::env::var(name).ok())).await;
            looked.map_err(CredentialsError::unhandled)?
        })
    }
}

type Variable<'a> = &'a dyn Fn(&str) -> Option<String>;

fn look(chain: Chain, variable: Variable) -> Result {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    let is_named = chain.file.is_some() || chain.profile.is_some();
    if !is_named && let (Some(key), Some(secret)) = (set("AWS_ACCESS_KEY_ID"), set("AWS_SECRET_ACCESS_KEY")) {
        return Ok(Credentials::new(key, secret, set("AWS_SESSION_TOKEN"), None, "environment"));
    }
    let profile = chain.profile.or_else(|| set("AWS_PROFILE"));
    let file = chain
        .file
        .or_else(|| set("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from))
        .or_else(|| Some(Path::new(&set("HOME")?).join(".aws/credentials")));
    if let Some(found) = file.as_deref().and_then(|file| std::fs::read_to_string(file).ok())
        && let Some(credentials) = in_profile(&found, profile.as_deref().unwrap_or("default"))
    {
        return Ok(credentials);
    }
    if is_named || profile.is_some() {
        if let Some(file) = file.as_deref().filter(|file| !file.exists()) {
            return lacks(format!("there is no file {}", file.display()));
        }
        let (place, profile) = (file.unwrap_or_default(), profile.unwrap_or_else(|| "default".to_owned()));
        return lacks(format!("{} has no keys for the profile {profile:?}", place.display()));
    }
    if let Some(credentials) = of_container(&set)? {
        return Ok(credentials);
    }
    if set("AWS_EC2_METADATA_DISABLED").is_some_and(|word| word.eq_ignore_ascii_case("true")) {
        return lacks("there are no credentials".to_owned());
    }
    let endpoint = set("AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap_or_else(|| INSTANCE.to_owned());
    of_instance(&endpoint).map_err(|why| {
        CredentialsError::not_loaded(format!("there are no credentials, and {endpoint} gives none: {why}"))
    })
}

fn lacks<T>(said: String) -> std::result::Result<T, CredentialsError> {
    Err(CredentialsError::not_loaded(said))
}

/// A section of an INI file.
fn in_profile(file: &str, name: &str) -> Option<Credentials> {
    let (mut here, mut key, mut secret, mut token) = (false, None, None, None);
    for line in file.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            here = section.trim() == name;
        } else if let (true, Some((setting, value))) = (here, line.split_once('=')) {
            let value = value.trim().to_owned();
            match setting.trim() {
                "aws_access_key_id" => key = Some(value),
                "aws_secret_access_key" => secret = Some(value),
                "aws_session_token" => token = Some(value),
                _ => {}
            }
        }
    }
    Some(Credentials::new(key?, secret?, token, None, "profile"))
}

/// What ECS, EKS and their like give a container.
fn of_container(
    set: &dyn Fn(&str) -> Option<String>,
) -> std::result::Result<Option<Credentials>, CredentialsError> {
    let relative = set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI").map(|path| format!("{CONTAINER}{path}"));
    let Some(url) = relative.or_else(|| set("AWS_CONTAINER_CREDENTIALS_FULL_URI")) else { return Ok(None) };
    let file = set("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    let token = match file {
        Some(file) => Some(std::fs::read_to_string(&file).map_err(|error| {
            CredentialsError::invalid_configuration(format!(
                "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE {file}: {error}"
            ))
        })?),
        None => set("AWS_CONTAINER_AUTHORIZATION_TOKEN"),
    };
    let token = token.map(|token| format!("Authorization: {}", token.trim()));
    let given = ask("GET", &url, token.as_deref()).and_then(|answer| read(&answer));
    given.map(Some).map_err(|why| CredentialsError::provider_error(format!("{url}: {why}")))
}

/// What EC2 gives an instance (IMDSv2).
fn of_instance(endpoint: &str) -> std::result::Result<Credentials, String> {
    let endpoint = endpoint.trim_end_matches('/');
    let lives = "X-aws-ec2-metadata-token-ttl-seconds: 21600";
    let token = ask("PUT", &format!("{endpoint}/latest/api/token"), Some(lives))?;
    let token = format!("X-aws-ec2-metadata-token: {}", token.trim());
    let role = ask("GET", &format!("{endpoint}{ROLES}"), Some(&token))?;
    let role = role.lines().next().unwrap_or_default().trim().to_owned();
    if role.is_empty() || role.contains(['/', ' ']) {
        return Err("the instance has no role".to_owned());
    }
    read(&ask("GET", &format!("{endpoint}{ROLES}{role}"), Some(&token))?)
}

fn read(answer: &str) -> std::result::Result<Credentials, String> {
    let answer: serde_json::Value =
        serde_json::from_str(answer).map_err(|_| "its answer cannot be read".to_owned())?;
    let text =
        |name: &str| answer[name].as_str().map(str::to_owned).ok_or_else(|| format!("it gives no {name}"));
    let ends = DateTime::from_str(&text("Expiration")?, DateTimeFormat::DateTime);
    let ends = ends.ok().and_then(|ends| SystemTime::try_from(ends).ok());
    let ends = ends.ok_or_else(|| "its Expiration cannot be read".to_owned())?;
    Ok(Credentials::new(
        text("AccessKeyId")?,
        text("SecretAccessKey")?,
        Some(text("Token")?),
        Some(ends),
        "role",
    ))
}

/// One question over plain HTTP: these endpoints are on the machine itself.
fn ask(method: &str, url: &str, header: Option<&str>) -> std::result::Result<String, String> {
    let rest = url.strip_prefix("http://").ok_or("only http: can be asked")?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let header = header.unwrap_or_default();
    if [path, host, header].iter().any(|text| text.contains(char::is_control) || text.len() > 4096) {
        return Err("its address or token cannot be sent".to_owned());
    }
    let why = |error: std::io::Error| error.to_string();
    let address = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
    let address = address.to_socket_addrs().map_err(why)?.next().ok_or("no such host")?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(why)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(why)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(why)?;
    let header = if header.is_empty() { String::new() } else { format!("{header}\r\n") };
    let question = format!("{method} /{path} HTTP/1.0\r\nHost: {host}\r\nContent-Length: 0\r\n{header}\r\n");
    stream.write_all(question.as_bytes()).map_err(why)?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES).read_to_string(&mut answer).map_err(why)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("its answer breaks off")?;
    match head.split(' ').nth(1) {
        Some("200") => Ok(body.to_owned()),
        status => Err(format!("it answers with status {}", status.unwrap_or("?"))),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn with<'a>(variables: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
        move |name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    }

    fn chain(profile: Option<&str>) -> Chain {
        Chain { file: None, profile: profile.map(str::to_owned) }
    }

    /// Answers in turn, and returns what was asked.
    fn stand_in(answers: &'static [&'static str]) -> (String, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let thread = std::thread::spawn(move || {
            let answer = |answer: &&str| {
                let mut stream = listener.accept().unwrap().0;
                let mut question = vec![0; 4096];
                let length = stream.read(&mut question).unwrap();
                write!(stream, "HTTP/1.1 {answer}").unwrap();
                String::from_utf8_lossy(&question[..length]).into_owned()
            };
            answers.iter().map(answer).collect()
        });
        (url, thread)
    }

    const GIVEN: &str = "200 OK\r\n\r\n{\"AccessKeyId\": \"k\", \"SecretAccessKey\": \"s\", \"Token\": \"t\", \
                         \"Expiration\": \"2030-01-01T00:00:00Z\"}";

    fn keys(found: Result) -> (String, String, Option<String>) {
        let found = found.unwrap();
        (
            found.access_key_id().into(),
            found.secret_access_key().into(),
            found.session_token().map(Into::into),
        )
    }

    #[test]
    fn the_environment_counts_before_files_but_not_before_a_named_profile() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("credentials");
        let text = "[default]\naws_access_key_id = dk\naws_secret_access_key=ds\n\
                    [ci]\naws_secret_access_key = cs\naws_access_key_id = ck\naws_session_token = ct\n[half]\n";
        std::fs::write(&file, text).unwrap();
        let file = ("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap());
        let own = [("AWS_ACCESS_KEY_ID", "k"), ("AWS_SECRET_ACCESS_KEY", "s"), file];
        assert_eq!(keys(look(chain(None), &with(&own))), ("k".into(), "s".into(), None));
        let ci = ("ck".into(), "cs".into(), Some("ct".into()));
        assert_eq!(keys(look(chain(Some("ci")), &with(&own))), ci);
        assert_eq!(keys(look(chain(None), &with(&[("AWS_PROFILE", "ci"), file]))), ci);
        assert_eq!(keys(look(chain(None), &with(&[file]))).0, "dk");
        let lacking = look(chain(Some("half")), &with(&own)).unwrap_err();
        assert!(format!("{lacking:?}").contains("no keys for the profile \\\"half\\\""), "{lacking:?}");
    }

    #[test]
    fn a_container_is_given_credentials_for_its_token() {
        let (url, asked) = stand_in(&[GIVEN]);
        let url = format!("{url}/give");
        let set =
            [("AWS_CONTAINER_CREDENTIALS_FULL_URI", &*url), ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "hush")];
        let found = look(chain(None), &with(&set));
        assert!(found.as_ref().unwrap().expiry().is_some());
        assert_eq!(keys(found), ("k".into(), "s".into(), Some("t".into())));
        let asked = asked.join().unwrap();
        assert!(
            asked[0].starts_with("GET /give ") && asked[0].contains("\r\nAuthorization: hush\r\n"),
            "{asked:?}"
        );
    }

    #[test]
    fn an_instance_is_given_credentials_for_its_role() {
        let (url, asked) = stand_in(&["200 OK\r\n\r\ntoken", "200 OK\r\n\r\nrole\n", GIVEN]);
        assert_eq!(keys(look(chain(None), &with(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &url)]))).0, "k");
        let asked = asked.join().unwrap();
        assert!(asked[2].starts_with(&format!("GET {ROLES}role ")) && asked[2].contains("token: token\r\n"));
        let (url, _asked) = stand_in(&["404 Not Found\r\n\r\n"]);
        let lacking = look(chain(None), &with(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &url)])).unwrap_err();
        assert!(format!("{lacking:?}").contains("status 404"), "{lacking:?}");
    }

    #[test]
    fn answers_that_make_no_sense_are_refused() {
        for body in ["", "{}", "{\"AccessKeyId\": 1}", "[", "{\"Expiration\": \"x\"}"] {
            assert!(read(body).is_err(), "{body}");
        }
    }
}
