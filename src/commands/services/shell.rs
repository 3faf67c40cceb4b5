//! `seagull services shell`: a shell, or a command, that has where the services are.

use std::env;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, anyhow};
use seagull_executor::docker::{Engine, Kind, Sandbox};

use super::place;
use super::site::Site;
use super::whose::{Meant, Name, not_up};
use crate::cli;
use crate::errors::say;
use crate::state::State;

/// Does not return where it works: this process becomes the shell.
pub async fn run(args: &cli::ServiceShell) -> anyhow::Result<u8> {
    let place = place()?;
    let name = Name::read(&place, &args.named)?;
    let engine = Engine::connect().await?;
    let site = Site::open(&State::open(args.named.state.state.as_deref(), &place)?)?;
    let meant = name.find(&place, &engine, &site).await?;
    let Meant { definition, labels, is_held, .. } = &meant;
    if *is_held && definition.environment.container.is_some() {
        return Err(unpublished(&meant));
    }
    let is_whole = *is_held || site.whole(&definition.name).as_ref() == Some(&labels.sandbox);
    let sandbox = match is_whole {
        true => Sandbox::find(&engine, definition, labels).await?,
        false => None,
    };
    let sandbox = sandbox.ok_or_else(|| match is_held {
        true => anyhow!("a service of {} has ended\nhint: seagull services logs {0}", labels.sandbox),
        false => not_up(&site, &definition.name, &[]),
    })?;
    let had = match is_held {
        true => format!("the services are that a failed test of {} left", definition.name),
        false => format!("{} is", definition.name),
    };
    let shared = definition.services.keys().filter(|service| !sandbox.addresses.contains_key(*service));
    for service in shared {
        say!("without {service}, which workers shared");
    }
    let mut command = match args.command.split_first() {
        Some((program, arguments)) => {
            let mut command = Command::new(program);
            command.args(arguments);
            command
        }
        None => {
            say!("a shell that has where {had}; exit leaves it");
            Command::new(env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into()))
        }
    };
    command.envs(sandbox.variables(definition));
    let error = command.exec();
    Err(error).with_context(|| format!("cannot run {}", command.get_program().to_string_lossy()))
}

/// Who is beside tests in an image reaches their services, and nobody else.
fn unpublished(meant: &Meant) -> anyhow::Error {
    let containers = meant.objects.iter().filter(|object| object.kind == Kind::Container);
    let shells: Vec<String> =
        containers.map(|container| format!("docker exec -it {} sh", container.name)).collect();
    anyhow!(
        "the services of {} publish no ports here: its tests ran in an image\nhint: {}",
        meant.labels.sandbox,
        shells.join(", or ")
    )
}
