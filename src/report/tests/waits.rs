//! What is told of what waits: where a test is that has no verdict, and why a run goes on.

use seagull_domain::{AttemptId, Silent, SlotNumber, Standing, Whereabouts};

use super::around::{explained, explained_tally, story, tally};
use super::script::{self, Script, executor};

#[test]
fn a_test_waits_somewhere() {
    let id: Vec<String> = script::manifest().ids().collect();
    let (attempt, slot) = (AttemptId(14), SlotNumber(3));
    let at = || executor("e-3");
    let running = || Whereabouts::Running { attempt, executor: at(), slot, millis: 5000 };
    let queued = |behind, slots, avoided, runs| Whereabouts::Queued { behind, slots, avoided, runs };
    let table = [
        (4, running(), "it is running on e-3, slot 3, attempt 14, for at least 5.0 s\n"),
        (
            6,
            running(),
            "it was in flight when e-2 was lost; it is running on e-3, slot 3, attempt 14, for at least 5.0 s\n",
        ),
        (
            4,
            Whereabouts::Next { attempt, executor: at(), slot, behind: 0 },
            "it is next on e-3, slot 3, attempt 14\n",
        ),
        (
            4,
            Whereabouts::Next { attempt, executor: at(), slot, behind: 2 },
            "it waits on e-3, slot 3, attempt 14, behind 2 tests\n",
        ),
        (4, queued(0, 1, 0, 0), "it waits for a slot: it is the next of its run; 1 slot is there\n"),
        (
            4,
            queued(3, 8, 0, 1),
            "it waits for a slot: it is behind 3 bundles of its run; 8 slots are there, where other runs have \
             something too\n",
        ),
        (
            2,
            queued(0, 4, 2, 0),
            "it failed, and is to run again elsewhere; it waits for a slot: it is the next of its run; 4 slots are \
             there; it avoids 2 more where it was before\n",
        ),
        (
            2,
            queued(0, 0, 0, 0),
            "it failed, and is to run again elsewhere; no executor is there that takes it and is large enough\n",
        ),
    ];
    for (test, whereabouts, because) in table {
        let mut story = story(&script::first_half(), &id[test]);
        story.whereabouts = Some(whereabouts);
        let text = explained(&story);
        assert!(text.contains(&format!("    because {because}")), "{because}: {text}");
    }
}

#[test]
fn a_test_on_an_executor_that_is_silent_says_so() {
    let mut story = story(&script::first_half(), "test_slow");
    let (executor, slot) = (executor("e-2"), SlotNumber(1));
    let silent = Silent { executor: executor.clone(), millis: 12_000, left_ms: 18_000 };
    story.whereabouts = Some(Whereabouts::Running { attempt: AttemptId(14), executor, slot, millis: 20_000 });
    story.silent = Some(silent);
    let text = explained(&story);
    let said = "for at least 20 s; e-2 was not heard of for 12 s: if that goes on it is lost in 18 s\n";
    assert!(text.contains(said), "{text}");
}

#[test]
fn where_a_test_is_in_a_run_of_another_process_only_that_knows() {
    let id: Vec<String> = script::manifest().ids().collect();
    let mut story = story(&script::first_half(), &id[4]);
    story.is_of_another_process = true;
    let text = explained(&story);
    assert!(text.contains("under way in another process here, whose screen shows what runs\n"), "{text}");
}

#[test]
fn a_run_without_executors_says_so() {
    let told = |script: &Script, slots| {
        let mut tally = tally(script);
        tally.slots_there = slots;
        explained_tally(&tally)
    };
    let (half, begun) = (script::first_half(), vec![script::first_half().remove(0)]);
    let mut decided = script::green();
    decided.pop();
    let mut restarted = tally(&half);
    restarted.slots_there = Some(0);
    restarted.standing = Some(Standing { next: 3, ..Standing::default() });
    let text = explained_tally(&restarted);
    assert!(
        text.contains("it has not ended; the executors that have its tests are not heard of\n"),
        "{text}"
    );
    for (script, slots, because) in [
        (&half, Some(0), "it has not ended, and no executor is there any more\n"),
        (&half, Some(4), "it has not ended; 4 slots are there\n"),
        (&half, None, "it has not ended\n"),
        (
            &decided,
            Some(4),
            "it has not ended: every test has its verdict, and sessions of it are still torn down\n",
        ),
        (&begun, Some(0), "it has not begun: no executor is there\n"),
        (&begun, Some(1), "it has not begun: no executor has taken it yet\n"),
    ] {
        let text = told(script, slots);
        assert!(text.contains(&format!("    because {because}")), "{because}: {text}");
    }
}
