//! What the history forgets, so that it does not grow for ever.

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::History;
use crate::Error;

/// Runs are forgotten after so many others of their project, tests that so many whole runs did not have, and sooner
/// those that only one run ever had (ids that are made up anew each time), unless they failed there.
const RUNS_KEPT: u32 = 1000;
const TESTS_KEPT: u32 = 100;
const ONCE_SEEN_KEPT: u32 = 10;
/// Of branches those that ran last are kept, so many and with so many tests and setups in all, that are not as on the main
/// branch.
const BRANCHES_KEPT: usize = 200;
const BRANCH_ROWS_KEPT: u64 = 1_000_000;
/// Forgetting reads all tests of a project, so it is done once in so many of its runs.
const FORGET_EVERY: u32 = 8;
/// A run is whole if it was asked for as the largest was: one of a part says nothing of the rest.
const LARGEST: &str = "SELECT arguments FROM runs WHERE project = ?1 AND arguments NOT NULL
    ORDER BY tests DESC, number DESC LIMIT 1";

/// The arguments of whole runs.
pub(super) fn whole(connection: &Connection, project: &str) -> rusqlite::Result<Option<[u8; 32]>> {
    connection.query_row(LARGEST, [project], |row| row.get(0)).optional()
}

impl History {
    /// Forgets the tests that no run has had since then, in Unix milliseconds, with what their scopes took to set up; or
    /// only counts the tests.
    pub fn forget_before(&self, at: u64, only_count: bool) -> Result<u64, Error> {
        let mut connection = self.connection();
        let forgotten =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).and_then(|transaction| {
                let first_young = {
                    // What is imported is older than its number.
                    let select = "SELECT project, coalesce(min(CASE WHEN submitted_at >= ?1 THEN number END),
                        max(number) + 1) FROM runs GROUP BY project";
                    let mut statement = transaction.prepare(select)?;
                    let rows = statement.query_map([at], |row| Ok((row.get(0)?, row.get(1)?)))?;
                    rows.collect::<rusqlite::Result<Vec<(String, i64)>>>()?
                };
                let mut tests = 0;
                for (project, number) in first_young {
                    let count = "SELECT count(*) FROM tests WHERE project = ?1 AND last_run < ?2";
                    tests +=
                        transaction.query_row(count, params![project, number], |row| row.get::<_, u64>(0))?;
                    for table in ["tests", "setups"] {
                        let delete = format!("DELETE FROM {table} WHERE project = ?1 AND last_run < ?2");
                        transaction.execute(&delete, params![project, number])?;
                    }
                }
                if only_count {
                    transaction.rollback()?
                } else {
                    transaction.commit()?
                }
                Ok(tests)
            });
        forgotten.map_err(self.sqlite())
    }
}

pub(super) fn forget_now_and_then(transaction: &Transaction, project: &str) -> rusqlite::Result<()> {
    let runs = "SELECT count(*) FROM runs WHERE project = ?1";
    let runs: u32 = transaction.query_row(runs, [project], |row| row.get(0))?;
    if runs.is_multiple_of(FORGET_EVERY) { forget(transaction, project) } else { Ok(()) }
}

fn forget(transaction: &Transaction, project: &str) -> rusqlite::Result<()> {
    let (any, whole) = ("TRUE", &format!("branch = ?2 AND arguments = ({LARGEST})"));
    let before = |branch: &str, which: &str, runs: u32| {
        let select = format!(
            "SELECT number FROM runs WHERE project = ?1 AND {which} ORDER BY number DESC LIMIT 1 OFFSET ?3"
        );
        let parameters = params![project, branch, runs - 1];
        let oldest = transaction.query_row(&select, parameters, |row| row.get::<_, i64>(0));
        oldest.optional().map(Option::unwrap_or_default)
    };
    let kept = forget_dead_branches(transaction, project)?;
    let tests = "DELETE FROM tests WHERE project = ?1 AND branch = ?2
        AND (last_run < ?3 OR (runs <= 1 AND verdict <> 'failed' AND last_run < ?4))";
    let setups = "DELETE FROM setups WHERE project = ?1 AND branch = ?2 AND last_run < ?3";
    for branch in kept.iter().map(String::as_str).chain([""]) {
        let old = before(branch, whole, TESTS_KEPT)?;
        transaction.execute(tests, params![project, branch, old, before(branch, whole, ONCE_SEEN_KEPT)?])?;
        transaction.execute(setups, params![project, branch, old])?;
    }
    let delete = "DELETE FROM runs WHERE project = ?1 AND number < ?2";
    transaction.execute(delete, params![project, before("", any, RUNS_KEPT)?])?;
    Ok(())
}

