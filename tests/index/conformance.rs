//! What every backend does: each case is run against each of them.

use std::collections::HashSet;

use seagull_domain::{NotExecuted, Ranking, RunPlace, RunState, RunVerdict, TestIndex, Verdict};
use seagull_results::index::{Body, Learned, ResultsAsked, Window};

use super::story::{DAY, NOW, Story, executor, failed, passed};
use super::{Backend, block_on};

const WEEK: Window = Window { since: NOW - 7 * DAY + 1, until: NOW + 1 };

fn all() -> ResultsAsked {
    ResultsAsked { limit: 10_000, ..ResultsAsked::default() }
}

fn flaky(test: &str) -> super::story::Row<'_> {
    (test, Verdict::Flaky, Some(5), "at first")
}

async fn a_run_is_told_as_it_was(backend: Backend) {
    let none = Verdict::NotExecuted(NotExecuted::FailFast);
    let rows = [passed("a::x", 10), failed("a::y", "E: no"), ("b::z", none, None, ""), flaky("b::é\"'\\")];
    let story = Story::default().run("r1", 1, "v1", &rows).run("r2", 0, "v1", &rows[..1]);
    backend.tell(&story).await;
    let index = &backend.index;

    let runs = index.runs(Some("p"), None, 9).await.unwrap();
    assert_eq!(runs.iter().map(|run| run.run.as_str()).collect::<Vec<_>>(), ["r2", "r1"]);
    let first = &runs[1];
    let ended = RunState::Ended { verdict: RunVerdict::Failed, exit_code: 100, at: NOW + 1000 };
    assert_eq!(first.state, ended);
    assert_eq!((first.owner.as_str(), first.rev.as_str(), first.submitted_at), ("o", "v1", NOW - DAY - 5));
    let counts = first.counts;
    assert_eq!(
        (counts.total, counts.passed, counts.failed, counts.flaky, counts.not_executed),
        (4, 1, 1, 1, 1)
    );
    assert_eq!(index.runs(None, None, 1).await.unwrap().len(), 1);
    assert!(index.runs(Some("q"), None, 9).await.unwrap().is_empty());
    let after = |place: &RunPlace| {
        let place = place.clone();
        async move { index.runs(None, Some(&place), 9).await.unwrap() }
    };
    assert_eq!(after(&runs[0].place()).await, runs[1..], "page by page");
    let same_moment = RunPlace { run: "r3".parse().unwrap(), ..runs[0].place() };
    assert_eq!(after(&same_moment).await, runs);
    assert!(after(&runs[1].place()).await.is_empty());

    let results = index.results(&"r1".parse().unwrap(), &all()).await.unwrap().unwrap();
    let told: Vec<_> = results.iter().map(|result| (result.test.as_str(), result.verdict)).collect();
    let expected =
        [("a::x", Verdict::Passed), ("a::y", Verdict::Failed), ("b::z", none), ("b::é\"'\\", Verdict::Flaky)];
    assert_eq!(told, expected);
    assert_eq!((results[0].micros, &results[0].executor), (Some(10), &Some(executor())));
    assert_eq!((results[1].message.as_str(), results[1].failed), ("E: no", 1));
    assert_eq!((results[2].micros, &results[2].executor, results[2].results), (None, &None, 0));
    assert_eq!(index.results(&"none".parse().unwrap(), &all()).await.unwrap(), None);
}

