//! Starting a worker: what its tests need, its sandbox with the framework's process in it, and how that is configured.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use seagull_domain::{Definition, InfraCause, SlotNumber, Surroundings, Workspace};
use seagull_executor_core::{Event, Start, WorkerEvent};
use tokio::net::UnixListener;

use super::adapter::{Configure, Role};
use super::ahead::Ahead;
use super::attachments::{Leavings, NOW};
use super::context::Context;
use super::program::{command, whole_environment};
use super::worker::{Launched, Shared, Voice};
use crate::artifact::Patterns;
use crate::docker::{self, Contained, Held, Holder, INSIDE, Services, UPPER};
use crate::remove::remove_tree;
use crate::sandbox::{Handle, Home, Sandbox, Spec};
use crate::secrets::Secrets;
use crate::setup::Prepared;

/// Bytes of text kept for one test.
const OUTPUT_LIMIT: usize = 1 << 20;

/// How often a sandbox is made for a worker, of which something that others have used cannot be made clean.
const TRIES: u32 = 2;

/// What there is of a worker that starts, for whoever gives up waiting for it.
#[derive(Default)]
pub(super) struct Begun {
    pub awaits: Awaits,
    /// What is to be removed after the worker, also if it does not start.
    pub held: Option<Held>,
}

/// What a worker that starts waits for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Awaits {
    #[default]
    Files,
    /// A sandbox that is made for it ahead.
    Ahead,
    Setup,
    Engine,
    /// The services of what is held.
    Services,
    /// What others have left in what it shares is to go.
    Reset,
}

impl Begun {
    pub fn awaits_ahead(&self) -> bool {
        matches!(self.awaits, Awaits::Ahead)
    }

    /// Why it has not started.
    pub async fn told(&self) -> (InfraCause, String) {
        let told = match (self.awaits, &self.held) {
            (Awaits::Files, _) => {
                let told = "the run and its files are not there".to_owned();
                return (InfraCause::ArtifactUnavailable, told);
            }
            (Awaits::Ahead, _) => "the sandbox that is made for it ahead is not ready".to_owned(),
            (Awaits::Setup, _) => "its setup is not done".to_owned(),
            (Awaits::Services, Some(held)) => held.awaited().await,
            (Awaits::Engine | Awaits::Services, _) => "the Docker engine does not answer".to_owned(),
            (Awaits::Reset, _) => "what it shares with others is not clean".to_owned(),
        };
        (InfraCause::SandboxFailed, told)
    }
}

/// `ahead`: a sandbox that was made for it.
pub(super) async fn launch(
    shared: Shared,
    start: Start,
    ahead: &mut Option<Ahead>,
    begun: &mut Begun,
) -> Result<Launched, (InfraCause, String)> {
    let context = shared.contexts.get(&start.run).await;
    let context = context.map_err(|message| (InfraCause::ArtifactUnavailable, message))?;
    let (slot, worker, limit) = (start.slot, start.worker, context.start_limit());
    let _ = shared.events.send(Event::Worker { slot, worker, event: WorkerEvent::StartLimit(limit) }).await;
    let found = match ahead {
        Some(ahead) => {
            begun.awaits = Awaits::Ahead;
            ahead.ready().await
        }
        None => Ok(None),
    };
    *ahead = None;
    let mut found = found.map_err(|message| (InfraCause::SandboxFailed, message))?;
    let mut tries = 0;
    loop {
        let lodging = match found.take() {
            Some((lodging, its)) => {
                begun.held = its;
                lodging
            }
            None => {
                tries += 1;
                let name = format!("{}-{}", name(&start), start.worker.0);
                let (context, surroundings) = (context.clone(), start.surroundings);
                let wanted = Wanted { context, surroundings, controller: start.controller, name };
                let lodged = lodge(&shared, wanted, begun).await;
                lodged.map_err(|why| (InfraCause::SandboxFailed, why.message))?
            }
        };
        begun.awaits = Awaits::Reset;
        let Err(error) = lodging.greet(start.number).await else {
            if let Some(services) = &lodging.given.services {
                let event = WorkerEvent::Images(services.images());
                let _ = shared.events.send(Event::Worker { slot, worker, event }).await;
            }
            return Ok(lodging.launched(shared, start));
        };
        lodging.end().await;
        if let Some(held) = begun.held.take() {
            held.remove().await;
        }
        if tries == TRIES {
            return Err((InfraCause::SandboxFailed, error));
        }
        shared.keeper.tell_of_reset(&name(&start), &error);
    }
}

/// A sandbox for a worker.
pub(super) struct Wanted {
    pub context: Arc<Context>,
    pub surroundings: Surroundings,
    /// One runs no tests.
    pub controller: bool,
    /// What no other of this executor has.
    pub name: String,
}

/// A sandbox with the framework's process in it, which waits to be told what it is.
pub(super) struct Lodging {
    context: Arc<Context>,
    given: Given,
    handle: Handle,
    listener: UnixListener,
    log: PathBuf,
    temporary: PathBuf,
    /// Where its tests leave files.
    left: PathBuf,
}

