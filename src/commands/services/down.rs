//! `seagull services down`: an environment is gone, or what is held of one, or all of them.

use std::collections::BTreeSet;
use std::io::Write;

use seagull_executor::docker::{Engine, Kind, Object, terminate};
use serde_json::json;

use super::site::Site;
use super::whose::held;
use super::{place, unknown};
use crate::cli;
use crate::commands::print;
use crate::errors::say;
use crate::place::Place;
use crate::report::{Output, count, number};
use crate::state::State;

pub async fn run(down: &cli::Down) -> anyhow::Result<u8> {
    let args = &down.named;
    let place = place()?;
    let engine = Engine::connect().await?;
    let site = Site::open(&State::open(args.state.state.as_deref(), &place)?)?;
    // Also one that seagull.toml does not have any more.
    let wanted =
        |object: &Object| args.environment.as_ref().is_none_or(|name| *name == site.called(&object.labels));
    let objects = site.objects(&engine).await?;
    let named = args.environment.iter().map(String::as_str);
    let there = || objects.iter().filter(|object| wanted(object)).map(|object| site.called(&object.labels));
    let names: BTreeSet<String> = named.chain(there()).map(str::to_owned).collect();
    if let Some(name) = args.environment.as_ref()
        && !is_known(name, &place, &site)
        && there().next().is_none()
    {
        let written = place.config.environments.keys().map(String::as_str);
        let up = objects.iter().map(|object| site.called(&object.labels));
        return Err(unknown(name, written.chain(up)));
    }
    // Nobody starts what is held.
    let own = names.iter().filter(|name| !site.known.is_held(name));
    let _work = own.map(|name| site.work_on(name)).collect::<Result<Vec<_>, _>>()?;
    let (going, left): (Vec<Object>, Vec<Object>) =
        site.objects(&engine).await?.into_iter().partition(wanted);
    engine.remove(&going).await?;
    going
        .iter()
        .map(|object| site.known.lock(&object.labels.owner))
        .collect::<BTreeSet<_>>()
        .into_iter()
        .for_each(|lock| terminate(&lock));
    for name in &names {
        let own: Vec<&Object> = going.iter().filter(|object| site.called(&object.labels) == name).collect();
        match down.form.output {
            Output::Json => print(|out| writeln!(out, "{}", told(name, &own)))?,
            _ if !own.is_empty() => say!("{name} is down: {}", removed(&own)),
            _ => say!("{name} is not up"),
        }
        let held = held(&site, name, &left);
        if !held.is_empty() && down.form.output != Output::Json {
            let (stay, them) = if held.len() > 1 { ("stay", "them") } else { ("stays", "it") };
            let names = held.join(", ");
            say!("{names} {stay} as a failed test left {them}: seagull services down {}", held[0]);
        }
    }
    names.iter().for_each(|name| site.forget(name));
    if names.is_empty() && down.form.output != Output::Json {
        say!("nothing is up");
    }
    Ok(0)
}

/// Whether it is written, or was up, or was held.
fn is_known(name: &str, place: &Place, site: &Site) -> bool {
    place.config.environments.contains_key(name) || site.whole(name).is_some() || site.known.is_held(name)
}

/// `sandbox`: the name of one that was held.
fn told(name: &str, removed: &[&Object]) -> serde_json::Value {
    let environment = removed.first().map_or(name, |object| &object.labels.environment);
    let names: Vec<&str> = removed.iter().map(|object| object.name.as_str()).collect();
    let mut told = json!({ "environment": environment, "removed": names });
    if environment != name {
        told["sandbox"] = name.into();
    }
    told
}

/// `2 containers, 1 network removed`.
fn removed(objects: &[&Object]) -> String {
    let kinds = [(Kind::Container, "container"), (Kind::Network, "network"), (Kind::Volume, "volume")];
    let counts = kinds.into_iter().filter_map(|(kind, word)| {
        let of_kind = objects.iter().filter(|object| object.kind == kind).count();
        Some(of_kind).filter(|found| *found > 0).map(|found| count(number(found), word))
    });
    format!("{} removed", counts.collect::<Vec<_>>().join(", "))
}
