//! Whether a store has an object, asked by those who do not wait for long: a store that stands still has nothing.
#![expect(clippy::disallowed_methods, reason = "a shell: a question may outlive whoever asked it")]

use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use super::key::Key;
use super::spool::is_fresh;
use super::store::Store;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
pub(super) struct Presence {
    /// The last question that was not waited for any longer, for as long as it has no answer: no other is asked meanwhile.
    late: Mutex<Weak<()>>,
}

impl Presence {
    /// Whether an object is there, as far as the store says so in time, and not about to be taken for old.
    pub fn ask(&self, store: &Arc<dyn Store>, key: Key) -> bool {
        let late = || self.late.lock().unwrap_or_else(PoisonError::into_inner);
        if late().strong_count() > 0 {
            return false;
        }
        let question = Arc::new(());
        let (answer, answered) = mpsc::channel();
        let (of, store) = (question.clone(), store.clone());
        thread::spawn(move || {
            // Whoever asked may have gone.
            let _ = answer.send(store.head(&key).is_ok_and(|head| head.is_some_and(|head| is_fresh(&head))));
            drop(of);
        });
        answered.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            *late() = Arc::downgrade(&question);
            false
        })
    }
}