async fn results_are_filtered_and_paged(backend: Backend) {
    let ids: Vec<String> = (0..120_000).map(|n| format!("tests/{}.py::t{n}", n % 7)).collect();
    let rows: Vec<_> =
        ids.iter().zip(0..).map(|(id, n)| if n % 5 == 0 { failed(id, "E") } else { passed(id, n) }).collect();
    backend.tell(&Story::default().run("large", 0, "v", &rows)).await;
    let run = "large".parse().unwrap();
    let mut after = None;
    let mut seen = 0;
    loop {
        let asked = ResultsAsked { after, ..all() };
        let page = backend.index.results(&run, &asked).await.unwrap().unwrap();
        for result in &page {
            assert_eq!((result.position, &result.test), (TestIndex(seen), &ids[seen as usize]));
            seen += 1;
        }
        let Some(last) = page.last() else { break };
        after = Some(last.position);
    }
    assert_eq!(seen as usize, ids.len());
    let asked = ResultsAsked {
        verdicts: vec!["failed".into(), "flaky".into()],
        prefix: "tests/3.py::".into(),
        after: Some(TestIndex(100)),
        limit: 3,
    };
    let some = backend.index.results(&run, &asked).await.unwrap().unwrap();
    let expected = (101..).filter(|n| n % 5 == 0 && n % 7 == 3).take(3).collect::<Vec<_>>();
    assert_eq!(some.iter().map(|result| result.position.0).collect::<Vec<_>>(), expected);
    assert!(some.iter().all(|result| result.verdict == Verdict::Failed));
}

async fn writing_again_changes_nothing_and_the_older_never_wins(backend: Backend) {
    let story = Story::default().run("r", 0, "v", &[passed("a", 1), failed("b", "E: first")]);
    backend.tell(&story).await;
    // As after a crash: all of it again, and in another order.
    backend.tell(&story).await;
    let backwards = Story { documents: story.documents.iter().rev().cloned().collect() };
    backend.tell(&backwards).await;
    let run = "r".parse().unwrap();
    let runs = backend.index.runs(None, None, 9).await.unwrap();
    assert_eq!((runs.len(), runs[0].counts.total), (1, 2));
    let results = backend.index.results(&run, &all()).await.unwrap().unwrap();
    assert_eq!(results.len(), 2);
    let groups = backend.index.search("p", "", WEEK, 9).await.unwrap();
    assert_eq!(groups.iter().map(|group| group.failures).sum::<u32>(), 1);

    // A newer word on the same test replaces the older, which then changes nothing any more.
    let mut newer = story.documents[3].clone();
    newer.version += 100;
    let Body::Result(body) = &mut newer.body else { panic!("{newer:?}") };
    body.failure.as_mut().unwrap().message = "E: second".into();
    backend.tell(&Story { documents: vec![newer] }).await;
    backend.tell(&story).await;
    let results = backend.index.results(&run, &all()).await.unwrap().unwrap();
    assert_eq!(results[1].message, "E: second");
    if let Some(server) = &backend.elastic {
        let counts = ["runs", "bundles", "attempts", "results"].map(|kind| server.count(kind));
        assert_eq!(counts, [1, 1, 1, 2]);
    }
}

async fn a_test_has_a_history(backend: Backend) {
    let mut story = Story::default();
    for n in 0..6 {
        let rows = [passed("other", 1), if n % 2 == 0 { passed("t", n) } else { failed("t", "E") }];
        let rows = if n == 4 { &rows[..1] } else { &rows[..] };
        story = story.run(&format!("r{n}"), n, "v", rows);
    }
    backend.tell(&story).await;
    let (past, searched) = backend.index.history("p", "t", 5).await.unwrap();
    assert_eq!(searched, 5);
    assert_eq!(past.iter().map(|past| past.run.as_str()).collect::<Vec<_>>(), ["r0", "r1", "r2", "r3"]);
    assert_eq!((past[1].verdict, past[1].results, past[1].failed), (Verdict::Failed, 1, 1));
    assert_eq!(
        (past[2].micros, &past[2].executor, past[2].submitted_at),
        (Some(2), &Some(executor()), NOW - 2 * DAY - 5)
    );
    assert_eq!(backend.index.history("p", "no such", 5).await.unwrap(), (Vec::new(), 5));
    assert_eq!(backend.index.history("q", "t", 5).await.unwrap(), (Vec::new(), 0));
}

