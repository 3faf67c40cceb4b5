//! What is known of durations: timings, how they came true, and what is to be said of them.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension, params};
use seagull_domain::Manifest;

use super::forget::whole;
use super::{History, NEAREST, fingerprint};
use crate::Error;
use crate::calibration::Calibration;
use crate::health::{Health, STALE_DAYS};
use crate::lineage::Lineage;
use crate::renamed::renamed;
use crate::setups::{Setup, Setups};
use crate::timing::{Timing, Timings};

/// What bundles came to is asked of so many runs.
const CALIBRATED_BY: u32 = 50;
const DAY_MS: u64 = 24 * 3600 * 1000;

impl History {
    /// Tells all timings there are for a branch.
    pub fn each_timing(&self, of: Lineage, take: impl FnMut(&str, Timing)) -> Result<(), Error> {
        each_timing(&self.connection(), of, take).map_err(self.sqlite())
    }

    /// All timings there are for a branch, in one pass, and how predictions came true in its last runs.
    pub fn load(&self, of: Lineage) -> Result<Timings, Error> {
        load(&self.connection(), of).map_err(self.sqlite())
    }

    /// All timings there are for a branch, and those of tests of a manifest that are called something else than before by
    /// what they were, if it was discovered with the same arguments as the largest of its runs: of a part nobody knows what
    /// is gone.
    pub fn load_for(&self, of: Lineage, arguments: &[String], manifest: &Manifest) -> Result<Timings, Error> {
        let ids: Vec<String> = manifest.ids().collect();
        let ids = ids.iter().map(String::as_str);
        load_for(&self.connection(), of, Some(fingerprint(arguments)), ids).map_err(self.sqlite())
    }

    /// What is known of the duration of one test, on the main branch or else where it ran last; None if it never did but fail.
    pub fn timing(&self, project: &str, id: &str) -> Result<Option<Timing>, Error> {
        let select = "SELECT location, spread, runs, clips FROM tests
            WHERE project = ?1 AND id = ?2 AND runs > 0 ORDER BY branch = '' DESC, last_run DESC LIMIT 1";
        let timing = |row: &rusqlite::Row| {
            Ok(Timing { location: row.get(0)?, spread: row.get(1)?, runs: row.get(2)?, clips: row.get(3)? })
        };
        let row = self.connection().query_row(select, [project, id], timing).optional();
        row.map_err(self.sqlite())
    }

    /// What a project's history says of itself at `now` (Unix milliseconds).
    pub fn health(&self, of: Lineage, now: u64) -> Result<Health, Error> {
        health(&self.connection(), of, now).map_err(self.sqlite())
    }
}

fn load(connection: &Connection, of: Lineage) -> rusqlite::Result<Timings> {
    let mut timings = begun(connection, of)?;
    each_timing(connection, of, |id, timing| timings.insert(id, timing))?;
    Ok(timings)
}

pub(super) fn load_for<'i>(
    connection: &Connection,
    of: Lineage,
    arguments: Option<[u8; 32]>,
    ids: impl Iterator<Item = &'i str>,
) -> rusqlite::Result<Timings> {
    if arguments.is_none() || arguments != whole(connection, of.project)? {
        return load(connection, of);
    }
    let here: HashSet<&str> = ids.collect();
    let mut timings = begun(connection, of)?;
    let mut gone = Vec::new();
    each_timing(connection, of, |id, timing| {
        timings.insert(id, timing);
        if !here.contains(id) {
            gone.push((id.to_owned(), timing));
        }
    })?;
    if !gone.is_empty() {
        let new: Vec<&str> = here.into_iter().filter(|id| timings.get(id).is_none()).collect();
        let ids: Vec<&str> = gone.iter().map(|(id, _)| id.as_str()).collect();
        for (was, is) in renamed(&ids, &new) {
            timings.insert(new[is], gone[was].1);
        }
    }
    Ok(timings)
}

