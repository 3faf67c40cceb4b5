//! Between messages and the types of `seagull_domain`: `From` on the sending side, which cuts text that is too long,
//! `TryFrom` on the receiving side, which refuses whatever breaks the specification. Nothing here panics on any input.

mod blob;
mod bundle;
mod desired;
mod drain;
mod environment;
mod event;
mod found;
mod framework;
mod invalid;
mod overview;
mod printed;
mod report;
mod request;
mod result;
mod sandbox;
mod scalar;
mod service;
mod spec;
mod verdict;
mod watch;
mod whereabouts;
mod words;

pub use blob::{BlobAsked, BlobPart, BlobPiece};
pub use desired::Answer;
pub use drain::DrainAsked;
pub use found::{RankAsked, SearchAsked};
pub use invalid::Invalid;
pub use overview::{HistoryAsked, ListAsked};
pub use printed::{OutputTold, Printed};
pub use request::{BundleAsked, LogChunk, RunDescription, TextAsked, Word, submission};
pub use result::fit_result;
pub use scalar::fitted;
pub use watch::{LiveSlot, WatchAsked, Watched, pack_items};
pub use whereabouts::TestAsked;
