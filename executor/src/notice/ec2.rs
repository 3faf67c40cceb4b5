//! The metadata of an EC2 instance (version 2 of its protocol: a token first), which tells two minutes before a spot
//! instance is taken away. A recommendation to rebalance is no notice: it names no time, and often nothing follows.
#![expect(clippy::disallowed_methods, reason = "a shell: it asks again and again, and knows the time of day")]

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;

use super::{Notice, POLL};
use crate::http::{Answer, ask};
use crate::setup::Tell;

const TOKEN: &str = "/latest/api/token";
const ACTION: &str = "/latest/meta-data/spot/instance-action";
/// How long a token is good for, in seconds; it is asked for anew when it is refused.
const TOKEN_SECONDS: u32 = 21_600;
const TOKEN_BYTES: usize = 1024;
/// What there is from a notice to its action.
const NOTICE: Duration = Duration::from_secs(120);
/// An action later than this has a wrong clock, or is none of EC2's.
const LATEST: Duration = Duration::from_secs(600);

/// Where the metadata is had: a host and a port, as it is connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(String);

impl Default for Endpoint {
    /// The same in every instance.
    fn default() -> Endpoint {
        Endpoint("169.254.169.254:80".to_owned())
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(url: &str) -> Result<Endpoint, String> {
        let expected = || "expected http://HOST or http://HOST:PORT".to_owned();
        let uri: tonic::transport::Uri = url.parse().map_err(|_| expected())?;
        let bare =
            uri.scheme_str() == Some("http") && matches!(uri.path(), "" | "/") && uri.query().is_none();
        let host = uri.host().filter(|host| bare && !host.is_empty()).ok_or_else(expected)?;
        Ok(Endpoint(format!("{host}:{}", uri.port_u16().unwrap_or(80))))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is to happen to the instance.
#[derive(Debug, Deserialize)]
struct Action {
    action: String,
    time: String,
}

/// Until the instance is to be taken away. That nobody answers is told once.
pub(super) async fn notice(endpoint: &Endpoint, tell: &Tell) -> Notice {
    let (mut token, mut told) = (String::new(), false);
    loop {
        match look(endpoint, &mut token).await {
            Ok(Some(answer)) => return read(&answer.body, unix_seconds()),
            Ok(None) => {}
            Err(why) if !told => {
                tell(format!("--notice ec2: {endpoint} cannot be asked yet: {why}"));
                told = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(POLL).await;
    }
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// What there is of an action, with the token that it had before or a new one.
async fn look(endpoint: &Endpoint, token: &mut String) -> Result<Option<Answer>, String> {
    let why = |error: std::io::Error| error.to_string();
    if token.is_empty() {
        let lives = [format!("X-aws-ec2-metadata-token-ttl-seconds: {TOKEN_SECONDS}")];
        let answer = ask(&endpoint.0, "PUT", TOKEN, &lives).await.map_err(why)?;
        let given = answer.body.trim();
        let is_good = given.len() <= TOKEN_BYTES && given.bytes().all(|byte| byte.is_ascii_graphic());
        if answer.status != 200 || given.is_empty() || !is_good {
            return Err(format!("it gives no token (status {})", answer.status));
        }
        given.clone_into(token);
    }
    let shown = [format!("X-aws-ec2-metadata-token: {token}")];
    let answer = ask(&endpoint.0, "GET", ACTION, &shown).await.map_err(why)?;
    match answer.status {
        200 => Ok(Some(answer)),
        404 => Ok(None),
        status => {
            token.clear();
            Err(format!("it answers with status {status}"))
        }
    }
}

/// What an action says. Of one that cannot be read only this is known, that there is one.
fn read(body: &str, now: u64) -> Notice {
    let Ok(Action { action, time }) = serde_json::from_str(body) else {
        return Notice::spot("EC2 is to take the instance away", NOTICE);
    };
    let left = seconds_of(&time).map(|at| Duration::from_secs(at.saturating_sub(now)));
    let within = left.filter(|left| *left <= LATEST).unwrap_or(NOTICE);
    let word = match action.as_str() {
        known @ ("terminate" | "stop" | "hibernate") => known,
        _ => "take away",
    };
    Notice::spot(format!("EC2 is to {word} the instance in {} s", within.as_secs()), within)
}

/// Unix seconds of a moment such as `2026-11-24T08:22:00Z`.
fn seconds_of(time: &str) -> Option<u64> {
    let (date, clock) = time.strip_suffix('Z')?.split_once('T')?;
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(clock, ':')?;
    let valid = (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !valid || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Days from 1970 in the Gregorian calendar, with years that begin in March (Howard Hinnant's days_from_civil).
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let of_year = (153 * month + 2) / 5 + day - 1;
    let days = year * 365 + year / 4 - year / 100 + year / 400 + of_year - 719_468;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

fn numbers(text: &str, separator: char) -> Option<[u64; 3]> {
    let numbers: Option<Vec<u64>> = text.split(separator).map(|part| part.parse().ok()).collect();
    numbers?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;

    use super::*;

    /// A stand-in that gives these answers in turn, and says what it was asked.
    async fn stand_in(answers: &[&str]) -> (Endpoint, mpsc::UnboundedReceiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let (asked, hears) = mpsc::unbounded_channel();
        let answers: Vec<_> = answers.iter().map(|answer| (*answer).to_owned()).collect();
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut question = vec![0; 4096];
                let length = stream.read(&mut question).await.unwrap();
                asked.send(String::from_utf8_lossy(&question[..length]).into_owned()).unwrap();
                // What is too long is not read to its end.
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        (endpoint, hears)
    }

    fn answer(status: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    #[tokio::test]
    async fn an_action_is_asked_for_with_a_token_that_is_renewed_when_it_is_refused() {
        let (none, refused) = (answer("404 Not Found", ""), answer("401 Unauthorized", ""));
        let action = answer("200 OK", r#"{"action": "terminate", "time": "2026-11-24T08:22:00Z"}"#);
        let [first, second] = ["one", "two"].map(|token| answer("200 OK", token));
        let (endpoint, mut asked) = stand_in(&[&first, &none, &refused, &second, &action]).await;
        let mut token = String::new();
        assert_eq!(look(&endpoint, &mut token).await, Ok(None));
        assert!(look(&endpoint, &mut token).await.unwrap_err().contains("401"));
        let found = look(&endpoint, &mut token).await.unwrap().expect("there is one");
        assert!(found.body.contains("terminate"));
        let mut heard = Vec::new();
        while let Some(question) = asked.recv().await {
            let line = question.lines().next().unwrap_or_default().to_owned();
            let token = question.lines().find_map(|line| line.strip_prefix("X-aws-ec2-metadata-token: "));
            heard.push((line, token.unwrap_or_default().to_owned()));
        }
        let put = ("PUT /latest/api/token HTTP/1.1".to_owned(), String::new());
        let get = |token: &str| {
            ("GET /latest/meta-data/spot/instance-action HTTP/1.1".to_owned(), token.to_owned())
        };
        assert_eq!(heard, [put.clone(), get("one"), get("one"), put, get("two")]);
    }

    #[tokio::test]
    async fn what_is_no_metadata_is_told_of_once_and_asked_again() {
        let endless = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(1 << 20));
        let (token, gone) = (answer("200 OK", "t"), answer("200 OK", "{}"));
        let (endpoint, _asked) = stand_in(&["\0\0", &endless, &token, &gone]).await;
        let (says, mut said) = mpsc::unbounded_channel();
        let tell: Tell = Arc::new(move |text| says.send(text).unwrap());
        let notice = notice(&endpoint, &tell).await;
        assert_eq!(notice, Notice::spot("EC2 is to take the instance away", NOTICE));
        assert!(said.recv().await.unwrap().contains("this is no answer of HTTP"));
        assert!(said.try_recv().is_err());
    }

    #[test]
    fn an_action_says_how_much_time_there_is() {
        let at = seconds_of("2026-11-24T08:22:00Z").unwrap();
        assert_eq!(at, 1_795_508_520);
        let action = |time: &str| format!(r#"{{"action": "stop", "time": "{time}"}}"#);
        let within = |body: &str, now| read(body, now).within.as_secs();
        assert_eq!(within(&action("2026-11-24T08:22:00Z"), at - 95), 95);
        assert_eq!(within(&action("2026-11-24T08:22:00Z"), at + 5), 0, "it is due");
        for time in ["2026-11-24T09:22:00Z", "soon", "2026-13-01T00:00:00Z", "2026-11-24T08:22:00"] {
            assert_eq!(within(&action(time), at), 120, "{time}");
        }
        assert_eq!(within("no JSON", at), 120);
        let odd = read(r#"{"action": "\u001b[31mboo", "time": ""}"#, at);
        assert_eq!(odd.drain.why, "EC2 is to take away the instance in 120 s");
    }

    #[test]
    fn an_endpoint_is_a_host_and_perhaps_a_port() {
        let endpoint = |url: &str| url.parse::<Endpoint>().map(|endpoint| endpoint.0);
        assert_eq!(endpoint("http://127.0.0.1:80"), Ok("127.0.0.1:80".into()));
        assert_eq!(endpoint("http://[fd00:ec2::254]/"), Ok("[fd00:ec2::254]:80".into()));
        for url in ["", "127.0.0.1", "https://127.0.0.1", "http://127.0.0.1/latest", "http://"] {
            assert!(endpoint(url).is_err(), "{url}");
        }
    }
}
