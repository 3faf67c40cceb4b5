//! Runs that the journal has under way and that have ended: the state directory was restored from a copy of when they were. Their end is
//! what the scheduler that ended them has left, here or in the store; nothing of them is executed again.
#![expect(clippy::disallowed_methods, reason = "a shell: the store is asked of several runs at a time")]

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use seagull_domain::{Digest, RunId, RunSpec, Seq};
use seagull_results::{Archive, Key, Remote};
use seagull_scheduler_core::{State, What};

use crate::import;
use crate::journal::Reader;
use crate::service::{Service, logs_of, parse};
use crate::warn;

/// Runs that the store is asked of at a time.
const AT_A_TIME: usize = 16;

/// A state directory that may be a copy.
pub(crate) struct Copy<'a> {
    pub archive: &'a Archive,
    /// `STATE/runs`.
    pub runs: &'a Path,
    pub reader: &'a Mutex<Reader>,
}

/// What tells a run from others of its id: its first fact.
type First = (Seq, RunSpec);

impl Copy<'_> {
    /// The runs under way that have ended, whose streams are in the archive then. What the store does not say in time is taken for no:
    /// nothing waits for it.
    pub fn ended(&self, state: &State, remote: Option<&Arc<Remote>>) -> Vec<RunId> {
        let under_way = state.runs.iter().filter(|(_, run)| !run.is_ended()).map(|(run, _)| run.clone());
        let (mut ended, asked): (Vec<RunId>, Vec<RunId>) = under_way.partition(|run| self.is_archived(run));
        asked.iter().for_each(|run| self.forget_later(run, state));
        let Some(remote) = remote else { return ended };
        let mut unknown = 0;
        for some in asked.chunks(AT_A_TIME) {
            let had = thread::scope(|scope| {
                let have = |run| scope.spawn(move || self.have(run, remote));
                let having: Vec<_> = some.iter().map(have).collect();
                having.into_iter().map(|had| had.join().unwrap_or(None)).collect::<Vec<_>>()
            });
            unknown += had.iter().filter(|had| had.is_none()).count();
            let had = some.iter().zip(had).filter(|(_, had)| *had == Some(true));
            ended.extend(had.map(|(run, _)| run.clone()));
        }
        if unknown > 0 {
            warn(&format!(
                "the store does not say whether runs that are under way here have ended: {unknown} go on\n\
                 hint: they have not, unless this state directory is a copy of before: then let the store answer first"
            ));
        }
        ended
    }

    fn first(&self, run: &RunId) -> Option<First> {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let read = reader.read(run, Seq(0), 1).ok()?;
        read.first().and_then(|(seq, body)| submitted(*seq, body))
    }

    /// Logs that were copied after the journal may be of attempts of which it does not know: their numbers are given to others.
    fn forget_later(&self, run: &RunId, state: &State) {
        let logs = logs_of(self.runs, run);
        for (attempt, _) in logs.list().unwrap_or_default() {
            if attempt >= state.next_attempt
                && let Err(error) = logs.forget(attempt)
            {
                warn(&format!("a text of run {run} may be another's: {error}"));
            }
        }
    }

    /// Where streams were copied after the journal, one may have ended in between.
    fn is_archived(&self, run: &RunId) -> bool {
        let archived = || self.archive.read(run, Seq(0)).ok()?.next()?.ok();
        let first = archived().and_then(|(seq, body)| submitted(seq, &body));
        first.is_some() && first == self.first(run)
    }

    /// Has the stream of a run from the store, if that has it; None where it does not say.
    fn have(&self, run: &RunId, remote: &Arc<Remote>) -> Option<bool> {
        if !remote.says_it_has(&Key::Stream(run.clone()))? {
            return Some(false);
        }
        match self.bring(run, remote) {
            Ok(()) => {
                warn(&format!(
                    "run {run} has ended since this state directory was copied: its end is what the store has"
                ));
                Some(true)
            }
            Err(error) => {
                warn(&format!(
                    "run {run} goes on, though the store has a run of that id that has ended: {error}"
                ));
                Some(false)
            }
        }
    }

    fn bring(&self, run: &RunId, remote: &Arc<Remote>) -> Result<(), String> {
        let at = remote.written_at(&Key::Stream(run.clone())).map_err(said)?.ok_or("it is gone")?;
        let first = self.first(run).ok_or("what is here of it cannot be read")?;
        let mut draft = self.archive.draft(run).map_err(said)?;
        let (mut is_first, mut is_last, mut manifest) = (true, false, None);
        for fact in remote.facts(run) {
            let (seq, body) = fact.map_err(said)?;
            if std::mem::take(&mut is_first) && submitted(seq, &body).as_ref() != Some(&first) {
                return Err("it is another one".to_owned());
            }
            draft.write(seq, &body).map_err(said)?;
            let what = parse(seq, &body)?.what;
            is_last = matches!(what, What::Ended { .. });
            manifest = manifest_of(&what).or(manifest);
        }
        if !is_last {
            return Err("its stream breaks off".to_owned());
        }
        if let Some(digest) = manifest
            && !remote.contains(&Key::Blob(digest)).map_err(said)?
        {
            return Err(format!("its manifest {digest} is not there"));
        }
        // What is here of its texts and files is a part.
        for entry in std::fs::read_dir(self.runs.join(run.as_str())).map_err(said)?.flatten() {
            if entry.path().is_dir() {
                std::fs::remove_dir_all(entry.path()).map_err(said)?;
            }
        }
        draft.finish_at(at).map_err(said)?;
        self.archive.set_stored(run).map_err(said)
    }
}

