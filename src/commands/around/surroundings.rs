//! What a test had around it in a run, started anew for its repetition, and removed after it or kept for a while.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use seagull_domain::{Definition, Hold, ImageUsed};
use seagull_executor::docker::{
    Contained, Engine, Files, Guard, Labels, Origin, Reach, Room, Sandbox, discard, discard_tests,
};
use seagull_executor::secrets::Secrets;

use crate::commands::services::site::{Site, now};
use crate::commands::services::up;
use crate::errors::{say, warn};
use crate::report::around::Story;
use crate::report::had;
use crate::signals::Signals;
use crate::state::State;

/// It ends long before, with whoever repeats the test.
const LEASE: Duration = Duration::from_secs(12 * 3600);

pub struct Surroundings {
    site: Site,
    engine: Engine,
    definition: Arc<Definition>,
    labels: Labels,
    guard: Guard,
    sandbox: Sandbox,
    /// What is used instead of what is called so now, by the names of images.
    pinned: BTreeMap<String, String>,
    hold: Option<Duration>,
    /// The state directory.
    state: PathBuf,
    /// Nobody else starts or removes the environment here meanwhile.
    _work: File,
}

/// The environment of a test that needs an engine, with paths as they are here; none where nothing is needed.
pub fn definition(story: &Story, root: &Path) -> anyhow::Result<Option<Definition>> {
    let found = story.spec.suite.definition(story.environment);
    let found = found.map_err(|why| anyhow!("the test's environment cannot be: {why:?}"))?;
    let found = found.filter(Definition::needs_engine);
    Ok(found.map(|definition| definition.below(root)))
}

impl Surroundings {
    /// Starts them, of the images that the test had; nothing is left of them where that fails or is interrupted. `hold`: how
    /// long, from now on, they stay if the test fails.
    pub async fn start(
        definition: Definition,
        images: &[ImageUsed],
        state: &State,
        hold: Option<Duration>,
    ) -> anyhow::Result<Surroundings> {
        let mut signals = Signals::new()?;
        let definition = Arc::new(definition);
        let site = Site::open(state)?;
        let work = site.work_on(&definition.name)?;
        let engine = Engine::connect().await?.hiding(&Secrets::default(), &definition);
        let labels = up::labels(&site, &definition, now() + hold.unwrap_or(LEASE).as_secs().max(1))?;
        let guard = Guard::start(&labels.lock, &labels.owner, labels.lease, None);
        let guard = guard.context("the guard of the services cannot be started")?;
        let started = async {
            let pinned = pinned(&engine, &site, &definition, images).await?;
            let reach = Reach::of(&definition);
            let sandbox = up::start(&engine, &site, &definition, (&labels, reach), pinned.clone()).await?;
            anyhow::Ok((sandbox, pinned))
        };
        let (sandbox, pinned) = tokio::select! {
            started = started => started?,
            () = signals.next() => {
                discard(&engine, &labels).await?;
                return Err(anyhow!("interrupted"));
            }
        };
        let state = state.directory.canonicalize()?;
        Ok(Surroundings {
            site,
            engine,
            definition,
            labels,
            guard,
            sandbox,
            pinned,
            hold,
            state,
            _work: work,
        })
    }

    /// Where they are, as whoever uses them has it beside the variables of the environment.
    pub fn variables(&self) -> BTreeMap<String, String> {
        let all = self.sandbox.variables(&self.definition).into_iter();
        all.filter(|(name, _)| !self.definition.environment.env.contains_key(name)).collect()
    }

    /// Writes what is `/etc/hosts` for whoever uses them, into a directory of theirs.
    pub fn hosts(&self, directory: &Path) -> anyhow::Result<Option<PathBuf>> {
        Ok(self.sandbox.hosts(directory)?)
    }

    /// What the tests ran in, of the image that it was.
    pub async fn room(&self, files: Files, secrets: Secrets) -> anyhow::Result<Room> {
        let mut definition = Definition::clone(&self.definition);
        if let Some(container) = &mut definition.environment.container
            && let Some(pinned) = self.pinned.get(&container.image)
        {
            container.image.clone_from(pinned);
        }
        let (engine, labels) = (self.engine.clone(), self.labels.clone());
        let (definition, secrets) = (Arc::new(definition), Arc::new(secrets));
        let of = Contained { engine, labels, definition, secrets, hidden: self.state.clone() };
        Ok(Room::open(of, files).await?)
    }

    /// Removes them, or leaves them to their guard for as long as was asked for after a failure.
    pub async fn end(self, failed: bool) -> anyhow::Result<()> {
        if self.hold.is_some() && failed && !self.definition.services.is_empty() {
            discard_tests(&self.engine, &self.labels).await?;
            let Labels { environment, sandbox, lease, .. } = self.labels.clone();
            let hold = Hold { environment, sandbox, until: lease };
            self.site.known.hand_over(&hold)?;
            self.guard.keep().context("the guard of the services has ended")?;
            // Beside tests in an image they publish no ports.
            let (left, had) =
                (up::left(&self.labels), had(&hold, self.definition.environment.container.is_some()));
            say!("the services of {} stay for another {left}: {had}", self.definition.name);
            return Ok(());
        }
        discard(&self.engine, &self.labels).await?;
        self.guard.end();
        Ok(())
    }
}

/// What the images of services are to be used by, where that is not what they are called now. What is not as it was is told.
async fn pinned(
    engine: &Engine,
    site: &Site,
    definition: &Definition,
    images: &[ImageUsed],
) -> anyhow::Result<BTreeMap<String, String>> {
    let mut pinned = BTreeMap::new();
    let wanted = definition.images();
    for used in images.iter().filter(|used| wanted.contains(used.image.as_str())) {
        let ImageUsed { image, id, .. } = used;
        match site.known.origin(engine, used).await? {
            Origin::Same => {}
            Origin::Kept { by, now } => {
                if let Some(now) = now {
                    say!("{image} is {now} by now; the run's {id} is used");
                }
                pinned.insert(image.clone(), by);
            }
            Origin::Gone { why, now } => {
                warn(format!(
                    "{image} was {id} in the run, which is not to be had ({why}); {now} is used instead"
                ));
            }
        }
    }
    Ok(pinned)
}
