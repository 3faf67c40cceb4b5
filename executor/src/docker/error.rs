//! What goes wrong with sandboxes of services, in words for whoever wrote the settings.

use std::fmt;
use std::time::Duration;

use super::hint;
use super::lines::Be;

/// Of a service's log, so many lines are told: with what went wrong and what to do, no more than is shown of a message.
pub const LINES: usize = 10;
/// What is said, in small letters, where no other process or thread may begin.
const NO_MORE: [&str; 3] = ["cannot fork", "can't start new thread", "resource temporarily unavailable"];
const SAID_LAST: &str = "; it said last:";

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// There is no engine to speak to.
    Unreachable { address: String, why: String },
    /// The engine refused something, or could not do it.
    Refused { what: String, why: String },
    /// An image is not here and cannot be fetched.
    Image { image: String, why: String },
    /// A service cannot have its secrets.
    Secrets { service: String, why: String },
    /// `awaited`: what has not come; `log`: the service's last lines.
    NotReady { service: String, awaited: String, within: Duration, log: String },
    /// A service is to be ready by what its image does not have.
    NoHealthCheck { service: String, image: String },
    /// A service ended before it was ready.
    Ended { service: String, how: String, log: String },
    /// A service ended when it had been ready, before anything used it.
    Fallen { service: String, how: String, log: String },
    /// A service ended while it was used.
    Gone { service: String, how: String, log: String },
    /// Nobody would see to what is left of them.
    Unguarded { why: String },
    /// A line for its shell failed, so that it cannot be what it was to be.
    Line { service: String, be: Be, line: String, how: String, said: String },
    /// What tests in a container are shown cannot be made here.
    Directory { why: String },
    /// What is in these volumes would not be counted.
    Unbounded { table: String, volumes: String },
    /// What a service is once it is prepared cannot be saved.
    Template { service: String, why: String },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tell(f)?;
        self.hint().map_or(Ok(()), |hint| write!(f, "\nhint: {hint}"))
    }
}

impl Error {
    fn tell(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Unreachable { address, why } => write!(f, "no Docker engine answers at {address}: {why}"),
            Error::Refused { what, why } => write!(f, "the Docker engine cannot {what}: {why}"),
            Error::Image { image, why } => {
                write!(f, "the image {image} is not here and cannot be fetched: {why}")
            }
            Error::Secrets { service, why } => write!(f, "{service} cannot have its secrets: {why}"),
            Error::NotReady { service, awaited, within, log } => {
                let within = seconds(*within);
                write!(f, "{service} is not ready within {within}: {awaited}{}", quoted(log))
            }
            Error::NoHealthCheck { service, image } => {
                write!(f, "{service} is never ready: its image {image} has no health check")
            }
            Error::Ended { service, how, log } => {
                write!(f, "{service} ended before it was ready: {how}{}", quoted(log))
            }
            Error::Fallen { service, how, log } => {
                write!(f, "{service} was ready and has ended: {how}{}", quoted(log))
            }
            Error::Gone { service, how, log } => {
                write!(f, "{service} ended while tests used it: {how}{}", quoted(log))
            }
            Error::Unguarded { why } => write!(f, "the guard of the services cannot be started: {why}"),
            Error::Line { service, be, line, how, said } => {
                write!(f, "{service} cannot be {be}: {line:?} {how}{}", quoted(said))
            }
            Error::Directory { why } => {
                write!(f, "the directories of the tests' container cannot be made: {why}")
            }
            Error::Unbounded { table, volumes } => {
                write!(
                    f,
                    "[{table}] disk cannot be seen to: its image declares volumes, {volumes}, which nobody measures"
                )
            }
            Error::Template { service, why } => write!(f, "{service} cannot be a template: {why}"),
        }
    }

    /// What to do: by what the engine says, if that is known, else by what went wrong.
    fn hint(&self) -> Option<String> {
        let (said, own) = match self {
            Error::Unreachable { why, .. } => {
                (why, Some("start Docker, or say where it is with DOCKER_HOST=unix:///PATH".to_owned()))
            }
            Error::Unguarded { .. } | Error::Directory { .. } => return None,
            Error::NoHealthCheck { service, .. } => {
                let own = "ready.command asks the service itself, ready.tcp whether a port takes connections";
                return Some(format!("[services.{service}] {own}"));
            }
            Error::Unbounded { table, volumes } => {
                return Some(format!(
                    "[{table}] tmpfs = [{volumes}] has them in memory; have it write elsewhere what is to be on the disk"
                ));
            }
            Error::Refused { why, .. } => (why, None),
            Error::Image { image, why } => (
                why,
                Some(format!(
                    "build it, or see whether docker pull {image} can fetch it; docker login for its registry"
                )),
            ),
            Error::Secrets { service, why } => {
                (why, Some(format!("[services.{service}] secrets says where each is found")))
            }
            Error::NotReady { service, awaited, log, .. } => {
                let own = format!("[services.{service}] ready says what is waited for, and within how long");
                (awaited, exceeded(service, awaited, log).or(Some(own)))
            }
            Error::Ended { service, how, log } => {
                let own = "user, capabilities, tmpfs and memory say what it may use";
                (how, exceeded(service, how, log).or_else(|| Some(format!("[services.{service}] {own}"))))
            }
            Error::Fallen { service, how, log } => {
                let own = "ready says by what it is seen that it can be used";
                (how, exceeded(service, how, log).or_else(|| Some(format!("[services.{service}] {own}"))))
            }
            Error::Gone { service, how, log } => (how, exceeded(service, how, log)),
            Error::Line { service, be, said, .. } => {
                (said, Some(format!("[services.{service}] {} has the line", be.key())))
            }
            Error::Template { service, why } => {
                (why, Some(format!("[services.{service}] template = false prepares it each time")))
            }
        };
        hint::of(said).map(str::to_owned).or(own)
    }
}

