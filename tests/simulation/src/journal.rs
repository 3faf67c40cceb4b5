//! The journal as a disk would keep it: what is in it survives a crash of the scheduler, all else does not.

use std::collections::BTreeMap;

use seagull_domain::{AttemptId, Epoch, Record, RunEvent, RunId, Seq};
use seagull_scheduler_core::{Fact, Settings, State, What, project};

#[derive(Default)]
pub struct Journal {
    /// Each with the time at which it became durable.
    facts: Vec<(Seq, u64, Fact)>,
    /// Facts whose projection a planted bug swallows.
    pub swallowed: Vec<Seq>,
    snapshot: Option<(Seq, String)>,
    lost: BTreeMap<AttemptId, (RunId, u64)>,
    /// The next commit fails, and the scheduler is down for so long.
    pub fails: Option<u64>,
    /// The next commit takes so much longer.
    pub stalls_ms: u64,
}

impl Journal {
    pub fn append(&mut self, now: u64, facts: Vec<(Seq, Fact)>) {
        for (seq, fact) in facts {
            assert_eq!(seq, self.last().next(), "the journal has a gap");
            if let What::AttemptLost { attempt, .. } = &fact.what {
                self.lost.insert(*attempt, (fact.run.clone(), now));
            }
            self.facts.push((seq, now, fact));
        }
    }

    pub fn last(&self) -> Seq {
        self.facts.last().map_or(Seq(0), |(seq, ..)| *seq)
    }

    /// Keeps a state from which later facts suffice.
    pub fn snapshot(&mut self, seq: Seq, state: String) {
        assert!(seq <= self.last(), "a snapshot of what is not durable");
        self.snapshot = Some((seq, state));
    }

    pub fn has_snapshot(&self) -> bool {
        self.snapshot.is_some()
    }

    /// The number of the last fact with results.
    pub fn last_results(&self) -> Option<Seq> {
        let mut facts = self.facts.iter().rev();
        facts.find(|(.., fact)| matches!(fact.what, What::Recorded { .. })).map(|(seq, ..)| *seq)
    }

    /// The state that a new life of the scheduler begins with. Everything is read as it was written: as JSON. A planted bug
    /// does not read one fact.
    pub fn recover(&self, epoch: Epoch, unread: Option<Seq>) -> State {
        let settings = Settings::default();
        let (after, mut state) = match &self.snapshot {
            Some((seq, body)) => {
                let state: State = serde_json::from_str(body).expect("a snapshot reads back");
                (*seq, state.reopened(epoch, settings))
            }
            None => (Seq(0), State::new(epoch, settings)),
        };
        for (_, _, fact) in self.facts.iter().filter(|(seq, ..)| *seq > after) {
            let line = serde_json::to_string(fact).expect("facts are plain data");
            if unread == Some(state.seq.next()) {
                state.seq = state.seq.next();
                continue;
            }
            state.apply(&serde_json::from_str(&line).expect("a fact reads back"));
        }
        state
    }

    /// Attempts of plans that were anticipated in vain, and when that was durable.
    pub fn withdrawn(&self, run: &RunId) -> BTreeMap<AttemptId, u64> {
        let mut withdrawn = BTreeMap::new();
        let mut assigned = Vec::new();
        for (_, at, fact) in self.facts.iter().filter(|(.., fact)| fact.run == *run) {
            match &fact.what {
                What::Assigned { attempt, bundle: Some(_), .. } => assigned.push(*attempt),
                What::Withdrawn => withdrawn.extend(assigned.drain(..).map(|attempt| (attempt, *at))),
                _ => {}
            }
        }
        withdrawn
    }

    /// Attempts that were lost with their executors, and when that was durable.
    pub fn lost(&self, run: &RunId) -> BTreeMap<AttemptId, u64> {
        let of_run = self.lost.iter().filter(|(_, (of, _))| of == run);
        of_run.map(|(attempt, (_, at))| (*attempt, *at)).collect()
    }

    /// Whether it is a result that counts, of an attempt that was lost.
    pub fn is_late_result(&self, what: &What) -> bool {
        let What::Recorded { attempt, records, .. } = what else { return false };
        let counts = |(record, evidence): &(_, _)| matches!((record, evidence), (Record::Result(_), None));
        self.lost.contains_key(attempt) && records.iter().any(counts)
    }

    /// When each attempt ended or was lost: the fact's number, and when it was durable.
    pub fn ended(&self, run: &RunId) -> BTreeMap<AttemptId, (Seq, u64)> {
        let of_run = self.facts.iter().filter(|(.., fact)| fact.run == *run);
        let ended = of_run.filter_map(|(seq, at, fact)| match &fact.what {
            What::AttemptEnded { attempt, .. } | What::AttemptLost { attempt, .. } => {
                Some((*attempt, (*seq, *at)))
            }
            _ => None,
        });
        ended.collect()
    }

    /// What the facts of a run after `after` mean to its readers, with the time from which they could read it.
    pub fn stream(&self, run: &RunId, after: Seq) -> Vec<(Seq, u64, RunEvent)> {
        let start = self.facts.partition_point(|(seq, ..)| *seq <= after);
        let facts = self.facts[start..]
            .iter()
            .filter(|(seq, _, fact)| fact.run == *run && !self.swallowed.contains(seq));
        facts.flat_map(|(seq, at, fact)| project(fact).into_iter().map(|event| (*seq, *at, event))).collect()
    }
}
