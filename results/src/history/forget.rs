//! What the history forgets, so that it does not grow for ever.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

/// Runs are forgotten after so many others of their project, tests that so many whole runs did not have, and sooner
/// those that only one run ever had (ids that are made up anew each time), unless they failed there.
const RUNS_KEPT: u32 = 1000;
const TESTS_KEPT: u32 = 100;
const ONCE_SEEN_KEPT: u32 = 10;
/// Forgetting reads all tests of a project, so it is done once in so many of its runs.
const FORGET_EVERY: u32 = 8;
/// A run is whole if it was asked for as the largest was: one of a part says nothing of the rest.
const LARGEST: &str = "SELECT arguments FROM runs WHERE project = ?1 AND arguments NOT NULL
    ORDER BY tests DESC, number DESC LIMIT 1";

/// The arguments of whole runs.
pub(super) fn whole(connection: &Connection, project: &str) -> rusqlite::Result<Option<[u8; 32]>> {
    connection.query_row(LARGEST, [project], |row| row.get(0)).optional()
}

pub(super) fn forget_now_and_then(transaction: &Transaction, project: &str) -> rusqlite::Result<()> {
    let runs = "SELECT count(*) FROM runs WHERE project = ?1";
    let runs: u32 = transaction.query_row(runs, [project], |row| row.get(0))?;
    if runs.is_multiple_of(FORGET_EVERY) { forget(transaction, project) } else { Ok(()) }
}

fn forget(transaction: &Transaction, project: &str) -> rusqlite::Result<()> {
    let any = "TRUE";
    let whole = &format!("arguments = ({LARGEST})");
    let before = |which: &str, runs: u32| {
        let select = format!(
            "SELECT number FROM runs WHERE project = ?1 AND {which} ORDER BY number DESC LIMIT 1 OFFSET ?2"
        );
        let oldest = transaction.query_row(&select, params![project, runs - 1], |row| row.get::<_, i64>(0));
        oldest.optional().map(Option::unwrap_or_default)
    };
    let delete = "DELETE FROM tests WHERE project = ?1
        AND (last_run < ?2 OR (runs <= 1 AND verdict <> 'failed' AND last_run < ?3))";
    let bounds = params![project, before(whole, TESTS_KEPT)?, before(whole, ONCE_SEEN_KEPT)?];
    transaction.execute(delete, bounds)?;
    let delete = "DELETE FROM runs WHERE project = ?1 AND number < ?2";
    transaction.execute(delete, params![project, before(any, RUNS_KEPT)?])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use seagull_domain::Verdict;

    use crate::history::tests::{ended, history, passed, run};
    use crate::{EndedRun, LastVerdict};

    #[test]
    fn made_up_ids_and_gone_tests_are_forgotten() {
        let (_directory, history) = history();
        for n in 0..200 {
            let gone = (n < 50).then(|| passed("gone", 10));
            let failed = (n == 150).then(|| ("failed".to_owned(), Some(10), Verdict::Failed));
            let rows = [passed("stays", 10), passed(&format!("once-{n}"), 10)].into_iter();
            let rows = rows.chain(gone).chain(failed);
            history.record(&ended(&run(n)), rows).unwrap();
            // When a project forgets does not depend on what others run.
            history.record(&EndedRun { project: "other", ..ended(&run(n)) }, std::iter::empty()).unwrap();
        }
        let timings = history.load("p").unwrap();
        assert!(timings.len() < 30, "{} are kept", timings.len());
        assert_eq!(timings.get("stays").unwrap().runs, 200);
        assert_eq!(timings.get("gone"), None);
        let last = history.last_verdicts("p").unwrap().unwrap();
        assert_eq!(last.of("failed"), Some(LastVerdict::Failed), "a failure is not forgotten that soon");
    }

    #[test]
    fn runs_of_a_part_do_not_make_the_rest_forgotten() {
        let (_directory, history) = history();
        let failed = ("failed".to_owned(), Some(10), Verdict::Failed);
        let rest = (0..20).map(|n| passed(&format!("t{n}"), 10));
        history.record(&ended(&run(0)), rest.chain([failed])).unwrap();
        let part = ["tests/a.py".to_owned()];
        for n in 1..=150 {
            let arguments = (n % 3 > 0).then_some(part.as_slice());
            history
                .record(&EndedRun { arguments, ..ended(&run(n)) }, [passed("t0", 10)].into_iter())
                .unwrap();
        }
        let known = || {
            let failed = history.last_verdicts("p").unwrap().unwrap().of("failed");
            (history.load("p").unwrap().len(), failed)
        };
        assert_eq!(known(), (21, Some(LastVerdict::Failed)));
        // Whole runs, smaller than the first.
        let whole = |numbers: std::ops::Range<u32>| {
            for n in numbers {
                history.record(&ended(&run(n)), (0..2).map(|n| passed(&format!("t{n}"), 10))).unwrap();
            }
        };
        whole(200..290);
        assert_eq!(known(), (3, Some(LastVerdict::Failed)));
        whole(290..310);
        assert_eq!(known(), (2, None));
    }
}
