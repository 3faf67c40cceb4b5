//! Bugs that the harness can be told to have, to show that the oracle would find them in the real thing. Each is in
//! the shell or the network around the cores, never in the cores.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// A verdict that was decided because a lease ran out never reaches the stream.
    VerdictDroppedAtLeaseExpiry,
    /// A report claims that everything asked back is given back, before the executor has done so.
    RetakenBeforeReportedGone,
    /// Effects are performed before their facts are durable.
    AcknowledgedBeforeDurable,
    /// An answer that was overtaken is passed off as the newest.
    StaleDesiredApplied,
    /// A report claims that the slower copy of a test is gone, before it is.
    DecidedByTheFirstCopy,
    /// What is reported again is taken for the next batch.
    BatchCountedTwice,
    /// The last results in the journal are not read when a scheduler starts.
    FactNotReplayed,
    /// The scheduler does not notice that it stood still.
    PauseUnnoticed,
    /// One effect of the recovery is not performed.
    EffectLostAtRecovery,
    /// What was kept of an anticipated plan is not told of when that is confirmed.
    BufferedDroppedAtConfirmation,
    /// What runs of an anticipated plan goes on under another manifest with its tests' old indices.
    TestsNotMoved,
    /// The scheduler forgets that what waits is to run alone.
    SuspectMarkLost,
    /// The scheduler counts what a test was lost with among others as if it had been alone.
    CondemnedForOneDeath,
    /// Half of a bundle that was cut in two is lost.
    HalfDropped,
    /// A cordon has no end.
    CordonNeverLifted,
    /// A cordon is forgotten as soon as it was told.
    CordonForgotten,
    /// The second half of a *together* relation is planned as a bundle of its own.
    RelationCut,
    /// A run that waits for its client's word is told that there is nothing to say.
    SilenceTakenForConsent,
}