impl std::error::Error for Error {}

/// What sets the limit that a service was over, if that is how it ended, or what it said.
fn exceeded(service: &str, how: &str, log: &str) -> Option<String> {
    let is_over = |limit: &&&str| how.contains(&format!("over its {limit} limit"));
    let over = ["memory", "disk"].iter().find(is_over).map(|limit| format!("{limit} sets it"));
    let log = log.to_lowercase();
    let bounded = || NO_MORE.iter().any(|words| how.contains(words) || log.contains(words));
    let pids = || "pids sets how many processes and threads it may have, its first among them".to_owned();
    over.or_else(|| bounded().then(pids)).map(|what| format!("[services.{service}] {what}"))
}

fn seconds(duration: Duration) -> String {
    match duration.subsec_millis() {
        0 => format!("{} s", duration.as_secs()),
        _ => format!("{:.1} s", duration.as_secs_f64()),
    }
}

/// The last lines of what was said, below the line that it belongs to.
pub fn quoted(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(LINES)..];
    if last.is_empty() {
        return "; it said nothing".to_owned();
    }
    last.iter().fold(SAID_LAST.to_owned(), |text, line| format!("{text}\n  {line}"))
}

/// The sentence that an error begins with.
pub fn without_log(error: &str) -> &str {
    error.lines().next().unwrap_or_default().trim_end_matches(SAID_LAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_ends_with_the_last_lines_of_the_service() {
        let log: String = (0..20).map(|n| format!("line {n}\n\n")).collect();
        let within = Duration::from_secs(3);
        let (service, awaited) = ("pg".to_owned(), "port 1 takes no connection".to_owned());
        let text = Error::NotReady { service, awaited, within, log }.to_string();
        let begin =
            "pg is not ready within 3 s: port 1 takes no connection; it said last:\n  line 10\n  line 11\n";
        assert!(text.starts_with(begin), "{text}");
        assert!(text.contains("\n  line 19\nhint: "), "{text}");
        assert_eq!(text.lines().count(), LINES + 2);
        assert_eq!(without_log(&text), "pg is not ready within 3 s: port 1 takes no connection");
        let how = "exit code 1".to_owned();
        let silent = Error::Ended { service: "pg".to_owned(), how, log: "\n".to_owned() }.to_string();
        assert!(
            silent.starts_with("pg ended before it was ready: exit code 1; it said nothing\n"),
            "{silent}"
        );
    }

    #[test]
    fn a_line_that_fails_is_found_where_it_is_written() {
        for (be, expected) in [(Be::Prepared, "prepare"), (Be::Reset, "reset")] {
            let [service, line, how, said] =
                ["pg", "createdb app", "ends with 1", "no role"].map(str::to_owned);
            let text = Error::Line { service, be, line, how, said }.to_string();
            assert!(text.starts_with(&format!("pg cannot be {be}: \"createdb app\" ends with 1;")), "{text}");
            assert!(text.ends_with(&format!("\nhint: [services.pg] {expected} has the line")), "{text}");
        }
    }

    #[test]
    fn a_service_over_a_limit_is_told_what_sets_it() {
        for (limit, other) in [("memory", "disk"), ("disk", "memory")] {
            let how = format!("it was killed over its {limit} limit of 32 MiB");
            let [service, log] = ["pg", ""].map(str::to_owned);
            let ended = Error::Ended { service: service.clone(), how: how.clone(), log: log.clone() };
            for text in [ended.to_string(), Error::Gone { service, how, log }.to_string()] {
                assert!(text.ends_with(&format!("\nhint: [services.pg] {limit} sets it")), "{text}");
                assert!(!text.contains(other), "{text}");
            }
        }
        let [service, how, log] = ["pg", "exit code 2", "sh: 1: Cannot fork\n"].map(str::to_owned);
        let text = Error::Ended { service, how, log }.to_string();
        assert!(text.contains("\nhint: [services.pg] pids sets how many"), "{text}");
    }
}
