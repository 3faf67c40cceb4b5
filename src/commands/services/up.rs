//! `seagull services up`: what is written is up and ready, or nothing is left.
#![expect(clippy::disallowed_methods, reason = "a shell: it says how long each service took")]

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, anyhow};
use seagull_domain::{Definition, Span};
use seagull_executor::docker::{
    self, Beside, Engine, Going, Guard, Kind, Labels, Object, Progress, Reach, Sandbox, Services, Start,
    digest, discard, terminate,
};
use serde_json::json;

use super::site::{Site, now};
use super::{definition, place, secrets};
use crate::again::quoted;
use crate::cli;
use crate::commands::print;
use crate::duration;
use crate::errors::{INTERRUPTED, say};
use crate::fresh;
use crate::progress;
use crate::report::{Output, count, number};
use crate::signals::Signals;
use crate::state::State;

pub async fn run(args: &cli::Up) -> anyhow::Result<u8> {
    let place = place()?;
    let definition = definition(&place, &args.named)?;
    let mut signals = Signals::new()?;
    let engine = Engine::connect().await?.hiding(&secrets(&place), &definition);
    let site = Site::open(&State::open(args.named.state.state.as_deref(), &place)?)?;
    let _work = site.work_on(&definition.name)?;
    if let Some(sandbox) = standing(&engine, &site, &definition).await? {
        say!("{} is up already, for another {}", definition.name, left(&sandbox.labels));
        return tell(&sandbox, &definition, args.form.output).map(|()| 0);
    }
    let labels = labels(&site, &definition, now() + args.lease.as_secs().max(1))?;
    let guard = Guard::start(&labels.lock, &labels.owner, labels.lease, None);
    let guard = guard.context("the guard of the services cannot be started")?;
    let began = Instant::now();
    let stands = async {
        let reach = Reach::Machine;
        let sandbox = start(&engine, &site, &definition, (&labels, reach), BTreeMap::new()).await?;
        Services::of(&engine, &definition, sandbox.clone()).stand().await?;
        anyhow::Ok(sandbox)
    };
    let sandbox = tokio::select! {
        sandbox = stands => match sandbox {
            Ok(sandbox) => sandbox,
            Err(error) => {
                let _ = discard(&engine, &labels).await;
                return Err(error);
            }
        },
        () = signals.next() => {
            say!("interrupted: removing what was begun");
            discard(&engine, &labels).await?;
            return Ok(INTERRUPTED);
        }
    };
    if let Err(error) = guard.keep() {
        discard(&engine, &labels).await?;
        return Err(error).context("the guard of the services has ended");
    }
    site.set_whole(&definition.name, &labels.sandbox)?;
    let (name, lease) = (&definition.name, duration::written(duration::millis(args.lease)));
    say!(
        "{name} is up in {:.1} s, for {lease}; seagull services down {name} removes it",
        began.elapsed().as_secs_f64()
    );
    tell(&sandbox, &definition, args.form.output).map(|()| 0)
}

/// The sandbox if it is up, whole, and as it is written now. What is left of another is removed.
async fn standing(engine: &Engine, site: &Site, definition: &Definition) -> anyhow::Result<Option<Sandbox>> {
    let objects = site.known.objects(engine).await?;
    let now = now();
    let (old, kept): (Vec<Object>, Vec<Object>) = objects
        .into_iter()
        .partition(|object| docker::Site::judge(Some(&site.known), &object.labels, now).is_some());
    if !old.is_empty() {
        engine.remove(&old).await?;
        say!("removed {} that had been left behind", count(number(old.len()), "object"));
    }
    docker::sweep_secrets(&site.known, None, now);
    let own: Vec<Object> = kept
        .into_iter()
        .filter(|object| site.known.is_a_persons(&object.labels))
        .filter(|object| site.called(&object.labels) == definition.name)
        .collect();
    let whole = site.whole(&definition.name);
    let Some(labels) = own.first().map(|object| object.labels.clone()) else { return Ok(None) };
    let is_running = |name: &String| {
        own.iter().any(|object| {
            object.kind == Kind::Container && object.service.as_ref() == Some(name) && object.running
        })
    };
    let is_whole = whole.as_ref() == Some(&labels.sandbox);
    if is_whole && labels.definition != digest(definition) {
        let name = &definition.name;
        return Err(anyhow!(
            "{name} is up as it was written before seagull.toml changed\n\
             hint: seagull services down {name} removes it, with its data"
        ));
    }
    if is_whole
        && definition.services.keys().all(is_running)
        && let Some(sandbox) = Sandbox::find(engine, definition, &labels).await?
    {
        return Ok(Some(sandbox));
    }
    let ended: Vec<&str> =
        definition.services.keys().filter(|name| !is_running(name)).map(String::as_str).collect();
    match is_whole {
        true => say!("{} has ended since; {} starts anew", ended.join(", "), definition.name),
        false => say!("removing what was left of {}", definition.name),
    }
    engine.remove(&own).await?;
    own.iter().for_each(|object| terminate(&site.known.lock(&object.labels.owner)));
    Ok(None)
}

