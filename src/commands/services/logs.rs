//! `seagull services logs`: what services say, each line with its service where there are several.

use std::io::Write;

use seagull_executor::docker::{Engine, Kind, Object, Said};
use serde_json::json;
use tokio::task::JoinSet;
use tokio_stream::StreamExt;

use super::site::Site;
use super::whose::{Meant, Name};
use super::{place, secrets};
use crate::cli;
use crate::commands::print;
use crate::errors::{INTERRUPTED, usage};
use crate::nearest::nearest;
use crate::report::Output;
use crate::signals::Signals;
use crate::state::State;

pub async fn run(args: &cli::ServiceLogs) -> anyhow::Result<u8> {
    let place = place()?;
    let name = Name::read(&place, &args.named)?;
    let engine = Engine::connect().await?;
    let site = Site::open(&State::open(args.named.state.state.as_deref(), &place)?)?;
    let Meant { definition, labels, objects, .. } = name.find(&place, &engine, &site).await?;
    let engine = engine.hiding(&secrets(&place), &definition).hiding_those_of(&labels);
    if let Some(service) = args.service.as_ref().filter(|service| !definition.services.contains_key(*service))
    {
        let meant = nearest(service, definition.services.keys().map(String::as_str));
        let hint = meant.map(|name| format!("\nhint: did you mean {name}?")).unwrap_or_default();
        return Err(usage(format!("{} has no service {service}{hint}", definition.name)));
    }
    let is_meant = |object: &Object| {
        object.kind == Kind::Container
            && args.service.as_ref().is_none_or(|service| object.service.as_ref() == Some(service))
    };
    let containers: Vec<Object> = objects.into_iter().filter(is_meant).collect();
    let width = containers.iter().filter_map(|one| one.service.as_ref()).map(String::len).max().unwrap_or(0);
    let mut signals = Signals::new()?;
    let mut readers = JoinSet::new();
    for container in &containers {
        let service = container.service.clone().unwrap_or_default();
        let prefix = if containers.len() > 1 { format!("{service:<width$} | ") } else { String::new() };
        let output = args.form.output;
        let said = move |line: &str| match output {
            Output::Json => json!({ "service": service, "line": line }).to_string(),
            Output::Human | Output::Plain => format!("{prefix}{line}"),
        };
        let pieces = engine.log(&container.id, Some(args.lines), args.follow);
        let engine = engine.clone();
        readers.spawn(async move {
            let tell =
                |text: &str| print(|out| text.lines().try_for_each(|line| writeln!(out, "{}", said(line))));
            let (mut pieces, mut lines, mut begins) = (std::pin::pin!(pieces), Said::default(), true);
            while let Some(piece) = pieces.next().await {
                let text = lines.take(piece?);
                // The engine may begin in the middle of a long line.
                let is_first = !text.is_empty() && std::mem::take(&mut begins);
                let hidden = engine.hidden();
                tell(&if is_first { hidden.hidden_in_end(text) } else { hidden.hidden_in(text) })?;
            }
            tell(&engine.hidden().hidden_in_end(lines.rest()))
        });
    }
    tokio::select! {
        read = async { readers.join_all().await.into_iter().collect::<anyhow::Result<()>>() } => read.map(|()| 0),
        () = signals.next() => Ok(INTERRUPTED),
    }
}
