//! Waiting until a service can be used, or shows that it never will.
#![expect(clippy::disallowed_methods, reason = "a shell: a service is asked again after a moment")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use seagull_domain::{Probe, Service};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_stream::StreamExt;

use super::disk;
use super::engine::{Engine, Seen};
use super::error::{Error, LINES};
use super::listening;
use crate::http;

/// Between two questions: more each time, up to a bound.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// How long a program of a port that is published takes a connection before it says that nobody is behind it.
const HELD: Duration = Duration::from_secs(1);

/// The exit code of what ended by SIGKILL.
pub const KILLED: i64 = 128 + 9;

/// Returns what the container is by then. `tell` has why it is not ready, whenever that is another reason.
pub async fn ready(
    engine: &Engine,
    container: &str,
    (name, service): (&str, &Service),
    tell: impl Fn(&str),
) -> Result<Seen, Error> {
    let within = Duration::from_millis(service.ready.within_ms);
    let mut awaited = expected(&service.ready.probe);
    tell(&awaited);
    let probing = probe(engine, container, (name, service), (&mut awaited, &tell));
    let probed = tokio::select! {
        probed = tokio::time::timeout(within, probing) => probed,
        code = engine.wait(container) => {
            let (how, log) = end_of(engine, container, service, Some(code?)).await;
            return Err(Error::Ended { service: name.to_owned(), how, log });
        }
    };
    match probed {
        Ok(seen) => seen,
        Err(_) => Err(Error::NotReady {
            service: name.to_owned(),
            awaited,
            within,
            log: engine.last_lines(container, LINES).await,
        }),
    }
}

/// How a service ended, with the exit code that is known or that the engine has, and its last lines.
pub async fn end_of(
    engine: &Engine,
    container: &str,
    service: &Service,
    code: Option<i64>,
) -> (String, String) {
    let seen = engine.inspect(container).await.ok();
    let code = code.or(seen.as_ref().and_then(|seen| seen.code));
    let how = if seen.is_some_and(|seen| seen.out_of_memory) {
        format!("it was killed over its memory limit{}", of(service))
    } else if let Some(how) = disk::killed(engine, container, &service.limits).await {
        how
    } else if code == Some(KILLED) && service.limits.memory_kib.is_some() {
        // The engine hears of the kernel's kill by an event that may come after the end, or never.
        format!("it was killed (exit code {KILLED}), probably over its memory limit{}", of(service))
    } else {
        code.map_or("it is not there any more".to_owned(), |code| format!("exit code {code}"))
    };
    (how, engine.last_lines(container, LINES).await)
}

/// Its memory limit, if it is its own.
fn of(service: &Service) -> String {
    service.limits.memory_kib.map_or(String::new(), |kib| format!(" of {} MiB", kib >> 10))
}

/// Asks until it is ready; `awaited` has why it is not.
async fn probe(
    engine: &Engine,
    container: &str,
    (name, service): (&str, &Service),
    (awaited, tell): (&mut String, &impl Fn(&str)),
) -> Result<Seen, Error> {
    let mut pause = FIRST_PAUSE;
    loop {
        let seen = engine.inspect(container).await?;
        if service.ready.probe == Probe::Health && seen.healthy.is_none() {
            return Err(Error::NoHealthCheck { service: name.to_owned(), image: service.image.clone() });
        }
        match ask(engine, container, &service.ready.probe, &seen).await {
            Ok(()) => return Ok(seen),
            Err(why) if why != *awaited => {
                tell(&why);
                *awaited = why;
            }
            Err(_) => {}
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// What has not come where a question has no answer yet.
fn expected(probe: &Probe) -> String {
    match probe {
        Probe::Log(text) => format!("no line of its log has {text:?}"),
        Probe::Command(command) => format!("{:?} has not ended", command[0]),
        _ => "it has not answered".to_owned(),
    }
}

/// One question; the error says what has not come.
async fn ask(engine: &Engine, container: &str, probe: &Probe, seen: &Seen) -> Result<(), String> {
    match probe {
        Probe::Started if seen.running => Ok(()),
        Probe::Started => Err("it does not run".to_owned()),
        Probe::Tcp(port) => match connects(*port, seen).await {
            true => Ok(()),
            false => Err(format!("port {port} takes no connection")),
        },
        Probe::Http(port, path) => answers(*port, path, seen).await,
        Probe::Command(command) => match engine.run(container, command, &[]).await {
            Ok(ran) if ran.code == 0 => Ok(()),
            Ok(ran) => Err(format!("{:?} ends with {}{}", command[0], ran.code, last_line(&ran.said))),
            Err(error) => Err(error.to_string()),
        },
        Probe::Log(text) => says(engine, container, text).await,
        Probe::Health if seen.healthy == Some(true) => Ok(()),
        Probe::Health => Err("its health check does not pass".to_owned()),
    }
}

/// Whether somebody takes connections at a port. The kernel says so, where it is this machine's. The container's own address
/// does at once, but is not reached from everywhere; what publishes ports takes connections always, and closes those that
/// nobody is there for.
async fn connects(port: u16, seen: &Seen) -> bool {
    if let Some(listens) = seen.pid.and_then(|pid| listening::at(pid, &seen.id, port)) {
        return listens;
    }
    let direct = async {
        match seen.address {
            Some(address) => TcpStream::connect(SocketAddr::new(address, port)).await.is_ok(),
            None => false,
        }
    };
    let published = async {
        let Some(published) = seen.published.get(&port) else { return false };
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), *published);
        let Ok(mut stream) = TcpStream::connect(address).await else { return false };
        let first = tokio::time::timeout(HELD, stream.read(&mut [0])).await;
        !matches!(first, Ok(Ok(0) | Err(_)))
    };
    let (mut direct, mut published) = (pin!(direct), pin!(published));
    tokio::select! {
        taken = &mut direct => taken || published.await,
        taken = &mut published => taken || tokio::time::timeout(HELD, direct).await.unwrap_or(false),
    }
}

async fn answers(port: u16, path: &str, seen: &Seen) -> Result<(), String> {
    let published = seen.published.get(&port).map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, *port)));
    let Some(address) = published.or(seen.address.map(|address| SocketAddr::new(address, port))) else {
        return Err(format!("port {port} is not published"));
    };
    match http::ask(&address.to_string(), "GET", path, &[]).await {
        Ok(answer) if answer.status < 400 => Ok(()),
        Ok(answer) => Err(format!("port {port} answers {path} with {}", answer.status)),
        Err(error) => Err(format!("port {port} does not answer {path}: {error}")),
    }
}

/// Reads the log from its beginning for as long as there is more.
async fn says(engine: &Engine, container: &str, text: &str) -> Result<(), String> {
    let mut pieces = engine.log(container, None, true);
    let mut line = String::new();
    while let Some(Ok(piece)) = pieces.next().await {
        line += &piece.to_string();
        if line.contains(text) {
            return Ok(());
        }
        line.drain(..line.rfind('\n').map_or(0, |end| end + 1));
    }
    Err(expected(&Probe::Log(text.to_owned())))
}

fn last_line(said: &str) -> String {
    let last = said.lines().map(str::trim).rfind(|line| !line.is_empty());
    last.map(|line| format!(": {line}")).unwrap_or_default()
}