/// Why there is no sandbox.
#[derive(Debug)]
pub(super) struct Unlodged {
    pub message: String,
    /// Services had all their time to be ready: whoever waits for that again waits as long, and most likely for nothing.
    pub had_time: bool,
}

impl From<String> for Unlodged {
    fn from(message: String) -> Unlodged {
        Unlodged { message, had_time: false }
    }
}

impl From<docker::Error> for Unlodged {
    fn from(error: docker::Error) -> Unlodged {
        let had_time = matches!(error, docker::Error::NotReady { .. });
        Unlodged { message: error.to_string(), had_time }
    }
}

/// Makes one; nothing is left of it on this machine if that fails.
pub(super) async fn lodge(shared: &Shared, wanted: Wanted, begun: &mut Begun) -> Result<Lodging, Unlodged> {
    let context = &wanted.context;
    let secrets = Arc::new(Secrets::find(&context.spec.suite.secrets)?);
    let definition = needed(context, &wanted)?;
    let in_image = definition.as_ref().is_some_and(|definition| definition.environment.container.is_some());
    let prepared = match in_image {
        // An image has all that is to be prepared.
        true => None,
        false => {
            begun.awaits = Awaits::Setup;
            context.prepared(&shared.setups, &secrets).await?
        }
    };
    let services = match definition {
        Some(definition) => {
            let wanted = docker::Wanted {
                definition: Arc::new(definition),
                run: context.spec.id.clone(),
                secrets: secrets.clone(),
                name: wanted.name.clone(),
                files: context.clone(),
                hold: context.spec.hold_ms.map(Duration::from_millis),
            };
            Some(services(shared, wanted, begun).await?)
        }
        None => None,
    };
    let held = &begun.held;
    let contained = held.as_ref().filter(|_| in_image).map(Held::contained);
    let holder = held.as_ref().and_then(Held::holder);
    let given = Given { secrets, prepared, services, contained, holder };
    let name = wanted.name.clone();
    Ok(begin(shared, wanted, given).inspect_err(|_| discard(&shared.home, &name))?)
}

/// What its tests need of an engine, if anything.
fn needed(context: &Context, wanted: &Wanted) -> Result<Option<Definition>, String> {
    let definition = context.definition(wanted.surroundings)?.filter(|_| !wanted.controller);
    Ok(definition.filter(Definition::needs_engine))
}

/// What its tests need is up before it starts.
async fn services(
    shared: &Shared,
    wanted: docker::Wanted,
    begun: &mut Begun,
) -> Result<Services, docker::Error> {
    begun.awaits = Awaits::Engine;
    let sandbox = shared.keeper.hold(wanted).await;
    begun.awaits = Awaits::Services;
    let held = begun.held.insert(sandbox?);
    held.start().await
}

impl Lodging {
    /// Whether it can still be lived in.
    pub async fn is_sound(&self) -> bool {
        let broken = match &self.given.services {
            Some(services) => services.broken().await.is_some(),
            None => false,
        };
        !broken && !self.handle.has_ended()
    }

    /// What others have left in what it shares with them goes. The error is a sentence.
    async fn greet(&self, number: SlotNumber) -> Result<(), String> {
        match &self.given.services {
            Some(services) => services.greet(number).await.map_err(|error| error.to_string()),
            None => Ok(()),
        }
    }

    /// Nobody is going to live in it.
    pub async fn end(self) {
        self.handle.kill();
        self.handle.wait().await;
        let _ = std::fs::remove_file(&self.log);
        let _ = remove_tree(&self.left);
    }

    fn launched(self, shared: Shared, start: Start) -> Launched {
        let Lodging { context, given, handle, listener, log, temporary, left } = self;
        let scratch = scratch(&shared, &context, &start, &given, &temporary);
        let configure = configure(&context, &start, &given, &scratch);
        let leavings = leavings(&context, &start, given.contained.is_some(), (left, &temporary));
        let own = (log.clone(), leavings, handle.meter().clone());
        let voice = Voice::new(shared, start, context, &given, own);
        Launched { voice, handle, listener, log, configure, spared: false }
    }
}

/// What a person knows it by.
pub(super) fn name(start: &Start) -> String {
    if start.controller { "controller".to_owned() } else { format!("gw{}", start.number) }
}

/// What an executor adds to what a run says of its environment.
pub(super) struct Given {
    pub secrets: Arc<Secrets>,
    pub prepared: Option<Arc<Prepared>>,
    pub services: Option<Services>,
    /// Where its tests run, if not in a process on this machine.
    pub contained: Option<Contained>,
    /// What its sandbox is kept by after a failure, if it is to be.
    pub holder: Option<Holder>,
}

/// What a container's tests write to the tree is in an overlay of that.
fn leavings(
    context: &Context,
    start: &Start,
    contained: bool,
    (left, temporary): (PathBuf, &Path),
) -> Leavings {
    let inside = context.directory.strip_prefix(context.tree()).unwrap_or(Path::new(""));
    let tree = if contained { temporary.join(UPPER).join(inside) } else { context.directory.clone() };
    // They were looked at when the run was asked for.
    let patterns = Patterns::parse("", &context.spec.suite.attachments).unwrap_or_default();
    Leavings {
        directory: left,
        tree,
        patterns,
        run: start.run.clone(),
        worker: start.worker,
        began: SystemTime::now(),
    }
}

