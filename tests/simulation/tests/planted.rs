//! The simulation finds bugs: each of these is planted in its harness, and a history goes wrong by it.

use seagull_simulation::{Plant, history};

/// Plays histories, which go right without the plant, until one goes wrong in the way that the bug should show in.
fn is_found_within(histories: u64, plant: Plant, symptom: &str) {
    let mut others = Vec::new();
    for seed in 0..histories {
        match history(seed, Some(plant), false) {
            Err(failure) if failure.message.contains(symptom) => return,
            Err(failure) => others.push(failure.to_string()),
            Ok(_) => {}
        }
    }
    panic!("{plant:?} was not found in {histories} histories, but:\n{}", others.join("\n"));
}

#[test]
fn a_verdict_dropped_at_lease_expiry() {
    is_found_within(100, Plant::VerdictDroppedAtLeaseExpiry, "has no verdict");
}

#[test]
fn a_retaken_test_dispatched_before_it_is_reported_gone() {
    is_found_within(100, Plant::RetakenBeforeReportedGone, "executed again");
}

#[test]
fn a_test_decided_by_its_first_copy_while_the_other_runs() {
    is_found_within(100, Plant::DecidedByTheFirstCopy, "decided while it still runs");
}

#[test]
fn acknowledged_before_durable() {
    is_found_within(200, Plant::AcknowledgedBeforeDurable, "its outcome was never told");
}

#[test]
fn stale_desired_state_applied() {
    is_found_within(100, Plant::StaleDesiredApplied, "interrupted for no reason");
}

#[test]
fn buffered_results_dropped_at_confirmation() {
    is_found_within(100, Plant::BufferedDroppedAtConfirmation, "its results are []");
}

#[test]
fn tests_that_keep_their_indices_in_another_manifest() {
    is_found_within(100, Plant::TestsNotMoved, "told but never happened");
}

#[test]
fn a_batch_that_is_counted_twice() {
    is_found_within(100, Plant::BatchCountedTwice, "told twice");
}

#[test]
fn a_journal_entry_that_is_not_replayed() {
    is_found_within(200, Plant::FactNotReplayed, "hangs");
}

#[test]
fn a_standstill_of_the_scheduler_that_it_does_not_notice() {
    is_found_within(200, Plant::PauseUnnoticed, "is given up");
}

#[test]
fn an_effect_lost_at_recovery() {
    is_found_within(100, Plant::EffectLostAtRecovery, "hangs");
}
