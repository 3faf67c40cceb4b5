//! Delivery: documents are written until each is there or set aside, however long the index is away.
#![expect(clippy::disallowed_methods, reason = "a shell: it waits between tries")]

use std::time::Duration;

use super::{Document, Fate, Index};

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How long to wait after so many tries in vain. Twice as long each time, up to the longest; `chance` (0 to 1) spreads those
/// who would all come back at once over the second half.
fn pause(in_vain: u32, chance: f64) -> Duration {
    let longest = FIRST_PAUSE.saturating_mul(1 << in_vain.min(16)).min(LONGEST_PAUSE);
    longest / 2 + longest.mul_f64(chance.clamp(0.0, 1.0) / 2.0)
}

/// How fast documents are sent: after an outage there are many, and an index has others to serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Documents a second.
    pub most: u32,
}

impl Pace {
    /// What has to have passed since so many were begun to be sent.
    fn takes(self, documents: usize) -> Duration {
        Duration::from_secs_f64(documents as f64 / f64::from(self.most.max(1)))
    }
}

/// What is told of a delivery that does not go well.
pub trait Listener: Send {
    /// It is tried again after this pause.
    fn in_vain(&mut self, why: &str, pause: Duration);
    /// Documents were written or rejected after there had been trouble.
    fn goes_on(&mut self);
}

/// Writes all documents, in their order as far as none has to be sent again. Returns those that were rejected, with the
/// reason. Waits for as long as it takes: whoever is not patient drops it, and may begin again.
pub async fn deliver(
    index: &dyn Index,
    mut documents: Vec<Document>,
    pace: Pace,
    listener: &mut dyn Listener,
) -> Vec<(Document, String)> {
    let mut rejected = Vec::new();
    let mut in_vain = 0;
    while !documents.is_empty() {
        let begun = tokio::time::Instant::now();
        let trouble = match index.write(&documents).await {
            Ok(fates) => {
                let sent = fates.len();
                let (rest, trouble) = settle(documents, fates, &mut rejected);
                let is_moving = rest.len() < sent || trouble.is_none();
                documents = rest;
                if is_moving && in_vain > 0 {
                    in_vain = 0;
                    listener.goes_on();
                }
                tokio::time::sleep_until(begun + pace.takes(sent)).await;
                trouble
            }
            Err(error) => Some(error.to_string()),
        };
        if let Some(why) = trouble {
            let pause = pause(in_vain, chance());
            in_vain += 1;
            listener.in_vain(&why, pause);
            tokio::time::sleep(pause).await;
        }
    }
    rejected
}

/// Sorts documents by their fates: what is to be sent still, and why some of it again.
fn settle(
    documents: Vec<Document>,
    fates: Vec<Fate>,
    rejected: &mut Vec<(Document, String)>,
) -> (Vec<Document>, Option<String>) {
    let mut trouble = None;
    let mut fates = fates.into_iter();
    let mut rest = Vec::new();
    for document in documents {
        match fates.next() {
            Some(Fate::Written) => {}
            Some(Fate::Rejected(why)) => rejected.push((document, why)),
            Some(Fate::Again(why)) => {
                trouble.get_or_insert(why);
                rest.push(document);
            }
            None => rest.push(document),
        }
    }
    (rest, trouble)
}

/// Jitter needs no more than this.
fn chance() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0) as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::document::tests::one_of_each;

    #[test]
    fn pauses_grow_to_a_bound_and_differ() {
        let half = |in_vain| pause(in_vain, 0.0);
        assert_eq!((half(0), pause(0, 1.0)), (FIRST_PAUSE / 2, FIRST_PAUSE));
        assert_eq!(half(1), FIRST_PAUSE);
        assert_eq!((half(40), pause(u32::MAX, 1.0)), (LONGEST_PAUSE / 2, LONGEST_PAUSE));
        assert_eq!(pause(3, 7.0), pause(3, 1.0));
    }

    #[test]
    fn a_pace_is_in_documents_a_second() {
        assert_eq!(Pace { most: 100 }.takes(50), Duration::from_millis(500));
        assert_eq!(Pace { most: 0 }.takes(2), Duration::from_secs(2));
    }

    #[test]
    fn what_was_not_taken_stays_in_order() {
        let documents = one_of_each();
        let fates = vec![
            Fate::Written,
            Fate::Again("busy".into()),
            Fate::Rejected("bad".into()),
            Fate::Again("x".into()),
        ];
        let mut rejected = Vec::new();
        let (rest, trouble) = settle(documents.clone(), fates, &mut rejected);
        assert_eq!(rest, [documents[1].clone(), documents[3].clone(), documents[4].clone()]);
        assert_eq!((rejected.len(), trouble.as_deref()), (1, Some("busy")));
        assert_eq!(rejected[0], (documents[2].clone(), "bad".to_owned()));
    }
}
