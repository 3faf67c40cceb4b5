//! Writing documents into tables: each in its row, unless a newer one is there.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use crate::index::document::{
    AttemptBody, Body, BundleBody, Document, Failure, Of, ResultBody, RunBody, TimingsBody,
};

/// Writes all of them or none, and keeps at most so many results.
pub fn write(connection: &mut Connection, documents: &[Document], most_results: u64) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut numbers = HashMap::new();
    let mut has_ended = false;
    for Document { of, version, body } in documents {
        if let Body::Timings(timings) = body {
            write_timings(&transaction, &of.project, *version, timings)?;
            continue;
        }
        let run = match numbers.get(&of.key()) {
            Some(number) => *number,
            None => {
                let number = run_number(&transaction, of)?;
                numbers.insert(of.key(), number);
                number
            }
        };
        match body {
            Body::Run(body) => {
                has_ended |= body.verdict.is_some();
                write_run(&transaction, run, *version, body)?;
            }
            Body::Bundle(body) => write_bundle(&transaction, run, *version, body)?,
            Body::Attempt(body) => write_attempt(&transaction, run, *version, body)?,
            Body::Result(body) => write_result(&transaction, (run, &of.project), *version, body)?,
            Body::Timings(_) => {}
        }
    }
    if has_ended {
        forget(&transaction, most_results)?;
    }
    transaction.commit()
}

/// The number of a run, which may be new here.
fn run_number(transaction: &Transaction, of: &Of) -> rusqlite::Result<i64> {
    let insert = "INSERT OR IGNORE INTO indexed_runs (key, version, project, run, submitted_at, at)
        VALUES (?1, 0, ?2, ?3, ?4, ?5)";
    let key = of.key();
    transaction.prepare_cached(insert)?.execute(params![
        key,
        of.project,
        of.run.as_str(),
        of.submitted_at,
        of.at
    ])?;
    let select = "SELECT number FROM indexed_runs WHERE key = ?1";
    transaction.prepare_cached(select)?.query_row([key], |row| row.get(0))
}

fn write_run(transaction: &Transaction, run: i64, version: u64, body: &RunBody) -> rusqlite::Result<()> {
    let RunBody { owner, rev, revision, rerun_of, tests, verdict, ended_at, exit_code, suite_errors, counts } =
        body;
    let update = "UPDATE indexed_runs SET version = ?2, owner = ?3, rev = ?4, revision = ?5, rerun_of = ?6,
        tests = ?7, verdict = ?8, exit_code = ?9, suite_errors = ?10, total = ?11, passed = ?12, failed = ?13,
        skipped = ?14, flaky = ?15, quarantined = ?16, not_executed = ?17, ended_at = ?18 WHERE number = ?1 AND version <= ?2";
    let rerun_of = rerun_of.as_ref().map(|run| run.as_str());
    transaction.execute(
        update,
        params![
            run,
            version,
            owner,
            rev,
            revision,
            rerun_of,
            tests,
            verdict,
            exit_code,
            suite_errors,
            counts.total,
            counts.passed,
            counts.failed,
            counts.skipped,
            counts.flaky,
            counts.quarantined,
            counts.not_executed,
            ended_at,
        ],
    )?;
    Ok(())
}

fn write_bundle(
    transaction: &Transaction,
    run: i64,
    version: u64,
    body: &BundleBody,
) -> rusqlite::Result<()> {
    let BundleBody { bundle, tests, predicted, anew } = body;
    let upsert = "INSERT INTO indexed_bundles VALUES (?1, ?2, ?3, ?4, ?5, ?6)
        ON CONFLICT DO UPDATE SET version = excluded.version, tests = excluded.tests,
            predicted = excluded.predicted, anew = excluded.anew WHERE excluded.version >= version";
    let mut statement = transaction.prepare_cached(upsert)?;
    statement.execute(params![run, bundle.0, version, tests, predicted, anew])?;
    Ok(())
}

fn write_attempt(
    transaction: &Transaction,
    run: i64,
    version: u64,
    body: &AttemptBody,
) -> rusqlite::Result<()> {
    let AttemptBody { attempt, bundle, executor, slot, tests, left, end, lost } = body;
    let upsert = "INSERT INTO indexed_attempts VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
        ON CONFLICT DO UPDATE SET version = excluded.version, left = excluded.left, end = excluded.end,
            lost = excluded.lost WHERE excluded.version >= version";
    let bundle = bundle.map(|bundle| bundle.0);
    let mut statement = transaction.prepare_cached(upsert)?;
    let executor = executor.as_str();
    statement.execute(params![run, attempt.0, version, bundle, executor, slot.0, tests, left, end, lost])?;
    Ok(())
}