pub fn labels(site: &Site, definition: &Definition, lease: u64) -> anyhow::Result<Labels> {
    let sandbox = fresh::hex(&fresh::bytes::<4>()?);
    Ok(Labels {
        installation: site.known.installation.clone(),
        // A sandbox that no executor has sees to itself.
        owner: sandbox.clone(),
        lock: site.known.lock(&sandbox),
        sandbox,
        lease,
        environment: definition.name.clone(),
        definition: digest(definition),
    })
}

/// Starts it, and tells what happens. `pinned`: what is used instead of what is called so now.
pub async fn start(
    engine: &Engine,
    site: &Site,
    definition: &Arc<Definition>,
    (labels, reach): (&Labels, Reach),
    pinned: BTreeMap<String, String>,
) -> anyhow::Result<Sandbox> {
    let progress = progress::Progress::new(true);
    let width = definition.services.keys().map(String::len).max().unwrap_or(0);
    let going = Arc::new(Mutex::new(Going::default()));
    let began = Instant::now();
    let tell = {
        let going = going.clone();
        move |step: Progress| {
            // Lines of services that are ready at the same time do not meet.
            let mut going = going.lock().unwrap_or_else(PoisonError::into_inner);
            going.take(&step);
            if let Some(line) = line(step, began.elapsed().as_secs_f64(), width) {
                progress.clear();
                say!("{line}");
            }
        }
    };
    let what = || what(&going.lock().unwrap_or_else(PoisonError::into_inner));
    let started = Sandbox::start(Start {
        engine: engine.clone(),
        site: site.known.clone(),
        definition: definition.clone(),
        labels: labels.clone(),
        reach,
        beside: Beside::new(),
        pinned,
        tell: Arc::new(tell),
    });
    Ok(progress.during(what, started).await?)
}

/// A line that stays, if there is one to say.
fn line(step: Progress, seconds: f64, width: usize) -> Option<String> {
    match step {
        Progress::Fetching { image, here: 0, all: 0 } => Some(format!("fetching {image}, which is not here")),
        Progress::Preparing { service } => {
            Some(format!("  {service:<width$}  ready after {seconds:.1} s, prepares"))
        }
        Progress::Saving { service } => {
            Some(format!("  {service:<width$}  prepared after {seconds:.1} s, is saved as a template"))
        }
        Progress::Ready { service, address } => {
            let host = address.host.unwrap_or_default();
            let ports = address.ports.iter().map(|(inside, port)| format!("  {host}:{port} ({inside})"));
            Some(format!("  {service:<width$}  ready after {seconds:.1} s{}", ports.collect::<String>()))
        }
        Progress::Fetching { .. }
        | Progress::Fetched { .. }
        | Progress::Starting { .. }
        | Progress::Awaited { .. } => None,
    }
}

fn what(going: &Going) -> String {
    let starting: Vec<&str> = going.starting().map(|(service, _)| service).collect();
    let waited = if starting.is_empty() { "the Docker engine".to_owned() } else { starting.join(", ") };
    going.fetching().map_or_else(|| format!("waiting for {waited}"), str::to_owned)
}

/// Where the services are, as lines for a shell, or as an object.
fn tell(sandbox: &Sandbox, definition: &Definition, output: Output) -> anyhow::Result<()> {
    if output == Output::Json {
        let services = sandbox.addresses.iter().filter_map(|(name, address)| {
            let url = address.url(definition.services.get(name)?);
            let ports = address.ports.iter().map(|(inside, port)| (inside.to_string(), json!(port)));
            let ports: serde_json::Map<_, _> = ports.collect();
            let container = sandbox.container(name);
            let told = json!({ "host": address.host, "ports": ports, "url": url, "container": container });
            Some((name.clone(), told))
        });
        let told = json!({
            "environment": definition.name,
            "lease": sandbox.labels.lease,
            "services": services.collect::<serde_json::Map<_, _>>(),
            "variables": sandbox.variables(definition),
        });
        return print(|out| writeln!(out, "{told}"));
    }
    print(|out| {
        sandbox
            .variables(definition)
            .iter()
            .try_for_each(|(name, value)| writeln!(out, "export {name}={}", quoted([value.as_str()])))
    })
}

/// Until the lease ends.
pub fn left(labels: &Labels) -> Span {
    Span(labels.lease.saturating_sub(now()))
}