async fn tests_are_ranked(backend: Backend) {
    let story = Story::default()
        .run(
            "old",
            9,
            "v0",
            &[passed("slow", 900), passed("slower", 10), failed("broken", "E"), passed("even", 7)],
        )
        .run(
            "r1",
            2,
            "v1",
            &[passed("slow", 900), passed("slower", 40), failed("broken", "E"), failed("twice", "E")],
        )
        .run(
            "r2",
            1,
            "v1",
            &[passed("slow", 902), passed("slower", 60), failed("broken", "E"), passed("twice", 1)],
        )
        .run("r3", 0, "v2", &[flaky("twice"), flaky("once"), failed("even", "E"), passed("broken", 3)])
        .run("r4", 0, "", &[failed("unknown", "E")])
        .run("r5", 0, "", &[passed("unknown", 1)]);
    backend.tell(&story).await;
    let ranked = async |ranking, limit| backend.index.ranked("p", ranking, WEEK, limit).await.unwrap();
    let counted = async |ranking| {
        let ranked = ranked(ranking, 9).await;
        ranked.into_iter().map(|ranked| (ranked.test, ranked.count, ranked.runs)).collect::<Vec<_>>()
    };
    let of = |rows: &[(&str, u32, u32)]| {
        rows.iter().map(|(test, count, runs)| ((*test).to_owned(), *count, *runs)).collect::<Vec<_>>()
    };
    let failing = of(&[("broken", 2, 3), ("even", 1, 1), ("twice", 1, 3), ("unknown", 1, 2)]);
    assert_eq!(counted(Ranking::Failing).await, failing);
    // On v1 it failed in one run and passed in another; without a revision nobody knows.
    assert_eq!(counted(Ranking::Flaky).await, of(&[("twice", 2, 3), ("once", 1, 1)]));
    let slowest = ranked(Ranking::Slowest, 2).await;
    let told: Vec<_> = slowest.iter().map(|r| (r.test.as_str(), r.micros, r.before, r.count)).collect();
    assert_eq!(told, [("slow", Some(901), Some(900), 0), ("slower", Some(50), Some(10), 0)]);
    let slower = ranked(Ranking::Slower, 9).await;
    let told: Vec<_> = slower.iter().map(|r| (r.test.as_str(), r.micros, r.before)).collect();
    assert_eq!(told, [("slower", Some(50), Some(10)), ("slow", Some(901), Some(900))]);
    assert!(backend.index.ranked("q", Ranking::Failing, WEEK, 9).await.unwrap().is_empty());
}

async fn failures_are_searched_and_grouped(backend: Backend) {
    let timeout = "TimeoutError: no answer after 3001 ms from db_1";
    let later = "TimeoutError: no answer after 17 ms from db_1";
    let story = Story::default()
        .run("old", 30, "v", &[failed("a", timeout)])
        .run("r1", 1, "v", &[failed("a", timeout), failed("b", "KeyError: 'NULL* OR é'"), passed("c", 1)])
        .run("r2", 0, "v", &[failed("a", later), failed("c", later)]);
    backend.tell(&story).await;
    let search = async |text: &str| {
        let groups = backend.index.search("p", text, WEEK, 9).await.unwrap();
        groups.into_iter().map(|group| (group.failures, group.tests, group.message)).collect::<Vec<_>>()
    };
    // Other frames, other fingerprints: of the same test it is one.
    let timeouts = search("timeouterror").await;
    assert_eq!(timeouts.len(), 2);
    assert_eq!(timeouts[0], (2, 1, later.to_owned()), "what is shown is of the newest");
    assert_eq!(search("answer TIMEOUTERROR, db").await, timeouts);
    let key = [(1, 1, "KeyError: 'NULL* OR é'".to_owned())];
    assert_eq!(search("null* OR É").await, key);
    assert_eq!(search("keyerror").await, key);
    assert_eq!(search("timeout").await, [], "words are whole");
    assert_eq!(search("timeouterror keyerror").await, []);
    assert_eq!(search("").await.len(), 3, "all of them");
    let newest = &backend.index.search("p", "timeouterror", WEEK, 1).await.unwrap()[0];
    assert_eq!((newest.test.as_str(), newest.run.as_str(), newest.at), ("a", "r2", NOW));
    assert_eq!(newest.location, "tests/a.py:7");
    assert!(backend.index.search("q", "", WEEK, 9).await.unwrap().is_empty());
}

