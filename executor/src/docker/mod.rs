//! Sandboxes of services on a Docker engine: a network of its own with a container for each service, up and ready, and
//! gone afterwards whatever happens to who made it.
//!
//! What is written (`definition`), what becomes of it (`container`, `address`), what the objects say of themselves
//! (`labels`) and which of them are to go (`lease`) is plain; `engine`, `ready`, `sandbox`, `objects`, `vault`,
//! `owner` and `guard` speak to the engine and to this machine.

mod address;
mod container;
mod definition;
mod engine;
mod error;
mod guard;
mod labels;
mod lease;
mod objects;
mod owner;
mod ready;
mod sandbox;
mod vault;

pub use address::{Address, variables};
pub use definition::{Definition, Environment, Impossible, Limits, Probe, Ready, Rights, Service};
pub use engine::Engine;
pub use error::Error;
pub use guard::{Guard, main as guard_main};
pub use labels::{Filter, Labels};
pub use lease::{Outlived, outlived};
pub use objects::{Kind, Object};
pub use owner::{Standing, standing, terminate};
pub use sandbox::{Progress, Sandbox, discard};
pub use vault::{abandoned as abandoned_secrets, remove_abandoned as remove_abandoned_secrets};
