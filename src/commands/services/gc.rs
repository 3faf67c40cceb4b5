//! `seagull executor gc`: removes what has outlived its lease or its owner.

use std::io::Write;

use anyhow::Context;
use seagull_domain::Span;
use seagull_executor::docker::{
    self, Engine, Filter, Kind, Labels, Object, Outlived, Template, abandoned_secrets, remove_secrets,
};

use super::place;
use super::site::{Site, now};
use crate::cli;
use crate::commands::print;
use crate::errors::say;
use crate::report::{count, number};
use crate::state::State;

pub async fn run(args: &cli::Gc) -> anyhow::Result<u8> {
    let place = place()?;
    let engine = Engine::connect().await?;
    let site = State::having(docker::Site::DIRECTORY, args.state.state.as_deref(), &place)
        .map(|state| Site::open(&state))
        .transpose()?;
    let known = site.as_ref().map(|site| &site.known);
    let now = now();
    let objects = engine.list(&Filter::Ours).await?;
    let judged = objects.into_iter().filter_map(|object| {
        let why = docker::Site::judge(known, &object.labels, now)?;
        Some((object, why))
    });
    let (old, lines): (Vec<Object>, Vec<String>) = judged
        .map(|(object, why)| {
            let line = line(&object, why);
            (object, line)
        })
        .unzip();
    let mut templates = engine.templates(&Filter::Ours).await?;
    templates.retain(|template| template.expired(now).is_some());
    let images = match &site {
        Some(site) => site.known.spent_images(&engine, now, args.images << 10).await?,
        None => Vec::new(),
    };
    let secrets = abandoned_secrets(known, now);
    let lines = lines.into_iter().chain(templates.iter().map(|template| {
        let unused = Span(template.expired(now).unwrap_or(0));
        let Template { key, labels, .. } = template;
        format!("{:<9}  {key}  of {}: not used for {unused}", "template", labels.environment)
    }));
    let lines = lines.chain(images.iter().map(|of| {
        let unused = Span(now.saturating_sub(of.used));
        format!("{:<9}  {}: fetched here, not used for {unused}", "image", of.image)
    }));
    let lines = lines.chain(secrets.iter().map(|(of, why)| told("secrets", &of.sandbox, of, *why)));
    let lines: Vec<String> = lines.collect();
    print(|out| lines.iter().try_for_each(|line| writeln!(out, "{line}")))?;
    let said = count(number(lines.len()), "object");
    match (lines.is_empty(), args.dry_run) {
        (true, _) => say!("nothing on the Docker engine has outlived its owner or its lease"),
        (false, true) => say!("{said} would be removed"),
        (false, false) => {
            engine.remove(&old).await.context("not everything could be removed")?;
            for template in &templates {
                engine.remove_template(template).await?;
            }
            for (image, site) in images.iter().zip(site.iter().cycle()) {
                site.known.remove_image(&engine, image).await?;
            }
            secrets
                .iter()
                .try_for_each(|(of, _)| remove_secrets(of))
                .context("not all secrets could be removed")?;
            say!("{said} removed");
        }
    }
    Ok(0)
}

fn line(object: &Object, why: Outlived) -> String {
    let kind = match object.kind {
        Kind::Container => "container",
        Kind::Network => "network",
        Kind::Volume => "volume",
    };
    told(kind, &object.name, &object.labels, why)
}

fn told(kind: &str, name: &str, labels: &Labels, why: Outlived) -> String {
    let why = match why {
        Outlived::Lease(seconds) => format!("its lease ended {} ago", Span(seconds)),
        Outlived::Owner => "its owner is dead".to_owned(),
    };
    format!("{kind:<9}  {name}  of {}: {why}", labels.environment)
}
