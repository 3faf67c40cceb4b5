//! `seagull services shell`: a shell, or a command, that has where the services are.

use std::env;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, anyhow};
use seagull_executor::docker::{Engine, Sandbox};

use super::site::Site;
use super::{definition, place};
use crate::cli;
use crate::errors::say;
use crate::state::State;

/// Does not return where it works: this process becomes the shell.
pub async fn run(args: &cli::ServiceShell) -> anyhow::Result<u8> {
    let place = place()?;
    let definition = definition(&place, &args.named)?;
    let engine = Engine::connect().await?;
    let site = Site::open(&State::open(args.named.state.state.as_deref(), &place)?)?;
    let whole = site.whole(&definition.name);
    let objects = site.objects(&engine).await?;
    let labels = objects
        .into_iter()
        .map(|object| object.labels)
        .find(|labels| Some(&labels.sandbox) == whole.as_ref());
    let sandbox = match labels {
        Some(labels) => Sandbox::find(&engine, &definition, &labels).await?,
        None => None,
    };
    let Some(sandbox) = sandbox else {
        let name = &definition.name;
        return Err(anyhow!("{name} is not up\nhint: seagull services up {name}"));
    };
    let mut command = match args.command.split_first() {
        Some((program, arguments)) => {
            let mut command = Command::new(program);
            command.args(arguments);
            command
        }
        None => {
            say!("a shell that has where {} is; exit leaves it", definition.name);
            Command::new(env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into()))
        }
    };
    command.envs(sandbox.variables(&definition));
    let error = command.exec();
    Err(error).with_context(|| format!("cannot run {}", command.get_program().to_string_lossy()))
}
