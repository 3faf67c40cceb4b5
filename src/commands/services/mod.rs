//! `seagull services`: the sandbox of an environment, for a person.

mod down;
pub mod gc;
mod logs;
mod shell;
pub mod site;
mod templates;
pub mod up;
mod whose;

use std::collections::BTreeSet;
use std::sync::Arc;

use seagull_domain::Definition;
use seagull_executor::secrets::Secrets;

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

/// Those of the settings that are here.
fn secrets(place: &Place) -> Secrets {
    Secrets::default().with(&place.config.secrets)
}

/// The environment that is named, or the only one there is.
fn definition(place: &Place, named: &Named) -> anyhow::Result<Arc<Definition>> {
    let all = &place.config.environments;
    let found = match (&named.environment, all.len()) {
        (Some(name), _) => match all.get(name) {
            Some(definition) => definition,
            None if all.is_empty() => return Err(none()),
            None => return Err(unknown(name, all.keys().map(String::as_str))),
        },
        (None, 0) => return Err(none()),
        (None, 1) => all.values().collect::<Vec<_>>()[0],
        (None, _) => {
            let names: Vec<&str> = all.keys().map(String::as_str).collect();
            return Err(usage(format!("which environment?\nhint: name one of {}", names.join(", "))));
        }
    };
    if found.services.is_empty() {
        let name = &found.name;
        let place = match found.environment.container {
            Some(_) => "in its image, which seagull run starts",
            None => "on this machine",
        };
        return Err(usage(format!("[environment.{name}] has no services\nhint: its tests run {place}")));
    }
    Ok(Arc::new(found.clone()))
}

/// An environment that there is not, of those that there are.
fn unknown<'a>(name: &str, there: impl Iterator<Item = &'a str>) -> anyhow::Error {
    let there: BTreeSet<&str> = there.collect();
    let names = || there.iter().copied().collect::<Vec<_>>().join(", ");
    let hint = match nearest(name, there.iter().copied()) {
        _ if there.is_empty() => "seagull.toml has none".to_owned(),
        Some(meant) => format!("did you mean {meant}?"),
        None => format!("there is {}", names()),
    };
    usage(format!("there is no [environment.{name}]\nhint: {hint}"))
}

fn none() -> anyhow::Error {
    usage(
        "seagull.toml has no [environment.NAME]\nhint: seagull docs sandboxes shows how services are written",
    )
}
