//! `seagull services templates`: what is saved of services that were prepared.

use std::io::Write;

use seagull_domain::Span;
use seagull_executor::docker::{Engine, Filter, Template};
use serde_json::json;

use super::place;
use super::site::{Site, now};
use crate::cli;
use crate::commands::print;
use crate::errors::{say, usage};
use crate::memory;
use crate::report::{Output, count};
use crate::state::State;

pub async fn run(args: &cli::Templates) -> anyhow::Result<u8> {
    let place = place()?;
    let engine = Engine::connect().await?;
    let site = Site::open(&State::open(args.state.state.as_deref(), &place)?)?;
    let all = engine.templates(&Filter::Installation(site.known.installation)).await?;
    let meant = meant(&all, &args.keys)?;
    if args.remove {
        return remove(&engine, &meant).await.map(|()| 0);
    }
    let now = now();
    let lines = meant.iter().map(|template| match args.form.output {
        Output::Json => object(template).to_string(),
        _ => line(template, now),
    });
    print(|out| lines.into_iter().try_for_each(|line| writeln!(out, "{line}")))?;
    if meant.is_empty() && args.form.output != Output::Json {
        say!("there is no template");
    }
    Ok(0)
}

/// All, or those whose keys begin so; each service's by when they were used.
fn meant<'a>(all: &'a [Template], keys: &[String]) -> anyhow::Result<Vec<&'a Template>> {
    if let Some(unknown) = keys.iter().find(|key| !all.iter().any(|found| found.key.starts_with(*key))) {
        return Err(usage(format!(
            "there is no template {unknown}\nhint: seagull services templates lists what there is"
        )));
    }
    let is_meant = |found: &&Template| keys.is_empty() || keys.iter().any(|key| found.key.starts_with(key));
    let mut meant: Vec<&Template> = all.iter().filter(is_meant).collect();
    meant.sort_by_key(|template| (&template.service, std::cmp::Reverse(template.used)));
    Ok(meant)
}

async fn remove(engine: &Engine, templates: &[&Template]) -> anyhow::Result<()> {
    let mut removed = 0;
    for template in templates {
        match engine.remove_template(template).await? {
            true => removed += 1,
            false => say!("{} stays: something runs with it", template.key),
        }
    }
    say!("{} removed", count(removed, "template"));
    Ok(())
}

fn line(template: &Template, now: u64) -> String {
    let Template { key, of, service, labels, bytes, made, used, .. } = template;
    let ago = |time: &u64| Span(now.saturating_sub(*time));
    let (size, made, used) = (memory::kib(bytes / 1024), ago(made), ago(used));
    format!("{key}  {service} of {}: {of} and {size}, made {made} ago, used {used} ago", labels.environment)
}

fn object(template: &Template) -> serde_json::Value {
    let Template { key, image, of, service, labels, bytes, made, used, .. } = template;
    json!({
        "key": key, "service": service, "environment": labels.environment, "image": image, "of": of, "bytes": bytes,
        "made": made, "used": used,
    })
}
