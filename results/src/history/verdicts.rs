//! What the runs of a project, and each of its tests, came to last.

use rusqlite::{Connection, OptionalExtension};
use seagull_domain::{NotPassed, RunVerdict};

use super::History;
use crate::Error;
use crate::find::{Finder, Found};
use crate::last_verdicts::LastVerdicts;

impl History {
    /// The last verdict of each test of the project; None if no run of it has ended.
    pub fn last_verdicts(&self, project: &str) -> Result<Option<LastVerdicts>, Error> {
        last_verdicts(&self.connection(), project).map_err(self.sqlite())
    }

    /// The project's last run that has ended, if that did not pass.
    pub fn not_passed(&self, project: &str) -> Result<Option<NotPassed>, Error> {
        not_passed(&self.connection(), project).map_err(self.sqlite())
    }

    /// The ids of a project's tests that a text means.
    pub fn find(&self, project: &str, text: &str, limit: usize) -> Result<Found, Error> {
        let find = || {
            let connection = self.connection();
            let mut statement =
                connection.prepare_cached("SELECT id FROM tests WHERE project = ?1 ORDER BY id")?;
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

fn last_verdicts(connection: &Connection, project: &str) -> rusqlite::Result<Option<LastVerdicts>> {
    let select = "SELECT verdict FROM runs WHERE project = ?1 ORDER BY number DESC LIMIT 1";
    let verdict = connection.query_row(select, [project], |row| row.get::<_, String>(0)).optional()?;
    let Some(verdict) = verdict else { return Ok(None) };
    let last_run_passed = verdict == RunVerdict::Passed.word();
    let mut last = LastVerdicts::new(last_run_passed);
    let mut statement =
        connection.prepare_cached("SELECT id, verdict, last_run FROM tests WHERE project = ?1")?;
    let mut rows = statement.query([project])?;
    while let Some(row) = rows.next()? {
        last.add(row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_str()?, row.get(2)?);
    }
    Ok(Some(last))
}

fn not_passed(connection: &Connection, project: &str) -> rusqlite::Result<Option<NotPassed>> {
    let select = "SELECT run, verdict FROM runs WHERE project = ?1 ORDER BY number DESC LIMIT 1";
    let last = connection.query_row(select, [project], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)));
    let Some((run, word)) = last.optional()? else { return Ok(None) };
    let word: String = word;
    let open = [RunVerdict::Failed, RunVerdict::Incomplete, RunVerdict::Cancelled];
    let verdict = open.into_iter().find(|verdict| verdict.word() == word);
    let (Some(verdict), Ok(run)) = (verdict, run.parse()) else { return Ok(None) };
    let select = "SELECT count(*) FROM tests
        WHERE project = ?1 AND verdict NOT IN ('passed', 'skipped', 'flaky')";
    let tests = connection.query_row(select, [project], |row| row.get(0))?;
    Ok(Some(NotPassed { run, verdict, tests }))
}

#[cfg(test)]
mod tests {
    use seagull_domain::{NotPassed, RunVerdict, Verdict};

    use crate::Found;
    use crate::history::EndedRun;
    use crate::history::tests::{ended, history, passed, run};

    #[test]
    fn a_test_is_found_and_those_that_did_not_pass_are_counted() {
        let (_directory, history) = history();
        let rows = [
            passed("a.py::x", 1000),
            ("a.py::y".to_owned(), Some(7), Verdict::Failed),
            ("b.py::x".to_owned(), None, Verdict::NotExecuted(seagull_domain::NotExecuted::FailFast)),
        ];
        history.record(&ended(&run(1)), rows.into_iter()).unwrap();
        assert_eq!(history.not_passed("p").unwrap(), None, "the run passed, whatever it had");
        let verdict = RunVerdict::Failed;
        history.record(&EndedRun { verdict, ..ended(&run(2)) }, std::iter::empty()).unwrap();
        assert_eq!(history.not_passed("p").unwrap(), Some(NotPassed { run: run(2), verdict, tests: 2 }));
        assert_eq!(history.not_passed("q").unwrap(), None);
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
