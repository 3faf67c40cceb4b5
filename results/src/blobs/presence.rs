//! What is asked of a store by those who wait for the answer: whether it has an object, for which nobody waits long, and what
//! only it has. A store that is silent is not asked by each of them in turn.
#![expect(clippy::disallowed_methods, reason = "a shell: a question may outlive whoever asked it")]

use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::key::Key;
use super::store::{Head, Store};
use super::trouble::{Trouble, Why};
use crate::Error;

/// How long it is waited for whether an object is there.
const PATIENCE: Duration = Duration::from_secs(2);
/// For how long what is only there is not asked for again, after a question that nobody has answered.
const PAUSE: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(super) struct Presence {
    /// The last question that was not waited for any longer, for as long as it has no answer: no other is asked meanwhile.
    late: Mutex<Weak<()>>,
    silent: Mutex<Option<Silence>>,
}

/// A question that nobody has answered.
#[derive(Debug)]
struct Silence {
    since: Instant,
    store: String,
    doing: &'static str,
    trouble: Trouble,
}

impl Presence {
    /// Whether an object is there that is as it is wanted; None where the store does not say so in time.
    pub fn ask(
        self: &Arc<Self>,
        store: &Arc<dyn Store>,
        key: Key,
        is_wanted: fn(&Head) -> bool,
    ) -> Option<bool> {
        let late = || self.late.lock().unwrap_or_else(PoisonError::into_inner);
        if late().strong_count() > 0 || self.still_silent().is_some() {
            return None;
        }
        let question = Arc::new(());
        let (answer, answered) = mpsc::channel();
        let (of, presence, store) = (question.clone(), self.clone(), store.clone());
        thread::spawn(move || {
            let head = presence.read(|| store.head(&key)).ok();
            // Whoever asked may have gone.
            let _ = answer.send(head.map(|head| head.is_some_and(|head| is_wanted(&head))));
            drop(of);
        });
        answered.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            *late() = Arc::downgrade(&question);
            None
        })
    }

    /// Asks for what only the store has. That nobody has answered is said for a while to whoever asks then.
    pub fn read<T>(&self, question: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        if let Some(error) = self.still_silent() {
            return Err(error);
        }
        let answer = question();
        let silence = match &answer {
            Err(Error::Store { store, doing, trouble }) if trouble.why == Why::Away => {
                let (store, trouble) = (store.clone(), trouble.clone());
                Some(Silence { since: Instant::now(), store, doing, trouble })
            }
            _ => None,
        };
        *self.silent() = silence;
        answer
    }

    /// It has answered somebody else.
    pub fn hear(&self) {
        *self.silent() = None;
    }

    fn silent(&self) -> MutexGuard<'_, Option<Silence>> {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn still_silent(&self) -> Option<Error> {
        let silent = self.silent();
        let Silence { store, doing, trouble, .. } =
            silent.as_ref().filter(|silence| silence.since.elapsed() < PAUSE)?;
        Some(Error::Store { store: store.clone(), doing, trouble: trouble.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn away() -> Error {
        let trouble = Trouble { why: Why::Away, said: "it does not answer".to_owned() };
        Error::Store { store: "s3://b".to_owned(), doing: "get", trouble }
    }

    #[test]
    fn a_store_that_has_not_answered_is_not_asked_by_the_next() {
        let presence = Presence::default();
        let denied = Trouble { why: Why::Denied, said: "no".to_owned() };
        let denied = Error::Store { store: "s3://b".to_owned(), doing: "get", trouble: denied };
        presence.read(|| Err::<(), _>(denied)).unwrap_err();
        assert!(presence.read(|| Ok(7)).is_ok_and(|answer| answer == 7), "that was an answer");
        presence.read(|| Err::<(), _>(away())).unwrap_err();
        let said = presence.read(|| -> Result<(), Error> { panic!("it is asked") }).unwrap_err().to_string();
        assert!(said.starts_with("s3://b: get: it does not answer\nhint: "), "{said}");
        presence.hear();
        presence.read(|| Ok(())).unwrap();
        presence.read(|| Err::<(), _>(away())).unwrap_err();
        presence.silent().as_mut().unwrap().since -= PAUSE;
        presence.read(|| Ok(())).unwrap();
        presence.read(|| Ok(())).unwrap();
    }

    #[test]
    fn of_several_who_ask_a_silent_store_the_first_waits() {
        let keys = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(keys.path(), "[default]\naws_access_key_id = a\naws_secret_access_key = b\n").unwrap();
        // Whoever connects is heard by nobody.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (at, keys) = (silent.local_addr().unwrap(), keys.path().display());
        let url = format!("s3://bucket?endpoint=http://{at}&path-style=true&credentials={keys}");
        let store = super::super::open(&url.parse().unwrap()).unwrap();
        let presence = Arc::new(Presence::default());
        for run in ["one", "two", "three"] {
            let key = Key::Stream(run.parse().unwrap());
            assert_eq!(presence.ask(&store, key, |_| true), None);
        }
        silent.set_nonblocking(true).unwrap();
        assert!(silent.accept().is_ok() && silent.accept().is_err(), "one of them has asked");
    }
}
