//! The newest durable facts, in memory: who follows a run has them without reading and parsing what was written a moment ago.
#![expect(clippy::disallowed_methods, reason = "a shell: the journal's thread adds to what its readers read")]

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use seagull_domain::{RunId, Seq};
use seagull_scheduler_core::{Fact, What};

/// Bytes of facts, as they are journalled, that are kept; who is further behind reads the journal.
const BOUND: usize = 16 << 20;

#[derive(Debug, Default)]
pub(crate) struct Recent(Mutex<Kept>);

/// All facts after one.
#[derive(Debug, Default)]
struct Kept {
    after: Seq,
    runs: BTreeMap<RunId, VecDeque<(Seq, Arc<Fact>)>>,
    /// The last fact of what was made durable at once, and how long it all is; the oldest first.
    batches: VecDeque<(Seq, usize)>,
    bytes: usize,
}

impl Recent {
    /// Takes facts that have become durable, of so many bytes, and forgets the oldest.
    pub fn add(&self, facts: Vec<(Seq, Fact)>, bytes: usize) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some((first, _)), Some((last, _))) = (facts.first(), facts.last()) else { return };
        let before = Seq(first.0.saturating_sub(1));
        if kept.batches.back().is_none_or(|(seq, _)| *seq != before) {
            *kept = Kept { after: before, ..Kept::default() };
        }
        kept.batches.push_back((*last, bytes));
        kept.bytes += bytes;
        for (seq, fact) in facts {
            if let What::Submitted(_) = fact.what {
                // Its id is used again.
                kept.runs.remove(&fact.run);
            }
            kept.runs.entry(fact.run.clone()).or_default().push_back((seq, Arc::new(fact)));
        }
        while kept.bytes > BOUND {
            kept.forget();
        }
    }

    /// Facts of a run after one, at most so many, in order; none where there are none, or not all.
    pub fn read(&self, run: &RunId, after: Seq, limit: u32) -> Vec<(Seq, Fact)> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(facts) = kept.runs.get(run).filter(|_| after >= kept.after) else { return Vec::new() };
        let first = facts.partition_point(|(seq, _)| *seq <= after);
        let facts: Vec<_> = facts.range(first..).take(limit as usize).cloned().collect();
        drop(kept);
        facts.into_iter().map(|(seq, fact)| (seq, Arc::unwrap_or_clone(fact))).collect()
    }
}

impl Kept {
    fn forget(&mut self) {
        let Some((last, bytes)) = self.batches.pop_front() else { return };
        self.after = last;
        self.bytes -= bytes;
        self.runs.retain(|_, facts| {
            facts.drain(..facts.partition_point(|(seq, _)| *seq <= last));
            !facts.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::tests::spec;

    fn facts(run: &str, numbers: std::ops::RangeInclusive<u64>) -> Vec<(Seq, Fact)> {
        let fact = Fact { run: run.parse().unwrap(), what: What::Archived };
        numbers.map(|number| (Seq(number), fact.clone())).collect()
    }

    fn read(recent: &Recent, run: &str, after: u64, limit: u32) -> Vec<u64> {
        recent.read(&run.parse().unwrap(), Seq(after), limit).into_iter().map(|(seq, _)| seq.0).collect()
    }

    #[test]
    fn a_run_is_read_page_by_page_and_nothing_of_others() {
        let recent = Recent::default();
        recent.add(facts("a", 3..=4), 1);
        recent.add(facts("b", 5..=5), 1);
        recent.add(facts("a", 6..=7), 1);
        assert_eq!(read(&recent, "a", 2, 3), [3, 4, 6]);
        assert_eq!(read(&recent, "a", 6, 3), [7]);
        assert_eq!(read(&recent, "b", 2, 3), [5]);
        assert_eq!((read(&recent, "a", 7, 3), read(&recent, "c", 2, 3)), (vec![], vec![]));
        assert!(read(&recent, "a", 1, 3).is_empty(), "of what was before it knows nothing");
    }

    #[test]
    fn what_is_not_all_there_is_not_told() {
        let recent = Recent::default();
        recent.add(facts("a", 1..=2), BOUND / 2);
        recent.add(facts("b", 3..=3), BOUND / 2);
        assert_eq!(read(&recent, "a", 0, 9), [1, 2]);
        recent.add(facts("a", 4..=4), 1);
        assert_eq!((read(&recent, "a", 0, 9), read(&recent, "a", 1, 9)), (vec![], vec![]));
        assert_eq!((read(&recent, "a", 2, 9), read(&recent, "b", 2, 9)), (vec![4], vec![3]));
        // Something was made durable of which it was not told.
        recent.add(facts("a", 6..=6), 1);
        assert_eq!((read(&recent, "a", 4, 9), read(&recent, "a", 5, 9)), (vec![], vec![6]));
        recent.add(facts("a", 7..=7), BOUND + 1);
        assert!(read(&recent, "a", 6, 9).is_empty(), "that was too much at once");
        recent.add(facts("a", 8..=8), 1);
        assert_eq!(read(&recent, "a", 7, 9), [8]);
    }

    #[test]
    fn an_id_that_is_used_again_is_of_the_newest_run() {
        let recent = Recent::default();
        recent.add(facts("a", 1..=2), 1);
        let what = What::Submitted(Box::new(spec("a")));
        recent.add(vec![(Seq(3), Fact { run: "a".parse().unwrap(), what })], 1);
        assert_eq!(read(&recent, "a", 0, 9), [3]);
    }
}
