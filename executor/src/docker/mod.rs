//! Sandboxes of services on a Docker engine: a network of its own with a container for each service, up and ready, and
//! gone afterwards whatever happens to who made it.
//!
//! What becomes of what is written (`container`, `test_container`, `address`, `hosts`), what the objects say of themselves
//! (`labels`), which of them are to go (`lease`, `template`) and what is waited for (`progress`) is plain; `engine`, `lines`, `ready`, `sandbox`, `shared`,
//! `templates`, `contained`, `room`, `running`, `said`, `objects`, `origin`, `hold`, `vault`, `owner`, `site`, `guard` and `keeper` speak to the engine and to this machine.

mod address;
mod contained;
mod container;
mod credentials;
mod disk;
mod engine;
mod error;
mod guard;
mod hint;
mod hold;
mod hosts;
mod images;
mod keeper;
mod labels;
mod lease;
mod lines;
mod listening;
mod objects;
mod origin;
mod owner;
mod progress;
mod ready;
mod room;
mod running;
mod said;
mod sandbox;
mod shared;
mod site;
mod template;
mod templates;
mod test_container;
mod vault;
mod whiteouts;

pub use address::{Address, variables};
pub use bollard::container::LogOutput;
pub use contained::Contained;
pub(crate) use contained::INSIDE;
pub use engine::{Engine, Image};
pub use error::Error;
pub use guard::{Guard, main as guard_main};
pub use hold::Holder;
pub use images::{Fetched, IMAGE_BYTES};
pub use keeper::{Held, Keeper, Options as KeeperOptions, Wanted};
pub use labels::{Filter, Labels, digest};
pub use lease::{Outlived, outlived};
pub use objects::{Kind, Object};
pub use origin::Origin;
pub use owner::{Standing, standing, terminate};
pub use progress::{Going, Progress};
pub use room::{Files, Program, Room, forget as forget_room};
pub use running::Services;
pub use said::Said;
pub use sandbox::{Beside, Reach, Sandbox, Start, discard, discard_tests};
pub use site::Site;
pub use template::Template;
pub use test_container::HOSTNAME;
pub(crate) use test_container::UPPER;
pub use vault::{
    INSIDE as SECRETS, abandoned as abandoned_secrets, remove as remove_secrets, sweep as sweep_secrets,
};
