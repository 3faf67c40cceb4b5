//! Learning from an ended run.

use std::collections::BTreeMap;

use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use seagull_domain::Verdict;

use super::forget::forget_now_and_then;
use super::timings::load_for;
use super::{EndedRun, History, fingerprint};
use crate::Error;
use crate::calibration::Calibration;
use crate::lineage::Lineage;
use crate::setups::Setup;
use crate::timing::{CLIP, SETTLED_RUNS, Timing, Timings};

/// What a branch has learned of a setup is not kept if it is off by no more than so many microseconds and such a share.
const SETUP_MICROS: f64 = 1_000.0;
const SETUP_SHARE: f64 = 0.1;

impl History {
    /// Learns from an ended run: its verdict, and of each test the microseconds, where it was executed, and the verdict. Of
    /// one that failed they may only raise what is known.
    /// A run that was recorded before changes nothing.
    pub fn record(
        &self,
        ended: &EndedRun,
        tests: impl Iterator<Item = (String, Option<u64>, Verdict)>,
    ) -> Result<(), Error> {
        record(&mut self.connection(), ended, tests).map_err(self.sqlite())
    }
}

fn record(
    connection: &mut Connection,
    ended: &EndedRun,
    tests: impl Iterator<Item = (String, Option<u64>, Verdict)>,
) -> rusqlite::Result<()> {
    let EndedRun { of, run, submitted_at, verdict, arguments, discovered, bundles, .. } = *ended;
    // Immediate, so that what is learned from is still so when it is written.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let insert = "
        INSERT OR IGNORE INTO runs (project, run, submitted_at, tests, verdict, arguments, discovered, branch)
        VALUES (?1, ?2, ?3, 0, ?4, ?5, ?6, ?7)";
    let (arguments, discovered) = (arguments.map(fingerprint), discovered.map(|digest| digest.0));
    let row =
        params![of.project, run.as_str(), submitted_at, verdict.word(), arguments, discovered, of.own()];
    if transaction.execute(insert, row)? == 0 {
        return Ok(());
    }
    let number = transaction.last_insert_rowid();
    let tests: Vec<_> = tests.collect();
    let mut known = load_for(&transaction, of, arguments, tests.iter().map(|(id, ..)| id.as_str()))?;
    let Calibration { bundles, within, predicted, took, excess, squares } =
        calibrate(bundles, &tests, &known);
    let update =
        "UPDATE runs SET tests = ?2, bundles = ?3, within = ?4, predicted = ?5, took = ?6, excess = ?7,
        squares = ?8 WHERE number = ?1";
    let count = tests.len() as u32;
    transaction.execute(update, params![number, count, bundles, within, predicted, took, excess, squares])?;
    write(&transaction, of, number, tests, &known)?;
    write_setups(&transaction, of, number, known.setups.learn(ended.setups))?;
    if of.branch.is_some() {
        drop_what_does_not_differ(&transaction, of, number)?;
    }
    forget_now_and_then(&transaction, of.project)?;
    transaction.commit()
}

/// How what was known of bundles came true.
fn calibrate(
    bundles: &[Vec<usize>],
    tests: &[(String, Option<u64>, Verdict)],
    known: &Timings,
) -> Calibration {
    let common = known.calibration.common();
    let mut calibration = Calibration::default();
    for bundle in bundles {
        let executed = bundle.iter().filter_map(|&place| tests.get(place));
        let executed = executed.filter_map(|(id, micros, _)| known.get(id).zip(*micros));
        calibration.add(executed, common);
    }
    calibration
}

