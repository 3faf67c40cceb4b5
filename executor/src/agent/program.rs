//! What a worker's process begins with: its command, and its variables.

use std::ffi::OsString;
use std::path::Path;

use seagull_domain::{EnvironmentNumber, Framework};

use super::context::Context;
use super::launch::Given;
use crate::docker::{INSIDE, Services};
use crate::interpreter;
use crate::sandbox::{self, own_program};
use crate::setup::Prepared;

/// The adapter's files, which BOOTSTRAP executes.
const ADAPTER: [(&str, &str); 14] = [
    ("held.py", include_str!("../pytest/held.py")),
    ("channel.py", include_str!("../pytest/channel.py")),
    ("describe.py", include_str!("../pytest/describe.py")),
    ("hooks.py", include_str!("../pytest/hooks.py")),
    ("collection.py", include_str!("../pytest/collection.py")),
    ("order.py", include_str!("../pytest/order.py")),
    ("trouble.py", include_str!("../pytest/trouble.py")),
    ("options.py", include_str!("../pytest/options.py")),
    ("coverage.py", include_str!("../pytest/coverage.py")),
    ("attachments.py", include_str!("../pytest/attachments.py")),
    ("takeover.py", include_str!("../pytest/takeover.py")),
    ("worker.py", include_str!("../pytest/worker.py")),
    ("controller.py", include_str!("../pytest/controller.py")),
    ("process.py", include_str!("../pytest/process.py")),
];
/// What a container begins with.
const FIRST: &str = include_str!("../docker/first.py");
const BOOTSTRAP: &str = include_str!("../pytest/bootstrap.py");

/// Tells tests where they may leave files.
pub(crate) const ATTACHMENTS: &str = "SEAGULL_ATTACHMENTS";

/// What speaks the adapter protocol for the suite's framework.
pub(super) fn command(
    context: &Context,
    given: &Given,
    directory: &Path,
    log: &Path,
) -> Result<Vec<OsString>, String> {
    let suite = &context.spec.suite;
    if suite.framework != Framework::Pytest {
        let own = own_program().map_err(|error| format!("this program cannot be found: {error}"))?;
        return Ok(vec![own.into(), "adapt".into(), directory.into()]);
    }
    write_adapter(&directory.join("adapter"))
        .map_err(|error| format!("cannot write the adapter: {error}"))?;
    if let Some(contained) = &given.contained {
        let text = format!("{FIRST}\n{BOOTSTRAP}");
        let secrets = given.secrets.variables().iter().map(|(name, _)| name.into());
        let command = [contained.python().into(), "-c".into(), text.into(), directory.into(), log.into()];
        return Ok(command.into_iter().chain(secrets).collect());
    }
    let python = match given.prepared.as_deref().and_then(Prepared::python) {
        Some(python) => python,
        None => interpreter::find(&suite.python, &context.directory).map_err(|e| e.to_string())?,
    };
    Ok(vec![python.into(), "-c".into(), BOOTSTRAP.into(), directory.into()])
}

fn write_adapter(directory: &Path) -> std::io::Result<()> {
    std::fs::create_dir(directory)?;
    ADAPTER.iter().try_for_each(|(name, source)| std::fs::write(directory.join(name), source))
}

/// What a worker has beside this process's own: one hash seed for all workers of a run where Python may be, so that ids
/// made from sets are the same in each; the run's revision; what the run says; what was prepared, before whatever PATH
/// that leaves; and what its environment says, and where its services are. Secrets win over all.
fn variables(context: &Context, environment: EnvironmentNumber, given: &Given) -> Vec<(String, String)> {
    let suite = &context.spec.suite;
    let mut variables = Vec::new();
    if suite.framework.may_be_python() {
        let hash_seed = std::env::var("PYTHONHASHSEED").unwrap_or_else(|_| context.spec.seed.to_string());
        variables.push(("PYTHONHASHSEED".to_owned(), hash_seed));
    }
    variables.extend(context.revision());
    variables.extend(suite.passed.clone());
    variables.extend(suite.variables.clone());
    if let Some(prepared) = &given.prepared {
        let said = variables.iter().rfind(|(name, _)| name == "PATH").map(|(_, path)| OsString::from(path));
        variables.extend(prepared.variables(said.or_else(|| std::env::var_os("PATH")).as_deref()));
    }
    variables.extend(context.variables_of(environment));
    variables.extend(given.services.iter().flat_map(Services::variables));
    variables
}

/// In a container, what an engine may know: secrets are files there.
pub(super) fn whole_environment(
    context: &Context,
    environment: EnvironmentNumber,
    given: &Given,
    (temporary, left): (&Path, &Path),
) -> Vec<(OsString, OsString)> {
    let mut variables = variables(context, environment, given);
    variables.push((ATTACHMENTS.to_owned(), left.display().to_string()));
    if given.contained.is_none() {
        let all = [variables, given.secrets.variables().to_vec()].concat();
        return sandbox::environment(std::env::vars_os(), &all, temporary);
    }
    // Whoever it is there may have no home.
    let home = ("HOME".to_owned(), INSIDE.to_owned());
    [home].into_iter().chain(variables).map(|(name, value)| (name.into(), value.into())).collect()
}
