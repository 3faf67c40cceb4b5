//! What the framework discovered in earlier runs.

use rusqlite::{OptionalExtension, params};
use seagull_domain::Digest;

use super::{History, fingerprint};
use crate::Error;
use crate::lineage::Lineage;

impl History {
    /// How many tests the framework discovered when the branch, or what it was made from, was last run with these arguments.
    pub fn last_manifest_len(&self, of: Lineage, arguments: &[String]) -> Result<Option<usize>, Error> {
        let select = "SELECT tests FROM runs WHERE project = ?1 AND branch IN (?2, ?3, '') AND arguments = ?4
            ORDER BY branch = ?2 DESC, branch = ?3 DESC, number DESC LIMIT 1";
        let parameters = params![of.project, of.own(), of.base(), fingerprint(arguments)];
        let row = self.connection().query_row(select, parameters, |row| row.get::<_, u32>(0)).optional();
        row.map(|row| row.map(|tests| tests as usize)).map_err(self.sqlite())
    }

    /// The manifests that were discovered the last two times that the branch was run with these arguments, or what it was
    /// made from, the newest of the branch first.
    pub fn last_discovered(&self, of: Lineage, arguments: &[String]) -> Result<Vec<Digest>, Error> {
        let select = "SELECT discovered FROM runs
            WHERE project = ?1 AND branch IN (?2, ?3, '') AND arguments = ?4 AND discovered IS NOT NULL
            ORDER BY branch = ?2 DESC, branch = ?3 DESC, number DESC LIMIT 2";
        let newest = || {
            let connection = self.connection();
            let mut statement = connection.prepare_cached(select)?;
            let rows = statement
                .query_map(params![of.project, of.own(), of.base(), fingerprint(arguments)], |row| {
                    row.get(0)
                })?;
            rows.map(|digest| digest.map(Digest)).collect::<rusqlite::Result<_>>()
        };
        newest().map_err(self.sqlite())
    }
}

#[cfg(test)]
mod tests {
    use seagull_domain::Digest;

    use crate::history::EndedRun;
    use crate::history::tests::{TRUNK, ended, history, passed, run};

    #[test]
    fn a_manifest_is_compared_with_one_of_the_same_arguments() {
        let (_directory, history) = history();
        let unit = ["tests/unit".to_owned(), "-x".to_owned()];
        let record = |n, arguments, tests: u32| {
            let run = run(n);
            let rows = (0..tests).map(|test| passed(&format!("t{test}"), 10));
            history.record(&EndedRun { arguments, ..ended(&run) }, rows).unwrap();
        };
        let len = |arguments: &[String]| history.last_manifest_len(TRUNK, arguments).unwrap();
        assert_eq!(len(&[]), None);
        record(1, Some(&[]), 9);
        record(2, Some(&unit), 5);
        // A part of what was discovered.
        record(3, None, 2);
        assert_eq!((len(&[]), len(&unit), len(&unit[..1])), (Some(9), Some(5), None));
        record(4, Some(&unit), 4);
        assert_eq!((len(&[]), len(&unit)), (Some(9), Some(4)));
        let last = |arguments: &[String]| history.last_discovered(TRUNK, arguments).unwrap();
        assert_eq!(last(&[]), []);
        let discovered = [5, 6, 7].map(|n| Digest([n; 32]));
        for (n, found) in (5..).zip(discovered) {
            let number = run(n);
            let ended = EndedRun { discovered: Some(found), ..ended(&number) };
            history.record(&ended, std::iter::empty()).unwrap();
            if n == 5 {
                assert_eq!((last(&[]), last(&unit)), (vec![found], vec![]));
            }
        }
        record(8, Some(&[]), 9);
        assert_eq!(last(&[]), [discovered[2], discovered[1]]);
    }
}
