//! The bounds that the `.proto` files state. Together they keep every message that respects them under
//! [`MESSAGE_BYTES`], or name the message whose sender has to see to it.

/// The longest message, encoded.
pub const MESSAGE_BYTES: usize = 1 << 20;
/// The longest piece of a blob or a log in one message.
pub const CHUNK_BYTES: usize = 256 << 10;
/// The largest blob.
pub const BLOB_BYTES: u64 = 8 << 30;
/// Where a log's last byte may be.
pub const LOG_BYTES: u64 = 1 << 40;
/// The longest encoded [`crate::v1::TestResult`]; the bounds of its fields see to it.
pub const RESULT_BYTES: usize = 4 << 10;
/// The longest encoded [`crate::v1::RunSpec`].
pub const SPEC_BYTES: usize = 512 << 10;

/// A word or a name for people.
pub const WORD_BYTES: usize = 256;
/// `file:line`.
pub const LOCATION_BYTES: usize = 512;
/// A sentence or a line.
pub const LINE_BYTES: usize = 3 << 10;
/// A framework's own words on why it cannot go on.
pub const REPORT_BYTES: usize = 16 << 10;
/// A path.
pub const PATH_BYTES: usize = 4096;
/// One argument or selection.
pub const ARGUMENT_BYTES: usize = 64 << 10;
/// An environment variable's name and value.
pub const VARIABLE_NAME_BYTES: usize = 1 << 10;
pub const VARIABLE_VALUE_BYTES: usize = 128 << 10;
/// A label's name; its value is bounded by [`WORD_BYTES`].
pub const LABEL_NAME_BYTES: usize = 128;

/// Tests of a manifest.
pub const TESTS: u32 = 2_000_000;
/// Slots of an executor.
pub const SLOTS: u32 = 4096;
/// Slot numbers of a run.
pub const SLOT_NUMBERS: u32 = 1_000_000;
/// Attempts or workers in a report or a desired state.
pub const ATTEMPTS: usize = 16_384;
/// Runs in a desired state.
pub const RUNS: usize = 4096;
/// Records of a batch: as many of the longest as one message holds with room for the rest of a report.
pub const BATCH_RECORDS: usize = 200;
/// Entries of a bundle's contents, and tests an attempt may keep.
pub const BUNDLE_ENTRIES: usize = 50_000;
/// Arguments or selections of a run.
pub const ARGUMENTS: usize = 10_000;
/// Environment variables of a run.
pub const VARIABLES: usize = 4096;
/// Services of a suite, and those that one needs.
pub const SERVICES: usize = 100;
/// Images of a sandbox: those of its services, and that of its tests.
pub const IMAGES: usize = SERVICES + 1;
/// Environments of a suite.
pub const ENVIRONMENTS: usize = 1000;
/// The name of a service or an environment.
pub const NAME_BYTES: usize = 40;
/// Ports, paths and lines of a service.
pub const PARTS: usize = 1000;
/// Processes of a service.
pub const PIDS: u32 = 4_194_304;
/// Thousandths of a core of a service.
pub const MILLICPUS: u32 = 4_096_999;
/// Labels of a run or an executor.
pub const LABELS: usize = 64;
/// Retries of a run.
pub const RETRIES: u32 = 1000;
/// Digests in a question for missing blobs.
pub const DIGESTS: usize = 10_000;
/// Tests that an event names.
pub const NAMED_TESTS: usize = 1000;
/// Executors that are asked to leave in one call.
pub const DRAINED: usize = 1000;
/// Executors that are not heard of, in what is told of a run.
pub const SILENT: usize = 100;
/// Ports at which processes listen that were left.
pub const LEFT_PORTS: usize = 20;
/// Events in one message of a stream.
pub const ITEMS: usize = 10_000;

/// Suite errors of a client's judgement.
pub const JUDGED_ERRORS: usize = 20;

/// Runs in a list.
pub const LISTED_RUNS: usize = 500;
/// Ended runs that a test is searched in.
pub const SEARCHED_RUNS: u32 = 100;
/// Tests in a ranking, and groups of failures; and days that are looked at.
pub const FOUND: u32 = 100;
pub const DAYS: u32 = 3660;
/// Ids that match, and bytes of them.
pub const MATCHES: usize = 20;
pub const MATCHES_BYTES: usize = 256 << 10;

/// A duration, in microseconds and in milliseconds: about twelve days.
pub const MICROS: u64 = 1 << 40;
pub const MILLIS: u64 = 1 << 30;
/// A moment in Unix milliseconds, or a sum of many durations.
pub const MOMENT: u64 = (1 << 53) - 1;
/// Memory, in KiB.
pub const KIB: u64 = 1 << 40;
/// Attempts, sequence numbers, versions and epochs: what SQLite's integers hold.
pub const NUMBER: u64 = i64::MAX as u64;
/// Generations and batch numbers.
pub const SMALL_NUMBER: u32 = i32::MAX as u32;
