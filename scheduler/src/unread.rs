//! Why something that is kept, here or in a store, is not read.

use std::fmt;

use seagull_proto::status;
use seagull_results::{Error, Why};
use tonic::Status;

#[derive(Debug)]
pub(crate) enum Unread {
    /// Where it is kept is away, or does not take who asks: it is read when that is over.
    Away(String),
    Damaged(String),
    /// What is here could not be read, which another try may do.
    Trouble(String),
}

impl From<String> for Unread {
    fn from(error: String) -> Unread {
        Unread::Trouble(error)
    }
}

impl From<Error> for Unread {
    fn from(error: Error) -> Unread {
        match &error {
            Error::Store { trouble, .. } if trouble.why != Why::Corrupt => Unread::Away(error.to_string()),
            Error::Store { .. } | Error::Damaged { .. } => Unread::Damaged(error.to_string()),
            _ => Unread::Trouble(error.to_string()),
        }
    }
}

impl From<Unread> for String {
    fn from(unread: Unread) -> String {
        let (Unread::Away(error) | Unread::Damaged(error) | Unread::Trouble(error)) = unread;
        error
    }
}

impl From<Unread> for Status {
    fn from(unread: Unread) -> Status {
        match unread {
            Unread::Away(error) => status::out_of_reach(error),
            Unread::Damaged(error) => Status::data_loss(error),
            Unread::Trouble(error) => Status::internal(error),
        }
    }
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Unread::Away(error) | Unread::Damaged(error) | Unread::Trouble(error)) = self;
        f.write_str(error)
    }
}