/// Branches are dead once so many others ran after them, or what those keep is much. Returns those that live.
fn forget_dead_branches(transaction: &Transaction, project: &str) -> rusqlite::Result<Vec<String>> {
    let select = "SELECT branch, count(*) FROM (SELECT branch FROM tests WHERE project = ?1 AND branch <> ''
            UNION ALL SELECT branch FROM setups WHERE project = ?1 AND branch <> '') AS rows GROUP BY branch
        ORDER BY (SELECT max(number) FROM runs WHERE project = ?1 AND runs.branch = rows.branch) DESC";
    let mut statement = transaction.prepare(select)?;
    let branches =
        statement.query_map([project], |row| Ok((row.get::<_, String>(0)?, row.get::<_, u64>(1)?)))?;
    let (mut kept, mut rows) = (Vec::new(), 0);
    for branch in branches {
        let (branch, of_branch) = branch?;
        rows += of_branch;
        if kept.len() < BRANCHES_KEPT && (rows <= BRANCH_ROWS_KEPT || kept.is_empty()) {
            kept.push(branch);
        } else {
            for table in ["tests", "setups"] {
                let delete = format!("DELETE FROM {table} WHERE project = ?1 AND branch = ?2");
                transaction.execute(&delete, [project, &branch])?;
            }
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use seagull_domain::Verdict;

    use crate::history::tests::{TRUNK, ended, history, passed, run};
    use crate::{EndedRun, LastVerdict, Lineage};

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
            history
                .record(&EndedRun { of: Lineage::trunk("other"), ..ended(&run(n)) }, std::iter::empty())
                .unwrap();
        }
        let timings = history.load(TRUNK).unwrap();
        assert!(timings.len() < 30, "{} are kept", timings.len());
        assert_eq!(timings.get("stays").unwrap().runs, 200);
        assert_eq!(timings.get("gone"), None);
        let last = history.last_verdicts(TRUNK).unwrap().unwrap();
        assert_eq!(last.of("failed"), Some(LastVerdict::Failed), "a failure is not forgotten that soon");
    }

    #[test]
    fn tests_that_no_run_had_for_long_are_forgotten() {
        let (_directory, history) = history();
        for (n, at) in [(0, 10), (1, 20), (2, 30)] {
            let rows = [passed("stays", 10), passed(&format!("only-{n}"), 10)].into_iter();
            let run = run(n);
            history.record(&EndedRun { submitted_at: at, ..ended(&run) }, rows).unwrap();
        }
        assert_eq!(history.forget_before(30, true).unwrap(), 2);
        assert_eq!(history.load(TRUNK).unwrap().len(), 4);
        assert_eq!(history.forget_before(30, false).unwrap(), 2);
        let timings = history.load(TRUNK).unwrap();
        assert!(timings.len() == 2 && timings.get("only-2").is_some() && timings.get("stays").is_some());
        assert_eq!(history.forget_before(30, false).unwrap(), 0);
        // Old reports that were imported now say nothing of how old the rest is.
        let imported = run(3);
        history
            .record(&EndedRun { submitted_at: 5, ..ended(&imported) }, [passed("new", 1)].into_iter())
            .unwrap();
        assert_eq!(history.forget_before(30, false).unwrap(), 0);
        assert_eq!(history.forget_before(31, false).unwrap(), 3);
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
            let failed = history.last_verdicts(TRUNK).unwrap().unwrap().of("failed");
            (history.load(TRUNK).unwrap().len(), failed)
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
