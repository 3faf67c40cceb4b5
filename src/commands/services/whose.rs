//! Which sandbox a name means: a person's own, by its environment, or one that a failed test has left, by a name of its own.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::anyhow;
use seagull_domain::Definition;
use seagull_executor::docker::{self, Engine, Labels, Object};

use super::definition;
use super::site::Site;
use crate::cli;
use crate::errors::usage;
use crate::place::Place;
use crate::state::State;

/// What a name is of.
pub enum Name {
    /// One's own, as it is written.
    Own(Arc<Definition>),
    /// A sandbox that is held.
    Held(String),
}

/// The sandbox that a name means.
pub struct Meant {
    pub definition: Arc<Definition>,
    pub labels: Labels,
    pub objects: Vec<Object>,
    pub is_held: bool,
}

impl Name {
    pub fn read(place: &Place, named: &cli::Named) -> anyhow::Result<Name> {
        let state = State::having(docker::Site::DIRECTORY, named.state.state.as_deref(), place);
        let site = state.map(|state| Site::open(&state)).transpose()?;
        let is_held = |name: &&String| {
            let is_written = place.config.environments.contains_key(*name);
            !is_written && site.as_ref().is_some_and(|site| site.known.is_held(name))
        };
        match named.environment.as_ref().filter(is_held) {
            Some(sandbox) => Ok(Name::Held(sandbox.clone())),
            None => Ok(Name::Own(definition(place, named)?)),
        }
    }

    pub async fn find(self, place: &Place, engine: &Engine, site: &Site) -> anyhow::Result<Meant> {
        let objects = site.objects(engine).await?;
        let name = match &self {
            Name::Own(definition) => definition.name.clone(),
            Name::Held(sandbox) => sandbox.clone(),
        };
        let own: Vec<Object> =
            objects.iter().filter(|object| site.called(&object.labels) == name).cloned().collect();
        let Some(labels) = own.first().map(|object| object.labels.clone()) else {
            return Err(match &self {
                Name::Own(_) => not_up(site, &name, &objects),
                Name::Held(_) => {
                    anyhow!("{name} is not held any more\nhint: its time is over, or it was removed")
                }
            });
        };
        let (definition, is_held) = match self {
            Name::Own(definition) => (definition, false),
            Name::Held(_) => (written(place, &labels)?, true),
        };
        Ok(Meant { definition, labels, objects: own, is_held })
    }
}

/// As its environment is written now.
fn written(place: &Place, labels: &Labels) -> anyhow::Result<Arc<Definition>> {
    let Labels { environment, sandbox, .. } = labels;
    let found = place.config.environments.get(environment).cloned().map(Arc::new);
    let gone = || usage(format!("{sandbox} is of [environment.{environment}], which there is no more"));
    found.ok_or_else(gone)
}

/// One's own environment is not up, whatever is held of it.
pub fn not_up(site: &Site, environment: &str, objects: &[Object]) -> anyhow::Error {
    let held = held(site, environment, objects);
    let (said, hint) = match held.first() {
        None => (String::new(), String::new()),
        Some(one) => {
            let (are, them) = if held.len() > 1 { ("are", "them") } else { ("is", "it") };
            let said = format!("; {} {are} held as a failed test left {them}", held.join(", "));
            (said, format!(", or name what is held: {one}"))
        }
    };
    anyhow!("{environment} is not up{said}\nhint: seagull services up {environment}{hint}")
}

/// The names of what is held of an environment.
pub fn held(site: &Site, environment: &str, objects: &[Object]) -> Vec<String> {
    let of_it =
        objects.iter().map(|object| &object.labels).filter(|labels| labels.environment == environment);
    let held: BTreeSet<&String> =
        of_it.map(|labels| &labels.sandbox).filter(|sandbox| site.known.is_held(sandbox)).collect();
    held.into_iter().cloned().collect()
}
