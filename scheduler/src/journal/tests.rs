//! What the journal keeps: through other processes, torn tails, full disks, and older releases.

use std::os::unix::fs::PermissionsExt;

use seagull_domain::{Digest, Generation, NotExecuted, PlanSummary, Record, SuiteError, TestIndex, Verdict};

use super::*;
use crate::service::tests::spec;

fn fact(run: &str) -> Fact {
    Fact { run: run.parse().unwrap(), what: What::Stopping { reason: NotExecuted::Cancelled } }
}

#[test]
fn nobody_else_may_read_a_journal() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(directory.path(), Settings::default()).unwrap();
    journal.append(&[(Seq(1), fact("r"))]).unwrap();
    let files = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path());
    let sqlite: Vec<_> = files.filter(|path| path.to_string_lossy().contains("sqlite")).collect();
    assert!(sqlite.len() > 1, "{sqlite:?}");
    for path in sqlite {
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o077, 0, "{}", path.display());
    }
}

#[test]
fn a_second_scheduler_is_refused_and_epochs_rise() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, state) = Journal::open(directory.path(), Settings::default()).unwrap();
    let first = state.epoch;
    let second = Journal::open(directory.path(), Settings::default());
    assert!(matches!(second, Err(Error::InUse { .. })));
    drop(journal);
    let (journal, state) = Journal::open(directory.path(), Settings::default()).unwrap();
    assert!(state.epoch > first);
    let elsewhere = tempfile::tempdir().unwrap();
    let (_other, other) = Journal::open(elsewhere.path(), Settings::default()).unwrap();
    assert!(other.epoch >= first, "executors of the first listen to a scheduler that has lost its state");
    drop(journal);
}

#[test]
fn who_comes_before_the_last_one_is_gone_waits_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let first = lock(directory.path()).unwrap();
    let (sender, opened) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| sender.send(Journal::open(directory.path(), Settings::default())).unwrap());
        assert!(opened.recv_timeout(Duration::from_millis(100)).is_err(), "it is refused, or lets in two");
        drop(first);
        assert!(opened.recv().unwrap().is_ok());
    });
}

#[test]
fn readers_see_what_is_durable_of_their_run() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(directory.path(), Settings::default()).unwrap();
    let reader = journal.reader().unwrap();
    let facts = [(Seq(1), fact("a")), (Seq(2), fact("b")), (Seq(3), fact("a"))];
    journal.append(&facts).unwrap();
    let run = "a".parse().unwrap();
    let seqs = |after| {
        reader.read(&run, Seq(after), 10).unwrap().into_iter().map(|(seq, _)| seq.0).collect::<Vec<_>>()
    };
    assert_eq!(seqs(0), [1, 3]);
    assert_eq!(seqs(1), [3]);
    let record = Record::SuiteError(SuiteError { title: "t".into(), message: "m".into(), text: None });
    assert!(serde_json::to_string(&record).unwrap().contains("suite_error"));
}

#[test]
fn another_process_reads_along_and_sees_whether_it_is_written() {
    let directory = tempfile::tempdir().unwrap();
    assert!(Reader::of_another(directory.path()).unwrap().is_none());
    assert!(!is_open(directory.path()) && !exists(directory.path()), "looking makes nothing");
    let (mut journal, _) = Journal::open(directory.path(), Settings::default()).unwrap();
    let reader = Reader::of_another(directory.path()).unwrap().unwrap();
    let read = || reader.read(&"a".parse().unwrap(), Seq(0), 9).unwrap().len();
    assert_eq!(read(), 0);
    journal.append(&[(Seq(1), fact("a"))]).unwrap();
    assert_eq!((read(), is_open(directory.path())), (1, true));
    drop(journal);
    assert_eq!((read(), is_open(directory.path())), (1, false));
}

#[test]
fn who_looks_with_other_programs_leaves_the_log_where_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(directory.path(), Settings::default()).unwrap();
    let reader = journal.reader().unwrap();
    journal.append(&[submitted(1)]).unwrap();
    let look = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('SELECT count(*) FROM facts').fetchone()[0])";
    let database = directory.path().join(DATABASE);
    let looked = std::process::Command::new("python3").args(["-c", look]).arg(&database).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&looked.stdout), "1\n", "{looked:?}");
    journal.append(&[submitted(2)]).unwrap();
    // As after a crash: what is on the disk is all there is.
    let copy = tempfile::tempdir().unwrap();
    for file in FILES {
        std::fs::copy(directory.path().join(file), copy.path().join(file)).unwrap();
    }
    assert_eq!(Journal::open(copy.path(), Settings::default()).unwrap().1.seq, Seq(2));
    drop((journal, reader));
}