/// Nobody else removes the directories and the log of what does not start.
fn discard(home: &Home, name: &str) {
    let _ = std::fs::remove_file(log_path(home, name));
    let _ = remove_tree(&left_path(home, name));
    if let Err(error) = home.discard(name) {
        let _ = writeln!(
            std::io::stderr(),
            "warning: the sandbox {name}, which did not start, cannot be removed: {error}"
        );
    }
}

/// Beside the sandbox's directory.
fn log_path(home: &Home, name: &str) -> PathBuf {
    home.path().join(format!("{name}.log"))
}

/// Likewise: it is looked into when the sandbox is gone.
fn left_path(home: &Home, name: &str) -> PathBuf {
    home.path().join(format!("{name}.left"))
}

fn begin(shared: &Shared, wanted: Wanted, given: Given) -> Result<Lodging, String> {
    let Wanted { context, surroundings, name, controller } = wanted;
    let definition = context.definition(surroundings)?.filter(|_| !controller);
    let io = |error: std::io::Error| format!("cannot make sandbox {name}: {error}");
    let [directory, temporary] = shared.home.sandbox(&name).map_err(io)?;
    let listener = UnixListener::bind(directory.join("socket")).map_err(io)?;
    let (log, left) = (log_path(&shared.home, &name), left_path(&shared.home, &name));
    std::fs::create_dir_all(left.join(NOW)).map_err(io)?;
    let on_machine = given.services.as_ref().filter(|_| given.contained.is_none());
    let hosts = on_machine.map(|services| services.hosts(&directory)).transpose().map_err(io)?.flatten();
    let spec = Spec {
        command: command(&context, &given, &directory, &log)?,
        env: whole_environment(&context, surroundings.environment, &given, (&temporary, &left.join(NOW))),
        cwd: context.directory.clone(),
        directories: vec![directory, temporary.clone()],
        log: log.clone(),
        shared: Some(left.clone()),
        tree: context.tree().to_owned(),
        bounds: definition.and_then(|definition| definition.environment.bounds),
        hosts,
    };
    let sandbox: &dyn Sandbox = match &given.contained {
        Some(contained) => contained,
        None => &*shared.sandboxes,
    };
    let handle = sandbox.start(&spec).map_err(|error| error.to_string())?;
    Ok(Lodging { context, given, handle, listener, log, temporary, left })
}

/// Where a framework has its temporary files, and its cache, which in a container goes with it.
struct Scratch {
    basetemp: PathBuf,
    cache: PathBuf,
}

fn scratch(shared: &Shared, context: &Context, start: &Start, given: &Given, temporary: &Path) -> Scratch {
    let inside = Path::new(INSIDE);
    match given.contained {
        Some(_) => Scratch { basetemp: inside.join("basetemp"), cache: inside.join("cache") },
        None => Scratch {
            basetemp: temporary.join("basetemp"),
            cache: cache_directory(&shared.caches, &context.spec.project, &name(start)),
        },
    }
}

fn configure(context: &Context, start: &Start, given: &Given, scratch: &Scratch) -> Configure {
    let image = given.contained.as_ref().map(|contained| contained.image().to_owned());
    let is_apart = start.discover && image.is_none();
    Configure {
        args: context.spec.arguments.clone(),
        slot: start.number.0,
        slots: start.slots,
        run: context.spec.id.to_string(),
        seed: context.spec.seed,
        basetemp: scratch.basetemp.display().to_string(),
        cache_dir: scratch.cache.display().to_string(),
        discover: start.discover,
        tests: context.tests(start.attempt),
        whole: start.whole || context.is_of_the_whole(start.attempt),
        output_limit: OUTPUT_LIMIT,
        framework: context.framework(),
        role: start.controller.then_some(Role::Controller),
        controller: context.spec.suite.controller,
        spread: matches!(context.spec.workspace, Workspace::Artifact { .. }),
        elsewhere: context.spec.suite.first_image().filter(|_| is_apart),
        image,
    }
}

/// The framework's cache for a slot's number, which one live worker of a run has, also among executors that share a
/// state directory; or for controllers.
fn cache_directory(caches: &Path, project: &str, slot: &str) -> PathBuf {
    let safe = |c: char| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '_' };
    let name: String = project.chars().take(40).map(safe).collect();
    let hash = blake3::hash(project.as_bytes()).to_hex();
    caches.join(format!("{name}-{}", &hash[..12])).join(slot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_project_has_caches_of_its_own_whatever_its_name() {
        let directory = |project| cache_directory(Path::new("/c"), project, "gw3");
        let name = directory("shop/unit tests").display().to_string();
        assert!(name.starts_with("/c/shop_unit_tests-") && name.ends_with("/gw3"), "{name}");
        assert_ne!(directory("shop/unit_tests"), directory("shop/unit tests"));
        for odd in ["", "..", &"ü".repeat(128)] {
            assert_eq!(directory(odd).components().count(), 4);
        }
    }
}