/// Timings without any test.
fn begun(connection: &Connection, of: Lineage) -> rusqlite::Result<Timings> {
    let nearest = "SELECT scope, micros, samples, max((branch = ?2) * 2 + (branch = ?3)) FROM setups
        WHERE project = ?1 AND branch IN (?2, ?3, '') GROUP BY scope";
    let mut statement = connection.prepare_cached(nearest)?;
    let setup = |row: &rusqlite::Row| {
        Ok((row.get::<_, String>(0)?, Setup { micros: row.get(1)?, samples: row.get(2)? }))
    };
    let parameters = [of.project, of.own(), of.base()];
    let setups = statement.query_map(parameters, setup)?.collect::<rusqlite::Result<_>>()?;
    Ok(Timings::of_lineage(calibration(connection, of)?, Setups(setups)))
}

fn each_timing(
    connection: &Connection,
    of: Lineage,
    mut take: impl FnMut(&str, Timing),
) -> rusqlite::Result<()> {
    let select = format!("SELECT id, location, spread, runs, clips FROM {NEAREST} WHERE location NOT NULL");
    let mut statement = connection.prepare_cached(&select)?;
    let mut rows = statement.query([of.project, of.own(), of.base()])?;
    while let Some(row) = rows.next()? {
        let timing =
            Timing { location: row.get(1)?, spread: row.get(2)?, runs: row.get(3)?, clips: row.get(4)? };
        take(row.get_ref(0)?.as_str()?, timing);
    }
    Ok(())
}

/// By the last runs of the branch and of what it begins with.
fn calibration(connection: &Connection, of: Lineage) -> rusqlite::Result<Calibration> {
    let select =
        "SELECT total(bundles), total(within), total(predicted), total(took), total(excess), total(squares)
        FROM (SELECT * FROM runs WHERE project = ?1 AND branch IN (?2, ?3, '') ORDER BY number DESC LIMIT ?4)";
    connection.query_row(select, params![of.project, of.own(), of.base(), CALIBRATED_BY], |row| {
        Ok(Calibration {
            bundles: row.get::<_, f64>(0)? as u32,
            within: row.get::<_, f64>(1)? as u32,
            predicted: row.get(2)?,
            took: row.get(3)?,
            excess: row.get(4)?,
            squares: row.get(5)?,
        })
    })
}

fn health(connection: &Connection, of: Lineage, now: u64) -> rusqlite::Result<Health> {
    let known = format!(
        "SELECT count(*), count(*) FILTER (WHERE submitted_at BETWEEN 1 AND ?4)
        FROM {NEAREST} AS known JOIN runs ON runs.number = last_run WHERE known.runs > 0"
    );
    let old = now.saturating_sub(STALE_DAYS * DAY_MS);
    let parameters = params![of.project, of.own(), of.base(), old];
    let known = connection.query_row(&known, parameters, |row| Ok((row.get(0)?, row.get(1)?)));
    let alike = format!(
        "SELECT coalesce(max(tests), 0) FROM
        (SELECT count(*) AS tests FROM {NEAREST} WHERE runs > 0 GROUP BY location)"
    );
    let alike = connection.query_row(&alike, [of.project, of.own(), of.base()], |row| row.get(0));
    let ((known, stale), alike) = (known?, alike?);
    Ok(Health { known, stale, alike, calibration: calibration(connection, of)? })
}

#[cfg(test)]
mod tests {
    use seagull_domain::FileTests;

    use super::*;
    use crate::history::EndedRun;
    use crate::history::tests::{TRUNK, ended, history, passed, run};

