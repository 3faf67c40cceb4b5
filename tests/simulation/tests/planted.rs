//! The simulation finds bugs: each of these is planted in its harness, and a history goes wrong by it.

use seagull_simulation::{Census, Plant, history, mortal};

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
    is_found_within(400, Plant::DecidedByTheFirstCopy, "decided while it still runs");
}

#[test]
fn acknowledged_before_durable() {
    is_found_within(200, Plant::AcknowledgedBeforeDurable, "its outcome was never told");
}

#[test]
fn a_cancellation_heard_before_it_is_durable() {
    is_found_within(100, Plant::CancellationHeardAtOnce, "its cancellation was acknowledged");
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
fn the_rest_of_a_relation_that_goes_to_another_slot() {
    is_found_within(100, Plant::RelationCut, "moved from attempt");
}

#[test]
fn sandboxes_of_another_environment_than_the_tests_need() {
    is_found_within(20, Plant::EnvironmentIgnored, "ran in environment 0, and needs");
}

#[test]
fn a_batch_that_is_counted_twice() {
    is_found_within(100, Plant::BatchCountedTwice, "told twice");
}

#[test]
fn what_a_newer_report_has_overtaken_counted_twice() {
    is_found_within(200, Plant::OvertakenCountedTwice, "told twice");
}

#[test]
fn a_wake_up_that_is_lost() {
    is_found_within(100, Plant::WakeUpLost, "hangs");
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
fn an_executor_that_waits_for_the_disk_taken_for_silent() {
    is_found_within(200, Plant::UnansweredTakenForSilent, "is given up");
}

#[test]
fn a_standstill_of_an_executor_that_it_does_not_notice() {
    is_found_within(200, Plant::StandstillUnnoticed, "Always(Passed) with");
}

#[test]
fn silence_taken_for_consent() {
    is_found_within(100, Plant::SilenceTakenForConsent, "ends with what nobody said");
}

#[test]
fn a_suspect_that_is_no_more_known_to_be_one() {
    is_found_within(200, Plant::SuspectMarkLost, "suspect");
}

#[test]
fn a_test_condemned_for_one_death_alone() {
    is_found_within(200, Plant::CondemnedForOneDeath, "given alone to 1");
}

/// A fleet that loses executors all the time is what shows it.
#[test]
fn losses_of_executors_forgotten() {
    let failure = |seed| mortal(seed, Some(Plant::LossesForgotten)).err();
    let found = (0..100).filter_map(failure).find(|failure| failure.message.contains("which may be chance"));
    assert!(found.is_some(), "it was not found in 100 histories");
}

#[test]
fn half_of_a_bundle_that_was_cut_dropped() {
    is_found_within(100, Plant::HalfDropped, "nobody owes test");
}

#[test]
fn attempts_that_were_red_forgotten() {
    is_found_within(1000, Plant::RedForgotten, "of its were red");
}

#[test]
fn a_cordon_that_is_never_lifted() {
    let mut census = Census::default();
    for seed in 0..60 {
        let history = history(seed, Some(Plant::CordonNeverLifted), false);
        census.add(&history.unwrap_or_else(|failure| panic!("{failure}")));
    }
    let missed = census.rare(60 / 10);
    assert!(missed.contains(&"fact: executor back"), "{missed:?}");
    assert!(!missed.contains(&"fact: executor cordoned"), "{missed:?}");
}

#[test]
fn a_cordon_that_is_forgotten() {
    is_found_within(200, Plant::CordonForgotten, "is cordoned twice");
}

#[test]
fn an_effect_lost_at_recovery() {
    is_found_within(100, Plant::EffectLostAtRecovery, "hangs");
}