#[test]
fn an_id_that_is_used_again_is_read_from_its_newest_run_on() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(directory.path(), Settings::default()).unwrap();
    let reader = journal.reader().unwrap();
    let seqs = |after| {
        let facts = reader.read(&"a".parse().unwrap(), Seq(after), 9).unwrap();
        facts.into_iter().map(|(seq, _)| seq.0).collect::<Vec<_>>()
    };
    let submitted = || Fact { run: "a".parse().unwrap(), what: What::Submitted(Box::new(spec("a"))) };
    journal.append(&[(Seq(1), submitted()), (Seq(2), fact("a"))]).unwrap();
    assert_eq!((seqs(0), seqs(1)), (vec![1, 2], vec![2]));
    journal.append(&[(Seq(3), submitted()), (Seq(4), fact("a"))]).unwrap();
    assert_eq!((seqs(0), seqs(1), seqs(3)), (vec![3, 4], vec![3, 4], vec![4]));
    journal.snapshot(Seq(3), "{}", &[]).unwrap();
    assert_eq!(seqs(0), [4]);
}

#[test]
fn a_journal_that_is_removed_serves_who_has_it_open() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(directory.path(), Settings::default()).unwrap();
    let reader = journal.reader().unwrap();
    journal.append(&[(Seq(1), fact("a"))]).unwrap();
    assert!(exists(directory.path()));
    remove(directory.path()).unwrap();
    journal.append(&[(Seq(2), fact("a"))]).unwrap();
    assert_eq!(reader.read(&"a".parse().unwrap(), Seq(0), 9).unwrap().len(), 2);
    assert!(!exists(directory.path()));
    assert!(lock(directory.path()).is_err());
    drop((journal, reader));
    let (_, state) = Journal::open(directory.path(), Settings::default()).unwrap();
    assert_eq!(state.seq, Seq(0));
}

fn submitted(number: u64) -> (Seq, Fact) {
    let mut spec = spec(&format!("r{number}"));
    spec.arguments = vec!["x".repeat(5000)];
    (Seq(number), Fact { run: spec.id.clone(), what: What::Submitted(Box::new(spec)) })
}

/// Of what a crash has left: up to which fact it is read, and that it goes on from there.
fn recovered(database: &[u8], log: &[u8]) -> u64 {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(DATABASE), database).unwrap();
    std::fs::write(directory.path().join(FILES[1]), log).unwrap();
    let (mut journal, state) = Journal::open(directory.path(), Settings::default()).unwrap();
    assert_eq!(state.runs.len() as u64, state.seq.0, "all facts up to the last");
    journal.append(&[submitted(state.seq.0 + 1)]).unwrap();
    state.seq.0
}

#[test]
fn a_torn_tail_is_as_if_it_had_not_been_written() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(directory.path(), Settings::default()).unwrap();
    for number in 1..=9 {
        journal.append(&[submitted(number)]).unwrap();
    }
    let [database, log] =
        [FILES[0], FILES[1]].map(|name| std::fs::read(directory.path().join(name)).unwrap());
    let ends = (0..=log.len()).step_by(999).chain([log.len() - 1, log.len()]);
    let torn: Vec<_> = ends.map(|end| recovered(&database, &log[..end])).collect();
    assert!(torn.is_sorted() && torn.ends_with(&[8, 9]), "{torn:?}");
    assert_eq!(torn.iter().collect::<std::collections::BTreeSet<_>>().len(), 10, "{torn:?}");
    let garbled = (log.len() / 2..log.len()).step_by(999).map(|at| {
        let mut log = log.clone();
        log[at] ^= 0x55;
        recovered(&database, &log)
    });
    let garbled: Vec<_> = garbled.collect();
    assert!(garbled.is_sorted() && garbled[0] > 0 && garbled.ends_with(&[8]), "{garbled:?}");
}

