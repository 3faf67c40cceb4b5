//! What the runs of a project, and each of its tests, came to last.

use rusqlite::{Connection, OptionalExtension};
use seagull_domain::{NotPassed, RunVerdict};

use super::{History, NEAREST};
use crate::Error;
use crate::find::{Finder, Found};
use crate::last_verdicts::{LastVerdict, LastVerdicts};
use crate::lineage::Lineage;

impl History {
    /// The last verdict of each test, on the branch or what it was made from; None if no run of either has ended.
    pub fn last_verdicts(&self, of: Lineage) -> Result<Option<LastVerdicts>, Error> {
        last_verdicts(&self.connection(), of).map_err(self.sqlite())
    }

    /// The branch's last run that has ended, if that did not pass.
    pub fn not_passed(&self, of: Lineage) -> Result<Option<NotPassed>, Error> {
        not_passed(&self.connection(), of).map_err(self.sqlite())
    }

    /// The ids of a project's tests that a text means.
    pub fn find(&self, project: &str, text: &str, limit: usize) -> Result<Found, Error> {
        let find = || {
            let connection = self.connection();
            let mut statement =
                connection.prepare_cached("SELECT DISTINCT id FROM tests WHERE project = ?1 ORDER BY id")?;
            let mut rows = statement.query([project])?;
            let mut finder = Finder::new(text, limit);
            while let Some(row) = rows.next()? {
                finder.look_at(row.get_ref(0)?.as_str()?);
            }
            Ok(finder.found())
        };
        find().map_err(self.sqlite())
    }
}

fn last_verdicts(connection: &Connection, of: Lineage) -> rusqlite::Result<Option<LastVerdicts>> {
    let select = "SELECT verdict FROM runs WHERE project = ?1 AND branch IN (?2, ?3, '')
        ORDER BY branch = ?2 DESC, branch = ?3 DESC, number DESC LIMIT 1";
    let layers = [of.project, of.own(), of.base()];
    let verdict = connection.query_row(select, layers, |row| row.get::<_, String>(0)).optional()?;
    let Some(verdict) = verdict else { return Ok(None) };
    let mut last = LastVerdicts::new(verdict == RunVerdict::Passed.word());
    // Had a test not been good in it, the branch would say so itself: what is newer happened elsewhere.
    let select = "SELECT max(number) FROM runs WHERE project = ?1 AND branch = ?2 AND arguments NOT NULL";
    let whole: Option<i64> = connection.query_row(select, [of.project, of.own()], |row| row.get(0))?;
    let select = format!("SELECT id, verdict, last_run, own FROM {NEAREST}");
    let mut statement = connection.prepare_cached(&select)?;
    let mut rows = statement.query(layers)?;
    while let Some(row) = rows.next()? {
        let (word, number, own): (_, _, bool) = (row.get_ref(1)?.as_str()?, row.get(2)?, row.get(3)?);
        let elsewhere = !own && whole.is_some_and(|whole| whole < number);
        if !elsewhere || LastVerdict::of_word(word) == LastVerdict::Good {
            last.add(row.get_ref(0)?.as_str()?, word, number);
        }
    }
    Ok(Some(last))
}

fn not_passed(connection: &Connection, of: Lineage) -> rusqlite::Result<Option<NotPassed>> {
    let select =
        "SELECT run, verdict FROM runs WHERE project = ?1 AND branch = ?2 ORDER BY number DESC LIMIT 1";
    let run = |row: &rusqlite::Row| Ok((row.get::<_, String>(0)?, row.get(1)?));
    let last = connection.query_row(select, [of.project, of.own()], run);
    let Some((run, word)) = last.optional()? else { return Ok(None) };
    let word: String = word;
    let open = [RunVerdict::Failed, RunVerdict::Incomplete, RunVerdict::Cancelled];
    let verdict = open.into_iter().find(|verdict| verdict.word() == word);
    let (Some(verdict), Ok(run)) = (verdict, run.parse()) else { return Ok(None) };
    let last = last_verdicts(connection, of)?;
    let tests = last.map_or(0, |last| last.open().count() as u32);
    Ok(Some(NotPassed { run, verdict, tests }))
}

#[cfg(test)]
mod tests {
    use seagull_domain::{NotPassed, RunVerdict, Verdict};

    use crate::history::EndedRun;
    use crate::history::tests::{TRUNK, ended, history, passed, run};
    use crate::{Found, Lineage};

    #[test]
    fn a_test_is_found_and_those_that_did_not_pass_are_counted() {
        let (_directory, history) = history();
        let rows = [
            passed("a.py::x", 1000),
            ("a.py::y".to_owned(), Some(7), Verdict::Failed),
            ("b.py::x".to_owned(), None, Verdict::NotExecuted(seagull_domain::NotExecuted::FailFast)),
        ];
        history.record(&ended(&run(1)), rows.into_iter()).unwrap();
        assert_eq!(history.not_passed(TRUNK).unwrap(), None, "the run passed, whatever it had");
        let verdict = RunVerdict::Failed;
        history.record(&EndedRun { verdict, ..ended(&run(2)) }, std::iter::empty()).unwrap();
        assert_eq!(history.not_passed(TRUNK).unwrap(), Some(NotPassed { run: run(2), verdict, tests: 2 }));
        assert_eq!(history.not_passed(Lineage::trunk("q")).unwrap(), None);
        assert_eq!(
            history.find("p", "y", 9).unwrap(),
            Found { ids: vec!["a.py::y".to_owned()], matching: 1 }
        );
        assert_eq!(
            history.find("p", "::x", 1).unwrap(),
            Found { ids: vec!["a.py::x".to_owned()], matching: 2 }
        );
        assert_eq!(history.find("q", "y", 9).unwrap(), Found::default());
        assert_eq!(history.timing("p", "a.py::x").unwrap().unwrap().runs, 1);
        assert_eq!(history.timing("p", "b.py::x").unwrap(), None);
    }
}
