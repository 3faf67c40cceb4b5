//! One small question by HTTP/1.1, and as much of the answer as is of use. Nothing that answers is trusted.
#![expect(clippy::disallowed_methods, reason = "a shell: whoever does not answer is not waited for")]

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Its longest.
const BYTES: usize = 16 << 10;

/// What was answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub status: u16,
    pub body: String,
}

/// Asks `address`; headers are lines without their ends.
pub(crate) async fn ask(address: &str, method: &str, path: &str, headers: &[String]) -> io::Result<Answer> {
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, "no answer in time");
    tokio::time::timeout(PATIENCE, exchange(address, &request(address, method, path, headers)))
        .await
        .map_err(late)?
}

fn request(address: &str, method: &str, path: &str, headers: &[String]) -> String {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: 0\r\n{headers}\r\n"
    )
}

async fn exchange(address: &str, request: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    let (mut bytes, mut chunk) = (Vec::new(), [0; 2048]);
    while bytes.len() < BYTES && !is_whole(&String::from_utf8_lossy(&bytes)) {
        match stream.read(&mut chunk).await {
            // One that is cut off is judged by what there is of it.
            Ok(0) | Err(_) => break,
            Ok(length) => bytes.extend_from_slice(&chunk[..length]),
        }
    }
    parse(&String::from_utf8_lossy(&bytes)).ok_or_else(|| io::Error::other("this is no answer of HTTP"))
}

/// Whether nothing more will come, by what the answer says itself; some do not close their connection.
fn is_whole(text: &str) -> bool {
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    let mut length = fields.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = length.next().and_then(|(_, length)| length.trim().parse::<usize>().ok());
    length.is_some_and(|length| body.len() >= length)
}

/// A body in chunks is none of those that are asked for here.
fn parse(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut words = head.lines().next()?.split(' ');
    words.next().filter(|version| version.starts_with("HTTP/1."))?;
    let status = words.next()?.parse().ok()?;
    Some(Answer { status, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_is_taken_for_one() {
        let answer = |text| parse(text).map(|answer| (answer.status, answer.body));
        assert_eq!(answer("HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody\r\n\r\n"), Some((200, "body\r\n\r\n".into())));
        assert_eq!(answer("HTTP/1.0 404\r\n\r\n"), Some((404, String::new())));
        assert!(is_whole("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab"));
        assert!(!is_whole("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab"));
        assert!(!is_whole("HTTP/1.1 200 OK\r\n\r\nab"), "it ends with its connection");
        for text in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1\r\n\r\n", "HTTP/1.1 x\r\n\r\n", "SSH-2.0-x\r\n\r\n"]
        {
            assert_eq!(answer(text), None, "{text}");
        }
    }
}