fn write_result(
    transaction: &Transaction,
    (run, project): (i64, &str),
    version: u64,
    body: &ResultBody,
) -> rusqlite::Result<()> {
    let test = test_number(transaction, project, &body.test)?;
    let upsert = "INSERT INTO indexed_results VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
        ON CONFLICT DO UPDATE SET version = excluded.version, test = excluded.test, verdict = excluded.verdict,
            why = excluded.why, results = excluded.results, failed = excluded.failed, micros = excluded.micros,
            executor = excluded.executor WHERE excluded.version >= version";
    let (position, executor) = (body.position.0, body.executor.as_ref().map(|executor| executor.as_str()));
    let written = transaction.prepare_cached(upsert)?.execute(params![
        run,
        position,
        version,
        test,
        body.verdict,
        body.why,
        body.results,
        body.failed,
        body.micros,
        executor
    ])?;
    match &body.failure {
        Some(failure) if written > 0 => write_failure(transaction, run, position, failure),
        _ => Ok(()),
    }
}

fn test_number(transaction: &Transaction, project: &str, test: &str) -> rusqlite::Result<i64> {
    let select = "SELECT number FROM indexed_tests WHERE project = ?1 AND test = ?2";
    let known =
        transaction.prepare_cached(select)?.query_row([project, test], |row| row.get(0)).optional()?;
    if let Some(number) = known {
        return Ok(number);
    }
    let insert = "INSERT INTO indexed_tests (project, test) VALUES (?1, ?2)";
    transaction.prepare_cached(insert)?.execute([project, test])?;
    Ok(transaction.last_insert_rowid())
}

fn write_failure(
    transaction: &Transaction,
    run: i64,
    position: u32,
    failure: &Failure,
) -> rusqlite::Result<()> {
    let Failure { message, location, stack, fingerprint, words } = failure;
    let upsert = "INSERT INTO indexed_failures (run, position, fingerprint, message, location, stack)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)
        ON CONFLICT (run, position) DO UPDATE SET fingerprint = excluded.fingerprint,
            message = excluded.message, location = excluded.location, stack = excluded.stack
        RETURNING number";
    let row = params![run, position, fingerprint, message, location, stack];
    let number: i64 = transaction.prepare_cached(upsert)?.query_row(row, |row| row.get(0))?;
    let replace = "INSERT OR REPLACE INTO indexed_words (rowid, words) VALUES (?1, ?2)";
    transaction.prepare_cached(replace)?.execute(params![number, words])?;
    Ok(())
}

fn write_timings(
    transaction: &Transaction,
    project: &str,
    version: u64,
    body: &TimingsBody,
) -> rusqlite::Result<()> {
    let learned = serde_json::to_vec(&body.learned).expect("timings are finite");
    let upsert = "INSERT INTO indexed_timings VALUES (?1, ?2, ?3, ?4)
        ON CONFLICT DO UPDATE SET version = excluded.version, learned = excluded.learned
        WHERE excluded.version >= version";
    transaction.prepare_cached(upsert)?.execute(params![project, body.part, version, learned])?;
    Ok(())
}

/// Forgets whole runs, the oldest first, down to so many results; never the newest run.
fn forget(transaction: &Transaction, most_results: u64) -> rusqlite::Result<()> {
    let select = "SELECT number FROM
        (SELECT number, sum(tests) OVER (ORDER BY at DESC, number DESC) AS upto, row_number()
            OVER (ORDER BY at DESC, number DESC) AS place FROM indexed_runs)
        WHERE upto > ?1 AND place > 1";
    let over: Vec<i64> = {
        let mut statement = transaction.prepare(select)?;
        let rows = statement.query_map([most_results], |row| row.get(0))?;
        rows.collect::<rusqlite::Result<_>>()?
    };
    forget_runs(transaction, &over)
}

/// Removes whole runs.
pub fn remove(connection: &mut Connection, runs: &[i64]) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    forget_runs(&transaction, runs)?;
    transaction.commit()
}

fn forget_runs(transaction: &Transaction, runs: &[i64]) -> rusqlite::Result<()> {
    for run in runs {
        for delete in [
            "DELETE FROM indexed_words WHERE rowid IN (SELECT number FROM indexed_failures WHERE run = ?1)",
            "DELETE FROM indexed_failures WHERE run = ?1",
            "DELETE FROM indexed_results WHERE run = ?1",
            "DELETE FROM indexed_bundles WHERE run = ?1",
            "DELETE FROM indexed_attempts WHERE run = ?1",
            "DELETE FROM indexed_runs WHERE number = ?1",
        ] {
            transaction.prepare_cached(delete)?.execute([run])?;
        }
    }
    if !runs.is_empty() {
        let unused = "DELETE FROM indexed_tests WHERE NOT EXISTS
            (SELECT 1 FROM indexed_results WHERE test = indexed_tests.number)";
        transaction.execute(unused, [])?;
    }
    Ok(())
}