/// What everybody may read of a first fact.
fn submitted(seq: Seq, body: &[u8]) -> Option<First> {
    match parse(seq, body).ok()?.what {
        What::Submitted(spec) => Some((seq, spec.shown())),
        _ => None,
    }
}

fn manifest_of(what: &What) -> Option<Digest> {
    match what {
        What::Planned { plan, .. } => Some(plan.manifest),
        What::Confirmed { manifest, .. } => Some(*manifest),
        _ => None,
    }
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Learns of runs that have ended what a scheduler learns when it archives them.
pub(crate) fn learn(service: &Service, runs: &[RunId]) {
    for run in runs {
        if let Err(error) = import::learn(&service.archive, &service.blobs, &service.history, run) {
            warn(&format!("of run {run} is not learned how long its tests take: {error}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use seagull_domain::{Counts, Epoch, RunVerdict};
    use seagull_scheduler_core::{Fact, Settings};

    use super::*;
    use crate::service::tests::{Embedded, spec};

    fn ended(run: &str, owner: &str) -> [What; 2] {
        let spec = RunSpec { owner: owner.to_owned(), ..spec(run) };
        let (verdict, counts) = (RunVerdict::Passed, Counts::default());
        [What::Submitted(Box::new(spec)), What::Ended { verdict, counts, exit_code: 0, suite_errors: 0 }]
    }

    /// A journal that has these runs under way, in the order of their names.
    fn under_way(embedded: &mut Embedded, runs: &[&str]) -> State {
        let mut state = State::new(Epoch(1), Settings::default());
        let mut facts = Vec::new();
        for run in runs {
            let [submitted, _] = ended(run, "o");
            let fact = Fact { run: run.parse().unwrap(), what: submitted };
            state.apply(&fact);
            facts.push((state.seq, fact));
        }
        embedded.journal.append(&facts).unwrap();
        state
    }

    fn stream(from: u64, run: &RunId, facts: &[What]) -> String {
        let line = |(seq, what): (u64, &What)| {
            let fact = Fact { run: run.clone(), what: what.clone() };
            format!("{{\"seq\":{seq},\"fact\":{}}}\n", serde_json::to_string(&fact).unwrap())
        };
        (from..).zip(facts).map(line).collect()
    }

    fn ask(embedded: &Embedded, state: &State) -> Vec<String> {
        let service = &embedded.service;
        let copy = Copy { archive: &service.archive, runs: &service.runs, reader: &service.reader };
        copy.ended(state, service.remote.as_ref()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_run_has_ended_where_its_own_whole_stream_is_and_nowhere_else() {
        let store = tempfile::tempdir().unwrap();
        let url = format!("file:{}/s", store.path().display());
        let mut embedded = Embedded::new("own").with(&url, u64::MAX);
        let names = ["another", "archived", "broken", "ended", "later"];
        let mut state = under_way(&mut embedded, &names);
        assert_eq!(ask(&embedded, &state), [""; 0]);
        let runs = names.map(|run| run.parse::<RunId>().unwrap());
        let service = embedded.service.clone();
        let remote = service.remote.as_ref().unwrap();
        for (seq, run, facts) in [
            (1, &runs[0], &ended("another", "somebody else")[..]),
            (3, &runs[2], &ended("broken", "o")[..1]),
            (4, &runs[3], &ended("ended", "o")),
            (7, &runs[4], &ended("later", "o")),
        ] {
            remote.pack(&Key::Stream(run.clone()), &mut stream(seq, run, facts).as_bytes()).unwrap();
        }
        while remote.waiting_bytes() > 0 {
            thread::sleep(std::time::Duration::from_millis(5));
        }
        let mut draft = service.archive.draft(&runs[1]).unwrap();
        for (seq, what) in (2..).zip(ended("archived", "o")) {
            let fact = Fact { run: runs[1].clone(), what };
            draft.write(Seq(seq), &serde_json::to_vec(&fact).unwrap()).unwrap();
        }
        draft.finish().unwrap();
        let known = state.next_attempt;
        state.next_attempt = known.next();
        for (run, attempt) in [(&runs[3], known), (&runs[4], known), (&runs[4], known.next())] {
            service.logs(run).write_at(attempt, 0, b"a part").unwrap();
        }
        assert_eq!(ask(&embedded, &state), ["archived", "ended"]);
        assert!(service.archive.contains(&runs[3]) && service.archive.is_stored(&runs[3]));
        assert_eq!(service.logs(&runs[3]).list().unwrap(), []);
        assert_eq!(service.logs(&runs[4]).list().unwrap(), [(known, 6)], "the next attempt gets that number");
        assert!(!service.archive.contains(&runs[0]) && !service.archive.contains(&runs[2]));

        let left = [1, 3].map(|run| runs[run].clone());
        embedded.journal.leave(&mut state, &left).unwrap();
        assert_eq!(state.runs.keys().map(RunId::as_str).collect::<Vec<_>>(), ["another", "broken", "later"]);
        let has = |run| !service.journalled(run, Seq(0), 9).unwrap().is_empty();
        assert_eq!(runs.each_ref().map(has), [true, false, true, false, true]);
        assert_eq!(ask(&embedded, &state), [""; 0]);
    }

    #[test]
    fn a_store_that_says_nothing_ends_no_run() {
        let keys = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(keys.path(), "[default]\naws_access_key_id = a\naws_secret_access_key = b\n").unwrap();
        // Nobody listens there.
        let url = format!("s3://bucket?endpoint=http://127.0.0.1:9&credentials={}", keys.path().display());
        let mut embedded = Embedded::new("own").with(&url, 0);
        let state = under_way(&mut embedded, &["one", "two"]);
        assert_eq!(ask(&embedded, &state), [""; 0]);
        assert!(embedded.service.archive.newest().unwrap().is_empty());
    }
}
