//! Why a scheduler did not do what it was asked, in words.

use std::error::Error as _;
use std::fmt;

use seagull_proto::status::is_out_of_reach;
use tonic::transport::Uri;
use tonic::{Code, Status};

use super::{name, tls};

#[derive(Debug)]
pub struct Error {
    reason: Reason,
    /// Where the scheduler is, if that is elsewhere.
    url: Option<Uri>,
}

#[derive(Debug)]
enum Reason {
    Status(Box<Status>),
    /// The connection is not made: what it would carry would not be safe, or not understood.
    Tls(tls::Problem),
    /// It answers what it should not.
    Answer(String),
    /// What it speaks of is not there.
    Lacks(String),
}

impl Error {
    pub fn new(answer: impl fmt::Display) -> Error {
        Reason::Answer(answer.to_string()).into()
    }

    /// Where there is nothing of what was asked for: what that is.
    pub fn lacking(self, what: &str) -> Error {
        match &self.reason {
            Reason::Status(status) if status.code() == Code::NotFound => {
                let said = format!("{what} is not kept any more, or never was: {}", status.message());
                Error { reason: Reason::Lacks(said), ..self }
            }
            _ => self,
        }
    }

    /// Of the scheduler that is there.
    pub fn at(self, url: Option<&Uri>) -> Error {
        Error { url: url.cloned(), ..self }
    }

    pub fn status(&self) -> Option<&Status> {
        match &self.reason {
            Reason::Status(status) => Some(status),
            Reason::Tls(_) | Reason::Answer(_) | Reason::Lacks(_) => None,
        }
    }

    /// Whether another try may do better: the connection failed, or the scheduler is in trouble of its own.
    pub fn is_transient(&self) -> bool {
        let transient = |status: &Status| {
            matches!(
                status.code(),
                Code::Unavailable
                    | Code::Unknown
                    | Code::Cancelled
                    | Code::Aborted
                    | Code::DeadlineExceeded
                    | Code::Internal
            )
        };
        self.status().is_some_and(|status| transient(status) && !is_out_of_reach(status))
    }

    /// Whether what it is read from does not answer its scheduler.
    pub fn is_out_of_reach(&self) -> bool {
        self.status().is_some_and(is_out_of_reach)
    }

    /// Whether there is nothing of what was asked for.
    pub fn is_not_found(&self) -> bool {
        self.status().is_some_and(|status| status.code() == Code::NotFound)
    }

    /// Whether what was asked for is not there, or damaged, and others may be had.
    pub fn is_of_one(&self) -> bool {
        let lasts = [Code::NotFound, Code::Internal, Code::DataLoss];
        matches!(self.reason, Reason::Lacks(_))
            || self.status().is_some_and(|status| lasts.contains(&status.code()))
    }

    /// Whether the scheduler answered, and has a trouble that may last.
    pub fn is_internal(&self) -> bool {
        self.status().is_some_and(|status| status.code() == Code::Internal)
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Error {
        match tls::problem(&status) {
            Some(problem) => problem.into(),
            None => Reason::Status(Box::new(status)).into(),
        }
    }
}

impl From<tls::Problem> for Error {
    fn from(problem: tls::Problem) -> Error {
        Reason::Tls(problem).into()
    }
}

impl From<Reason> for Error {
    fn from(reason: Reason) -> Error {
        Error { reason, url: None }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.url.as_ref().map(|url| format!(" at {}", name(url))).unwrap_or_default();
        match &self.reason {
            Reason::Answer(text) => write!(f, "the scheduler's answer makes no sense: {text}"),
            Reason::Tls(problem) => problem.fmt(f),
            Reason::Lacks(said) => f.write_str(said),
            Reason::Status(status) => tell(status, &at, f),
        }
    }
}

impl std::error::Error for Error {}

fn tell(status: &Status, at: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match status.code() {
        _ if is_out_of_reach(status) => write!(f, "the scheduler{at} cannot read it: {}", status.message()),
        Code::Unavailable => {
            let hint = "hint: does it run, and is the address right?";
            write!(f, "the scheduler{at} cannot be reached: {}\n{hint}", root(status))
        }
        Code::Unknown | Code::Cancelled => {
            write!(f, "the connection to the scheduler{at} is lost: {}", root(status))
        }
        Code::Internal => write!(f, "the scheduler is in trouble: {}", status.message()),
        Code::DataLoss => write!(f, "it is damaged: {}", status.message()),
        _ => write!(f, "the scheduler refuses: {}", status.message()),
    }
}

/// The deepest cause: transports wrap it several times.
fn root(status: &Status) -> String {
    let mut source = status.source();
    while let Some(deeper) = source.and_then(|error| error.source()) {
        source = Some(deeper);
    }
    source.map_or_else(|| status.message().to_owned(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use seagull_proto::status::out_of_reach;

    use super::*;

    #[test]
    fn what_another_try_may_mend_is_told_apart_from_a_refusal() {
        let table = [
            (Status::unavailable("x"), true, "the scheduler cannot be reached: x"),
            (Status::unknown("x"), true, "the connection to the scheduler is lost: x"),
            (Status::internal("x"), true, "the scheduler is in trouble: x"),
            (Status::unauthenticated("x"), false, "the scheduler refuses: x"),
            (Status::data_loss("x"), false, "it is damaged: x"),
            (out_of_reach("x"), false, "the scheduler cannot read it: x"),
            (Status::not_found("x"), false, "the scheduler refuses: x"),
        ];
        for (status, transient, text) in table {
            let error = Error::from(status);
            assert_eq!((error.is_transient(), error.to_string().lines().next()), (transient, Some(text)));
        }
        assert!(!Error::new("x").is_transient());
        let lacks = Error::from(Status::not_found("no blob x")).lacking("its manifest");
        assert!(lacks.is_of_one() && !lacks.is_not_found() && !lacks.is_transient());
        assert_eq!(lacks.to_string(), "its manifest is not kept any more, or never was: no blob x");
        let elsewhere = Error::from(Status::unavailable("x")).at(Some(&"http://ci:7878/".parse().unwrap()));
        assert!(elsewhere.to_string().starts_with("the scheduler at http://ci:7878 cannot be reached: x\n"));
    }
}
