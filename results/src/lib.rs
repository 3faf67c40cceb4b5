//! What is kept beyond a process: blobs, the logs of attempts, timings and verdicts of earlier runs, and ended runs.
//! And what is made of it: predictions and selections, which are pure.
//!
//! Everything but the [`index`] blocks; the shells call it from threads that may.

mod archive;
mod attached;
mod attachment;
mod blobs;
mod calibration;
mod durable;
mod environments;
mod error;
mod find;
mod gone;
mod health;
mod history;
pub mod index;
mod last_verdicts;
mod lineage;
mod logs;
mod manifest;
mod packed;
mod predict;
mod reading;
mod renamed;
mod retention;
mod select;
mod setups;
mod shrinkage;
mod timing;

pub use archive::{Archive, Archived, ArchivedFacts, Draft, stored_facts};
pub use attached::{Attached, SMALL_BYTES};
pub use attachment::{ATTACHMENT, pack_attachment, unpack_attachment};
pub use blobs::{
    ARTIFACT, Arrived, Blobs, Body, Evicted, FRESH, Head, InvalidUrl, Key, Method, Presigned, Put, Remote,
    Store, StoreUrl, Trouble, When, Why, Writer, digest, open as open_store,
};
pub use calibration::Calibration;
pub use environments::{Unplaced, environments};
pub use error::Error;
pub use find::{Finder, Found};
pub use health::{Health, STALE_DAYS};
pub use history::{EndedRun, History};
pub use last_verdicts::{LastVerdict, LastVerdicts};
pub use lineage::Lineage;
pub use logs::{LOG_BYTES, Logs};
pub use manifest::{InvalidManifest, decode_manifest, encode_manifest};
pub use predict::{Prediction, limit_ms, predict};
pub use retention::{Class, Retention};
pub use select::{InvalidSelection, Selected, Selection};
pub use setups::{Excess, Execution, Setup, Setups, WORKER, excesses};
pub use timing::{Timing, Timings};
