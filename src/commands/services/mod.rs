//! `seagull services`: the sandbox of an environment, for a person.

mod down;
pub mod gc;
mod logs;
mod shell;
pub mod site;
mod templates;
pub mod up;

use std::sync::Arc;

use seagull_domain::Definition;

use crate::cli::{Named, OfServices};
use crate::errors::{usage, warn};
use crate::nearest::nearest;
use crate::place::Place;

pub async fn run(command: OfServices) -> anyhow::Result<u8> {
    match command {
        OfServices::Up(args) => up::run(&args).await,
        OfServices::Down(args) => down::run(&args).await,
        OfServices::Logs(args) => logs::run(&args).await,
        OfServices::Shell(args) => shell::run(&args).await,
        OfServices::Templates(args) => templates::run(&args).await,
    }
}

/// The settings here, with what is strange in them told.
fn place() -> anyhow::Result<Place> {
    let place = Place::here()?;
    place.config.warnings.iter().for_each(warn);
    Ok(place)
}

/// The environment that is named, or the only one there is.
fn definition(place: &Place, named: &Named) -> anyhow::Result<Arc<Definition>> {
    let all = &place.config.environments;
    let names = || all.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    let found = match (&named.environment, all.len()) {
        (Some(name), _) => match all.get(name) {
            Some(definition) => definition,
            None if all.is_empty() => return Err(none()),
            None => {
                let meant = nearest(name, all.keys().map(String::as_str));
                let hint = meant
                    .map_or_else(|| format!("there is {}", names()), |name| format!("did you mean {name}?"));
                return Err(usage(format!("there is no [environment.{name}]\nhint: {hint}")));
            }
        },
        (None, 0) => return Err(none()),
        (None, 1) => all.values().collect::<Vec<_>>()[0],
        (None, _) => return Err(usage(format!("which environment?\nhint: name one of {}", names()))),
    };
    Ok(Arc::new(found.clone()))
}

fn none() -> anyhow::Error {
    usage(
        "seagull.toml has no [environment.NAME]\nhint: seagull docs sandboxes shows how services are written",
    )
}