fn write(
    transaction: &Transaction,
    of: Lineage,
    number: i64,
    tests: Vec<(String, Option<u64>, Verdict)>,
    known: &Timings,
) -> rusqlite::Result<()> {
    // A failure stays until its test is executed again: no run that is interrupted hides it.
    let upsert = "
        INSERT INTO tests (project, branch, id, location, spread, runs, clips, last_run, verdict)
        VALUES (?1, ?2, ?4, ?5, ?6, ?7, ?8, ?9, iif(?10 = 'not_executed' AND 'failed' = (
            SELECT verdict FROM tests WHERE project = ?1 AND id = ?4 AND branch IN (?2, ?3, '')
            ORDER BY branch = ?2 DESC, branch = ?3 DESC LIMIT 1), 'failed', ?10))
        ON CONFLICT (project, id, branch) DO UPDATE SET
            location = excluded.location, spread = excluded.spread, runs = excluded.runs, clips = excluded.clips,
            verdict = excluded.verdict, last_run = excluded.last_run";
    let mut statement = transaction.prepare(upsert)?;
    for (id, micros, verdict) in tests {
        let failed = matches!(verdict, Verdict::Failed | Verdict::Quarantined);
        let before = known.get(&id);
        let now = micros.map(|micros| Timing::learn(before, micros, failed)).or(before);
        let (location, spread) = (now.map(|t| t.location), now.map(|t| t.spread));
        let (runs, clips) = now.map_or((0, 0), |timing| (timing.runs, timing.clips));
        let (project, own, base) = (of.project, of.own(), of.base());
        let row = params![project, own, base, id, location, spread, runs, clips, number, verdict.word()];
        statement.execute(row)?;
    }
    Ok(())
}

fn write_setups(
    transaction: &Transaction,
    of: Lineage,
    number: i64,
    learned: BTreeMap<String, Setup>,
) -> rusqlite::Result<()> {
    let upsert = "
        INSERT INTO setups VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (project, scope, branch) DO UPDATE SET
            micros = excluded.micros, samples = excluded.samples, last_run = excluded.last_run";
    let mut statement = transaction.prepare(upsert)?;
    for (scope, Setup { micros, samples }) in learned {
        statement.execute(params![of.project, scope, of.own(), micros, samples, number])?;
    }
    Ok(())
}

/// A branch keeps of its run what is not as on its base: another verdict, a duration that is off by more than they vary, a
/// setup that is off by much. What is not good it keeps in any case, so that it does not become good there unnoticed.
fn drop_what_does_not_differ(transaction: &Transaction, of: Lineage, number: i64) -> rusqlite::Result<()> {
    let delete = "
        DELETE FROM tests AS own
        WHERE project = ?1 AND branch = ?2 AND last_run = ?4 AND clips = 0 AND verdict IN ('passed', 'skipped', 'flaky')
        AND EXISTS (SELECT 1 FROM tests AS below WHERE below.project = ?1 AND below.id = own.id
            AND below.branch = coalesce((SELECT branch FROM tests WHERE project = ?1 AND id = own.id AND branch = ?3), '')
            AND below.verdict IN ('passed', 'skipped', 'flaky')
            AND (below.location IS own.location
                OR (below.runs >= ?5 AND abs(below.location - own.location) <= ?6)))";
    let parameters = params![of.project, of.own(), of.base(), number, SETTLED_RUNS, CLIP];
    transaction.execute(delete, parameters)?;
    let delete = "
        DELETE FROM setups AS own WHERE project = ?1 AND branch = ?2 AND last_run = ?4
        AND EXISTS (SELECT 1 FROM setups AS below WHERE below.project = ?1 AND below.scope = own.scope
            AND below.branch = coalesce((SELECT branch FROM setups WHERE project = ?1 AND scope = own.scope AND branch = ?3), '')
            AND abs(below.micros - own.micros) <= ?5 + ?6 * below.micros)";
    let parameters = params![of.project, of.own(), of.base(), number, SETUP_MICROS, SETUP_SHARE];
    transaction.execute(delete, parameters).map(drop)
}

#[cfg(test)]
mod tests {
    use seagull_domain::Verdict;

    use crate::history::EndedRun;
    use crate::history::tests::{TRUNK, ended, history, passed, run};
    use crate::{LastVerdict, Lineage};