async fn timings_come_in_one_pass(backend: Backend) {
    let learned = |n: u32| Learned(format!("t{n}"), n as f32 / 3.0, 0.1, n, -1);
    let story = Story::default().timings(2, (0..5000).map(learned).collect());
    backend.tell(&story).await;
    // What was learned before comes late, and changes nothing.
    backend.tell(&Story::default().timings(1, vec![Learned("t7".into(), 9.0, 9.0, 9, 9)])).await;
    let mut all = Vec::new();
    let count = backend.index.timings("p", &mut |learned| all.push(learned)).await.unwrap();
    assert_eq!((count, all.len()), (5000, 5000));
    all.sort_by_key(|learned| learned.3);
    assert!(all.iter().zip(0..).all(|(found, n)| *found == learned(n)));
    assert_eq!(backend.index.timings("q", &mut |_| panic!("there is none")).await.unwrap(), 0);
}

async fn what_is_old_is_forgotten(backend: Backend) {
    let rows = [failed("t", "TimeoutError")];
    let story =
        Story::default().run("old", 70, "v", &rows).run("kept", 70, "v", &rows).run("new", 0, "v", &rows);
    backend.tell(&story.timings(1, vec![Learned("t".into(), 1.0, 0.1, 3, -1)])).await;
    let index = &backend.index;
    let kept = HashSet::from(["kept".parse().unwrap()]);
    let forget = async |dry_run| {
        let gone = index.forget(NOW - 35 * DAY, &kept, dry_run).await.unwrap();
        backend.refresh();
        let runs = index.runs(None, None, 9).await.unwrap();
        (gone, runs.into_iter().map(|run| run.run.to_string()).collect::<Vec<_>>())
    };
    let (would, runs) = forget(true).await;
    assert!(!would.is_empty() && runs.len() == 3, "{would:?} {runs:?}");
    // Indices elsewhere go as a whole.
    let left = if backend.elastic.is_some() { &["new"][..] } else { &["new", "kept"] };
    assert_eq!(forget(false).await, (would, left.iter().map(|run| (*run).to_owned()).collect()));
    assert_eq!(index.results(&"old".parse().unwrap(), &all()).await.unwrap(), None);
    let all_time = Window { since: 0, ..WEEK };
    let failures = index.search("p", "timeouterror", all_time, 9).await.unwrap();
    assert_eq!(failures.iter().map(|group| group.failures).sum::<u32>() as usize, left.len());
    assert_eq!(index.timings("p", &mut |_| {}).await.unwrap(), 1);
    assert!(forget(false).await.0.is_empty());
}

async fn where_nothing_is_nothing_is_found(backend: Backend) {
    backend.index.prepare().await.unwrap();
    let index = &backend.index;
    assert!(index.runs(None, None, 9).await.unwrap().is_empty());
    assert_eq!(index.results(&"r".parse().unwrap(), &all()).await.unwrap(), None);
    assert_eq!(index.history("p", "t", 9).await.unwrap(), (Vec::new(), 0));
    for ranking in [Ranking::Failing, Ranking::Flaky, Ranking::Slowest, Ranking::Slower] {
        assert!(index.ranked("p", ranking, WEEK, 9).await.unwrap().is_empty());
    }
    assert!(index.search("p", "x", WEEK, 9).await.unwrap().is_empty());
    assert_eq!(index.timings("p", &mut |_| {}).await.unwrap(), 0);
    assert!(index.forget(NOW, &HashSet::new(), false).await.unwrap().is_empty());
}

macro_rules! cases {
    ($($case:ident),+ $(,)?) => {
        mod sqlite {
            $(#[test]
            fn $case() {
                super::block_on(super::$case(super::Backend::sqlite().unwrap()));
            })+
        }

        mod elastic {
            $(#[test]
            fn $case() {
                let Some(backend) = super::Backend::elastic() else { return };
                super::block_on(super::$case(backend));
            })+
        }
    };
}

cases!(
    a_run_is_told_as_it_was,
    results_are_filtered_and_paged,
    writing_again_changes_nothing_and_the_older_never_wins,
    a_test_has_a_history,
    tests_are_ranked,
    failures_are_searched_and_grouped,
    timings_come_in_one_pass,
    what_is_old_is_forgotten,
    where_nothing_is_nothing_is_found,
);
