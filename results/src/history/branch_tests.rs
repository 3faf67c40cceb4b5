//! Branches: what one learns, the others see only if they are made from it.

use seagull_domain::{Branch, Verdict};

use super::tests::{TRUNK, ended, history, passed, run};
use super::*;
use crate::LastVerdict;

/// Ten seconds, as settled as a duration may be.
const MICROS: u64 = 10_000_000;

fn branch(name: &str, base: Option<&str>) -> Branch {
    Branch { name: name.into(), base: base.map(str::to_owned) }
}

fn on(branch: &Branch) -> Lineage<'_> {
    Lineage { project: "p", branch: Some(branch) }
}

type Row<'a> = (&'a str, u64, Verdict);

struct Runs {
    _directory: tempfile::TempDir,
    history: History,
    recorded: u32,
}

impl Runs {
    /// The main branch knows x and y.
    fn new() -> Self {
        let (_directory, history) = history();
        let mut runs = Self { _directory, history, recorded: 0 };
        (0..4).for_each(|_| {
            runs.record(TRUNK, &[("x", MICROS, Verdict::Passed), ("y", MICROS, Verdict::Passed)])
        });
        runs
    }

    fn record(&mut self, of: Lineage, rows: &[Row]) {
        self.recorded += 1;
        let rows = rows.iter().map(|(id, micros, verdict)| ((*id).to_owned(), Some(*micros), *verdict));
        self.history.record(&EndedRun { of, ..ended(&run(self.recorded)) }, rows).unwrap();
    }

    fn last(&self, of: Lineage, id: &str) -> Option<LastVerdict> {
        self.history.last_verdicts(of).unwrap().unwrap().of(id)
    }

    fn micros(&self, of: Lineage, id: &str) -> Option<u64> {
        self.history.load(of).unwrap().get(id).map(|timing| timing.robust_micros())
    }

    /// How many tests a branch keeps.
    fn kept(&self, branch: &str) -> u32 {
        let count = "SELECT count(*) FROM tests WHERE branch = ?1";
        self.history.connection().query_row(count, [branch], |row| row.get(0)).unwrap()
    }
}

#[test]
fn a_branch_begins_with_what_is_known_below_and_keeps_what_differs() {
    let mut runs = Runs::new();
    let (feature, other) = (branch("feature", None), branch("other", None));
    let on_top = branch("on-top", Some("feature"));
    assert_eq!(runs.micros(on(&feature), "x"), runs.micros(TRUNK, "x"));
    runs.record(on(&feature), &[("x", MICROS, Verdict::Passed), ("y", MICROS * 11 / 10, Verdict::Skipped)]);
    assert_eq!(runs.kept("feature"), 0, "that is as on the main branch");
    let slow = [
        ("x", MICROS * 10, Verdict::Passed),
        ("y", MICROS, Verdict::Failed),
        ("new", MICROS, Verdict::Passed),
    ];
    (0..8).for_each(|_| runs.record(on(&feature), &slow));
    assert_eq!(runs.kept("feature"), 3);
    for of in [on(&feature), on(&on_top)] {
        assert!(runs.micros(of, "x").unwrap() > 5 * MICROS, "{of:?}");
        assert_eq!(
            (runs.last(of, "y"), runs.last(of, "new")),
            (Some(LastVerdict::Failed), Some(LastVerdict::Good))
        );
    }
    for of in [TRUNK, on(&other)] {
        assert!(runs.micros(of, "x").unwrap() < 2 * MICROS, "{of:?}");
        assert_eq!(
            (runs.last(of, "y"), runs.last(of, "new"), runs.micros(of, "new")),
            (Some(LastVerdict::Good), None, None)
        );
    }
    // What is mended, and as fast as before again, is as on the main branch.
    let mended = [("x", MICROS, Verdict::Passed), ("y", MICROS, Verdict::Passed)];
    (0..12).for_each(|_| runs.record(on(&feature), &mended));
    assert_eq!(runs.kept("feature"), 1, "of new the main branch knows nothing");
}

#[test]
fn a_failure_elsewhere_is_a_branchs_own_only_until_it_has_run() {
    let mut runs = Runs::new();
    let feature = branch("feature", None);
    runs.record(TRUNK, &[("x", 1, Verdict::Failed)]);
    assert_eq!(runs.last(on(&feature), "x"), Some(LastVerdict::Failed));
    runs.record(on(&feature), &[("x", MICROS, Verdict::Passed), ("y", MICROS, Verdict::Failed)]);
    let last = |runs: &Runs| (runs.last(on(&feature), "x"), runs.last(on(&feature), "y"));
    assert_eq!(last(&runs), (Some(LastVerdict::Good), Some(LastVerdict::Failed)));
    assert_eq!(
        (runs.last(TRUNK, "x"), runs.last(TRUNK, "y")),
        (Some(LastVerdict::Failed), Some(LastVerdict::Good))
    );
    // As bad as below, it is kept: it may be mended there.
    runs.record(TRUNK, &[("y", 1, Verdict::Failed)]);
    runs.record(on(&feature), &[("y", MICROS, Verdict::Failed)]);
    runs.record(TRUNK, &[("x", MICROS, Verdict::Passed), ("y", MICROS, Verdict::Passed)]);
    assert_eq!(last(&runs), (Some(LastVerdict::Good), Some(LastVerdict::Failed)));
    // What fails there from now on says nothing of it.
    runs.record(on(&feature), &[("x", MICROS, Verdict::Passed), ("y", MICROS, Verdict::Passed)]);
    runs.record(TRUNK, &[("x", 1, Verdict::Failed)]);
    assert_eq!(last(&runs), (None, Some(LastVerdict::Good)));
    assert_eq!(runs.history.last_verdicts(on(&feature)).unwrap().unwrap().open().count(), 0);
}