#[test]
fn a_full_disk_is_told_and_what_was_durable_stays() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(directory.path(), Settings::default()).unwrap();
    journal.connection.query_row("PRAGMA max_page_count = 40", [], |_| Ok(())).unwrap();
    let (full, error) =
        (1..).find_map(|number| Some((number, journal.append(&[submitted(number)]).err()?))).unwrap();
    let told = error.to_string();
    assert!(
        error.is_full() && told.contains("database or disk is full\nhint: make room on the disk"),
        "{told}"
    );
    assert!(journal.append(&[submitted(full)]).is_err_and(|error| error.is_full()), "it can be tried again");
    drop(journal);
    let (_, state) = Journal::open(directory.path(), Settings::default()).unwrap();
    assert_eq!((state.seq.0, state.runs.len() as u64), (full - 1, full - 1));
}

#[test]
fn a_journal_of_a_newer_format_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(directory.path(), Settings::default()).unwrap();
    journal.connection.execute("UPDATE meta SET value = ?1 WHERE key = 'format'", [FORMAT + 1]).unwrap();
    drop(journal);
    for _ in 0..2 {
        let error = Journal::open(directory.path(), Settings::default()).unwrap_err().to_string();
        assert!(
            error.contains(&format!("has format {}", FORMAT + 1))
                && error.contains("\nhint: use a newer seagull"),
            "{error}"
        );
    }
}

#[test]
fn what_a_journal_that_was_half_removed_left_means_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(directory.path(), Settings::default()).unwrap();
    journal.append(&[(Seq(1), fact("a"))]).unwrap();
    // As a crash leaves it: the log still has the facts.
    let log = std::fs::read(directory.path().join(FILES[1])).unwrap();
    drop(journal);
    std::fs::remove_file(directory.path().join(DATABASE)).unwrap();
    std::fs::write(directory.path().join(FILES[1]), log).unwrap();
    let (_, state) = Journal::open(directory.path(), Settings::default()).unwrap();
    assert_eq!(state.seq, Seq(0));
}

#[test]
fn a_snapshot_has_the_tests_in_columns_or_as_an_older_release_wrote_them() {
    let run: RunId = "r".parse().unwrap();
    let plan = serde_json::json!({
        "manifest": Digest([1; 32]), "bundles": [[0, 1, 2]], "predicted_us": [7, 8, 9],
        "limits_ms": [5, 5, 6], "relations": [], "summary": PlanSummary::default(),
        "empty_by_definition": false,
    });
    let plan = serde_json::from_value(plan).unwrap();
    let mut state = State::new(Epoch(1), Settings::default());
    let facts = [
        What::Submitted(Box::new(spec("r"))),
        What::Planned { generation: Generation(1), plan },
        What::Decided { verdicts: vec![(TestIndex(1), Verdict::Passed)] },
    ];
    facts.into_iter().for_each(|what| state.apply(&Fact { run: run.clone(), what }));
    let mut body = serde_json::to_value(&state).unwrap();
    assert_eq!(body["runs"]["r"]["tests"]["limits_ms"], serde_json::json!([[2, 5], [1, 6]]));
    let read = |body: &serde_json::Value| serde_json::from_value::<State>(body.clone());
    assert_eq!(read(&body).unwrap().runs, state.runs);
    body["runs"]["r"]["tests"] = serde_json::to_value(&state.runs[&run].tests).unwrap();
    body["runs"]["r"]["tests"][0]["failed_in"] = serde_json::json!(2);
    assert_eq!(read(&body).unwrap().runs, state.runs);
    body["runs"]["r"]["tests"] = serde_json::json!({"predicted_us": [7], "limits_ms": [], "rest": []});
    assert!(read(&body).is_err(), "columns that end too soon");
}

#[test]
fn a_snapshot_drops_the_facts_of_archived_runs_only() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(directory.path(), Settings::default()).unwrap();
    journal.append(&[(Seq(1), fact("a")), (Seq(2), fact("b"))]).unwrap();
    let mut state = State::new(Epoch(1), Settings::default());
    state.seq = Seq(2);
    let body = serde_json::to_string(&state).unwrap();
    journal.snapshot(Seq(2), &body, &["b".parse().unwrap()]).unwrap();
    let reader = journal.reader().unwrap();
    assert!(reader.read(&"a".parse().unwrap(), Seq(0), 9).unwrap().is_empty());
    assert_eq!(reader.read(&"b".parse().unwrap(), Seq(0), 9).unwrap().len(), 1);
    drop((journal, reader));
    let (_, state) = Journal::open(directory.path(), Settings::default()).unwrap();
    assert_eq!(state.seq, Seq(2));
}
