//! `seagull services down`: an environment is gone, or all of them.

use std::collections::BTreeSet;
use std::io::Write;

use seagull_executor::docker::{Engine, Kind, Object, terminate};
use serde_json::json;

use super::site::Site;
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
        |object: &Object| args.environment.as_ref().is_none_or(|name| *name == object.labels.environment);
    let environments: BTreeSet<String> = match &args.environment {
        Some(name) => BTreeSet::from([name.clone()]),
        None => site.objects(&engine).await?.into_iter().map(|object| object.labels.environment).collect(),
    };
    if let Some(name) = args.environment.as_ref().filter(|name| !is_known(name, &place, &site)) {
        let objects = site.objects(&engine).await?;
        if !objects.iter().any(wanted) {
            let there = place.config.environments.keys().map(String::as_str);
            let up = objects.iter().map(|object| object.labels.environment.as_str());
            return Err(unknown(name, there.chain(up)));
        }
    }
    let _work = environments.iter().map(|name| site.work_on(name)).collect::<Result<Vec<_>, _>>()?;
    let objects: Vec<Object> = site.objects(&engine).await?.into_iter().filter(wanted).collect();
    engine.remove(&objects).await?;
    objects
        .iter()
        .map(|object| site.known.lock(&object.labels.owner))
        .collect::<BTreeSet<_>>()
        .into_iter()
        .for_each(|lock| terminate(&lock));
    for name in &environments {
        site.forget(name);
        if down.form.output == Output::Json {
            let removed = objects.iter().filter(|object| object.labels.environment == *name);
            let removed: Vec<&str> = removed.map(|object| object.name.as_str()).collect();
            print(|out| writeln!(out, "{}", json!({ "environment": name, "removed": removed })))?;
            continue;
        }
        match objects.iter().any(|object| object.labels.environment == *name) {
            true => say!("{name} is down: {}", removed(&objects, name)),
            false => say!("{name} is not up"),
        }
    }
    if environments.is_empty() && down.form.output != Output::Json {
        say!("nothing is up");
    }
    Ok(0)
}

/// Whether it is written, or was up.
fn is_known(name: &str, place: &Place, site: &Site) -> bool {
    place.config.environments.contains_key(name) || site.whole(name).is_some()
}

/// `2 containers, 1 network removed`.
fn removed(objects: &[Object], environment: &str) -> String {
    let kinds = [(Kind::Container, "container"), (Kind::Network, "network"), (Kind::Volume, "volume")];
    let counts = kinds.into_iter().filter_map(|(kind, word)| {
        let of_kind =
            objects.iter().filter(|object| object.kind == kind && object.labels.environment == environment);
        Some(of_kind.count()).filter(|found| *found > 0).map(|found| count(number(found), word))
    });
    format!("{} removed", counts.collect::<Vec<_>>().join(", "))
}