#[test]
fn an_interrupted_run_hides_no_failure_from_below() {
    let mut runs = Runs::new();
    let feature = branch("feature", None);
    runs.record(TRUNK, &[("x", 1, Verdict::Failed)]);
    let cancelled = Verdict::NotExecuted(seagull_domain::NotExecuted::Cancelled);
    let rows = [("x".to_owned(), None, cancelled), ("y".to_owned(), None, cancelled)];
    runs.history.record(&EndedRun { of: on(&feature), ..ended(&run(99)) }, rows.into_iter()).unwrap();
    assert_eq!(
        (runs.last(on(&feature), "x"), runs.last(on(&feature), "y")),
        (Some(LastVerdict::Failed), Some(LastVerdict::NotGood))
    );
}

#[test]
fn discoveries_are_the_branchs_and_then_those_below() {
    let (_directory, history) = history();
    let (feature, on_top) = (branch("feature", None), branch("on-top", Some("feature")));
    let discovered = |n| Digest([n; 32]);
    let record = |n: u8, of: Lineage, tests: u32| {
        let number = run(n.into());
        let rows = (0..tests).map(|test| passed(&format!("t{test}"), 10));
        let ended = EndedRun { of, discovered: Some(discovered(n)), ..ended(&number) };
        history.record(&ended, rows).unwrap();
    };
    record(1, TRUNK, 4);
    record(2, TRUNK, 5);
    record(3, on(&feature), 6);
    record(4, TRUNK, 7);
    let last = |of| (history.last_manifest_len(of, &[]).unwrap(), history.last_discovered(of, &[]).unwrap());
    assert_eq!(last(TRUNK), (Some(7), vec![discovered(4), discovered(2)]));
    assert_eq!(last(on(&feature)), (Some(6), vec![discovered(3), discovered(4)]));
    assert_eq!(last(on(&on_top)), (Some(6), vec![discovered(3), discovered(4)]));
    assert_eq!(history.not_passed(on(&feature)).unwrap(), None);
}

#[test]
fn dead_branches_are_forgotten_and_their_runs_make_nothing_forgotten() {
    let mut runs = Runs::new();
    runs.record(TRUNK, &[("seldom", MICROS, Verdict::Failed)]);
    let names: Vec<String> = (0..250).map(|n| format!("b{n}")).collect();
    for name in &names {
        runs.record(
            on(&branch(name, None)),
            &[("new", MICROS, Verdict::Passed), ("x", MICROS, Verdict::Passed)],
        );
    }
    let forgotten = names.iter().filter(|name| runs.kept(name) == 0).count();
    assert!((40..=50).contains(&forgotten) && runs.kept(&names[249]) == 1, "{forgotten}");
    assert_eq!(runs.kept("b0"), 0);
    assert_eq!(runs.last(TRUNK, "seldom"), Some(LastVerdict::Failed));
    assert_eq!(runs.history.find("p", "new", 9).unwrap().ids, ["new"], "once, however many branches have it");
    assert_eq!(runs.history.timing("p", "new").unwrap().unwrap().runs, 1);
    let health = runs.history.health(on(&branch("b249", None)), 0).unwrap();
    assert_eq!((health.known, runs.history.health(TRUNK, 0).unwrap().known), (3, 2));
}

#[test]
fn setups_and_how_predictions_came_true_are_the_branchs_and_then_those_below() {
    let (_directory, history) = history();
    let feature = branch("feature", None);
    let bundles = [(0..9).collect::<Vec<_>>()];
    let mut recorded = 0;
    let mut record = |of: Lineage, setup: u64, micros: u64, times: u32| {
        for _ in 0..times {
            recorded += 1;
            let number = run(recorded);
            let setups = [("a.py", 8_000_000), ("b.py", setup)].map(|(file, micros)| crate::Excess {
                place: 0,
                scopes: vec![file.to_owned()],
                micros,
            });
            let ended = EndedRun { of, bundles: &bundles, setups: &setups, ..ended(&number) };
            history.record(&ended, (0..9).map(|n| passed(&format!("t{n}"), micros))).unwrap();
        }
    };
    let setups = |of| {
        let setups = history.load(of).unwrap().setups;
        [setups.micros("a.py"), setups.micros("b.py")]
    };
    record(TRUNK, 2_000_000, MICROS, 5);
    record(on(&feature), 2_000_100, MICROS, 1);
    let kept = || {
        let count = "SELECT count(*) FROM setups WHERE branch = 'feature'";
        history.connection().query_row(count, [], |row| row.get::<_, u32>(0)).unwrap()
    };
    assert_eq!((kept(), setups(on(&feature))), (0, [8_000_000, 2_000_000]), "that is as on the main branch");
    let before = history.load(TRUNK).unwrap().calibration;
    record(on(&feature), 20_000_000, MICROS * 2, 9);
    assert_eq!((kept(), setups(TRUNK)), (1, [8_000_000, 2_000_000]));
    assert!(setups(on(&feature))[1] > 15_000_000, "{:?}", setups(on(&feature)));
    assert_eq!(history.load(TRUNK).unwrap().calibration, before);
    assert!(history.load(on(&feature)).unwrap().calibration.bundles > before.bundles);
    // With the branch what it has learned is forgotten.
    for n in 0..210 {
        record(on(&branch(&format!("b{n}"), None)), 90_000_000, MICROS, 1);
    }
    assert_eq!(kept(), 0);
}