    #[test]
    fn a_moved_test_keeps_what_is_known_where_all_are_there() {
        let (_directory, history) = history();
        let rows = |folder: &str| ["a", "b"].map(|file| passed(&format!("{folder}/{file}.py::x"), 1000));
        history.record(&ended(&run(1)), rows("old").into_iter()).unwrap();
        let known = |id: &str, arguments: &[String]| {
            let (path, suffix) = id.split_at(id.find("::").unwrap());
            let file = FileTests { path: path.into(), suffixes: vec![suffix.into()] };
            let manifest = Manifest { files: vec![file], ..Manifest::default() };
            let timings = history.load_for(TRUNK, arguments, &manifest).unwrap();
            timings.get(id).map(|timing| timing.runs)
        };
        assert_eq!(known("new/a.py::x", &[]), Some(1));
        assert_eq!(known("new/c.py::x", &[]), None, "it may have been either");
        assert_eq!(known("new/a.py::x", &["new".to_owned()]), None, "what was not asked for is not gone");
        // What is learned is added to that.
        let [a, b] = [2, 3].map(run);
        let part = EndedRun { arguments: None, ..ended(&a) };
        history.record(&part, [passed("part/a.py::x", 1000)].into_iter()).unwrap();
        history.record(&ended(&b), rows("new").into_iter()).unwrap();
        let runs = |id| history.timing("p", id).unwrap().map(|timing| timing.runs);
        assert_eq!(
            [runs("part/a.py::x"), runs("new/a.py::x"), runs("new/b.py::x")],
            [Some(1), Some(1), Some(2)],
            "an a.py is gone from two folders"
        );
    }

    #[test]
    fn what_scopes_take_is_kept_and_a_test_may_take_so_much_longer() {
        let (_directory, history) = history();
        let excess = |micros| [crate::Excess { place: 0, scopes: vec!["a.py".to_owned()], micros }];
        for n in 1..=20 {
            let setups = &excess(90_000_000);
            history
                .record(&EndedRun { setups, ..ended(&run(n)) }, [passed("a.py::x", 1000)].into_iter())
                .unwrap();
        }
        let files = vec![FileTests { path: "a.py".into(), suffixes: vec!["::x".into()] }];
        let manifest = Manifest { files, ..Manifest::default() };
        let prediction = crate::predict(&manifest, &history.load_for(TRUNK, &[], &manifest).unwrap());
        assert_eq!(prediction.setups.micros("a.py"), 90_000_000);
        assert!(prediction.micros[0] < 2000 && prediction.limit_ms(0) > 890_000, "{prediction:?}");
        // What no whole run of the main branch sets up any more is forgotten.
        for n in 100..210 {
            history.record(&ended(&run(n)), [passed("a.py::x", 1000)].into_iter()).unwrap();
        }
        assert_eq!(history.load(TRUNK).unwrap().setups, crate::Setups::default());
    }

    #[test]
    fn a_history_knows_how_its_predictions_came_true_and_how_old_they_are() {
        let (_directory, history) = history();
        let rows = |micros: u64| (0..40).map(move |n| passed(&format!("t{n}"), micros + n));
        let bundles = [(0..20).collect(), (20..40).collect()];
        for n in 1..=4 {
            let run = run(n);
            let ended = EndedRun { submitted_at: DAY_MS, bundles: &bundles, ..ended(&run) };
            history.record(&ended, rows(if n < 4 { 1_000_000 } else { 1_200_000 })).unwrap();
        }
        let calibration = history.load(TRUNK).unwrap().calibration;
        assert_eq!(calibration.bundles, 2, "of one run: before it nothing was settled");
        assert!((1.1..1.25).contains(&calibration.ratio().unwrap()), "{calibration:?}");
        let health = |days: u64| history.health(TRUNK, days * DAY_MS).unwrap();
        assert_eq!(health(30), Health { known: 40, stale: 0, alike: health(30).alike, calibration });
        assert!(health(30).alike < 40, "durations that were measured differ");
        assert_eq!(health(31).stale, 40);
        let alike = (0..9).map(|n| passed(&format!("u{n}"), 5));
        history.record(&EndedRun { submitted_at: 40 * DAY_MS, ..ended(&run(5)) }, alike).unwrap();
        assert_eq!((health(41).known, health(41).stale), (49, 40));
        assert_eq!(history.health(Lineage::trunk("q"), 0).unwrap(), Health::default());
    }
}