    #[test]
    fn what_is_recorded_is_loaded_once() {
        let (_directory, history) = history();
        assert!(history.last_verdicts(TRUNK).unwrap().is_none());
        let rows = || [passed("a\n::\0é", 1000), ("b".to_owned(), None, Verdict::Skipped)].into_iter();
        history.record(&ended(&run(1)), rows()).unwrap();
        history.record(&ended(&run(1)), rows()).unwrap();
        let timings = history.load(TRUNK).unwrap();
        assert_eq!(timings.len(), 1);
        assert_eq!(timings.get("a\n::\0é").unwrap().runs, 1);
        let last = history.last_verdicts(TRUNK).unwrap().unwrap();
        assert_eq!((last.of("b"), last.of("c")), (Some(LastVerdict::Good), None));
        assert!(history.load(Lineage::trunk("other")).unwrap().is_empty());
        history.record(&ended(&run(2)), rows().take(1)).unwrap();
        assert_eq!(history.load(TRUNK).unwrap().get("a\n::\0é").unwrap().runs, 2);
        // Another run of an id that was free again.
        history.record(&EndedRun { submitted_at: 1, ..ended(&run(1)) }, rows()).unwrap();
        assert_eq!(history.load(TRUNK).unwrap().get("a\n::\0é").unwrap().runs, 3);
    }

    #[test]
    fn a_test_that_a_run_did_not_execute_keeps_its_timing() {
        let (_directory, history) = history();
        history.record(&ended(&run(1)), [passed("a", 1000)].into_iter()).unwrap();
        let none = Verdict::NotExecuted(seagull_domain::NotExecuted::Cancelled);
        history.record(&ended(&run(2)), [("a".to_owned(), None, none)].into_iter()).unwrap();
        assert_eq!(history.load(TRUNK).unwrap().get("a").unwrap().robust_micros(), 1000);
        let last = history.last_verdicts(TRUNK).unwrap().unwrap();
        assert_eq!(last.of("a"), Some(LastVerdict::NotGood));
        history.record(&ended(&run(3)), [("a".to_owned(), Some(1), Verdict::Failed)].into_iter()).unwrap();
        assert_eq!(history.load(TRUNK).unwrap().get("a").unwrap().robust_micros(), 1000);
        history.record(&ended(&run(4)), [("a".to_owned(), None, none)].into_iter()).unwrap();
        let last = history.last_verdicts(TRUNK).unwrap().unwrap();
        assert_eq!(last.of("a"), Some(LastVerdict::Failed), "it was not executed since it failed");
    }

    #[test]
    fn a_failure_that_does_not_count_may_only_raise_either() {
        let (_directory, history) = history();
        history.record(&ended(&run(1)), [passed("a", 1000)].into_iter()).unwrap();
        for (n, verdict) in [(2, Verdict::Failed), (3, Verdict::Quarantined)] {
            history.record(&ended(&run(n)), [("a".to_owned(), Some(1), verdict)].into_iter()).unwrap();
            assert_eq!(history.timing("p", "a").unwrap().unwrap().robust_micros(), 1000);
        }
        history.record(&ended(&run(4)), [("b".to_owned(), Some(1000), Verdict::Failed)].into_iter()).unwrap();
        assert_eq!(history.timing("p", "b").unwrap(), None);
        assert_eq!(history.load(TRUNK).unwrap().get("b").unwrap().robust_micros(), 1000);
    }

    #[test]
    fn a_quarter_of_a_million_tests_are_recorded_again_and_again() {
        let (_directory, history) = history();
        let rows = || (0..250_000).map(|n| passed(&format!("tests/test_{}.py::test[{n}]", n / 50), 1000));
        history.record(&ended(&run(1)), rows()).unwrap();
        history.record(&ended(&run(2)), rows()).unwrap();
        let timings = history.load(TRUNK).unwrap();
        assert_eq!(timings.len(), 250_000);
        assert_eq!(timings.get("tests/test_7.py::test[377]").unwrap().runs, 2);
    }
}
