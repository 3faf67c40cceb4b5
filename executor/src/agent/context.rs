//! What an executor has of a run: its spec, its files, and what the indices of its tests mean. Fetched once.
#![expect(clippy::disallowed_methods, reason = "a shell: what the agent's tasks share")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use seagull_domain::{
    AttemptId, Built, BundleContents, Definition, Digest, EnvironmentNumber, Framework, Isolation, Manifest,
    RunId, RunSpec, Surroundings, TestIndex, Workspace,
};
use seagull_executor_core::Settings;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::attachments::Claims;
use super::connection::Connection;
use crate::artifact::{self, Cache, Pinned};
use crate::secrets::Secrets;
use crate::setup::{self, Prepared, Setups, Wanted};

/// What a discovery says of each file instead of a digest, where hooks keep something that is of all of the suite.
const WHOLE: &str = "whole";
const REVISION: &str = "SEAGULL_REV";

/// A run on this executor.
pub(crate) struct Context {
    pub spec: RunSpec,
    /// What is known of files that tests leave.
    pub claims: Claims,
    /// How much was told of processes that tests have left.
    pub told_left: AtomicUsize,
    /// Where its workers start.
    pub directory: PathBuf,
    /// What the setup's directory is relative to.
    root: PathBuf,
    /// Keeps the artifact from being evicted.
    _artifact: Option<Pinned>,
    setup: tokio::sync::Mutex<Option<Attempted>>,
    /// By manifest: the run may have had another one before its discovery ended.
    manifests: Mutex<BTreeMap<Digest, Cell<Ids>>>,
    /// By attempt, and whether they are only anticipated. Forgotten with the run: that of an attempt is only a reference.
    ids: Mutex<BTreeMap<AttemptId, (Arc<Ids>, bool)>>,
}

/// What came of the run's setup, when it was tried last.
enum Attempted {
    Prepared(Arc<Prepared>),
    Failed(Instant, String),
}

/// The ids of a manifest by index.
pub(crate) struct Ids {
    manifest: Manifest,
    /// The index of each file's first test.
    starts: Vec<u32>,
}

impl Ids {
    pub fn new(manifest: Manifest) -> Ids {
        let sums = manifest.files.iter().scan(0, |next, file| {
            let start = *next;
            *next += file.suffixes.len() as u32;
            Some(start)
        });
        Ids { starts: sums.collect(), manifest }
    }

    fn place(&self, test: TestIndex) -> Option<(&str, &str)> {
        let file = self.starts.partition_point(|start| *start <= test.0).checked_sub(1)?;
        let suffix = self.manifest.files[file].suffixes.get((test.0 - self.starts[file]) as usize)?;
        Some((&self.manifest.files[file].path, suffix))
    }

    pub fn get(&self, test: TestIndex) -> Option<String> {
        self.place(test).map(|(path, suffix)| format!("{path}{suffix}"))
    }

    /// The test of an id; for few, for it looks at all.
    fn find(&self, id: &str) -> Option<TestIndex> {
        let mut files = self.manifest.files.iter().zip(&self.starts);
        files.find_map(|(file, start)| {
            let suffix = id.strip_prefix(&*file.path)?;
            let place = file.suffixes.iter().position(|of| *of == suffix)?;
            Some(TestIndex(start + u32::try_from(place).ok()?))
        })
    }

    /// What hooks made of its file's tests, if they changed any, by the file's path.
    fn hooked(&self, test: TestIndex) -> Option<(String, String)> {
        let (path, digest) = self.manifest.hooked.get_key_value(self.place(test)?.0)?;
        Some((path.clone(), digest.clone()))
    }
}

/// What is fetched once, by whoever needs it first.
type Cell<T> = Arc<OnceCell<Arc<T>>>;

/// The runs that an executor knows.
#[derive(Clone)]
pub(crate) struct Contexts {
    connection: Connection,
    cache: Arc<Cache>,
    /// Whether runs may be executed in the client's own tree.
    in_place: bool,
    known: Arc<Mutex<BTreeMap<RunId, Cell<Context>>>>,
}

impl Contexts {
    pub fn new(connection: Connection, cache: Cache, in_place: bool) -> Contexts {
        Contexts { connection, cache: Arc::new(cache), in_place, known: Arc::default() }
    }

    /// The run, with its files in place. The error is a sentence.
    pub async fn get(&self, run: &RunId) -> Result<Arc<Context>, String> {
        let cell = lock(&self.known).entry(run.clone()).or_default().clone();
        cell.get_or_try_init(|| self.fetch(run)).await.cloned()
    }

    /// Forgets runs that nothing here belongs to any more.
    pub fn retain(&self, keep: impl Fn(&RunId) -> bool) {
        lock(&self.known).retain(|run, _| keep(run));
    }

    async fn fetch(&self, run: &RunId) -> Result<Arc<Context>, String> {
        let description =
            self.connection.run(run.clone()).await.map_err(|status| status.message().to_owned())?;
        let spec = description.spec;
        let (root, directory, artifact) = match &spec.workspace {
            Workspace::InPlace { directory, .. } if self.in_place => {
                (PathBuf::from(directory), PathBuf::from(directory), None)
            }
            Workspace::InPlace { .. } => return Err("this executor does not run suites in place".to_owned()),
            Workspace::Artifact { digest, directory } => {
                let pinned = self.unpacked(*digest).await?;
                (pinned.path().to_owned(), pinned.path().join(directory), Some(pinned))
            }
        };
        let (setup, manifests, ids, claims, told_left) = Default::default();
        Ok(Arc::new(Context {
            spec,
            claims,
            told_left,
            directory,
            root,
            _artifact: artifact,
            setup,
            manifests,
            ids,
        }))
    }

    async fn unpacked(&self, digest: Digest) -> Result<Pinned, String> {
        let connection = self.connection.clone();
        let fetch = |mut file: std::fs::File| async move {
            let fetched =
                connection.get_blob(digest, |data| std::io::Write::write_all(&mut file, data)).await;
            fetched.map_err(|status| std::io::Error::other(status.message().to_owned()))
        };
        self.cache.get_or_fetch(digest, fetch).await.map_err(|error| format!("artifact {digest}: {error}"))
    }

    /// Fetches what the indices in an attempt mean; to be called before any of its tests is fed.
    pub async fn learn_ids(
        &self,
        context: &Context,
        attempt: AttemptId,
        contents: &BundleContents,
    ) -> Result<(), String> {
        let cell = lock(&context.manifests).entry(contents.manifest).or_default().clone();
        let ids = cell.get_or_try_init(|| self.fetch_ids(contents.manifest)).await?;
        lock(&context.ids).insert(attempt, (ids.clone(), contents.anticipated));
        Ok(())
    }

    async fn fetch_ids(&self, manifest: Digest) -> Result<Arc<Ids>, String> {
        let mut bytes = Vec::new();
        let take = |data: &[u8]| {
            bytes.extend_from_slice(data);
            Ok(())
        };
        let fetched = self.connection.get_blob(manifest, take).await;
        fetched.map_err(|status| format!("manifest: {}", status.message()))?;
        let manifest = seagull_results::decode_manifest(&bytes).map_err(|error| error.to_string())?;
        Ok(Arc::new(Ids::new(manifest)))
    }
}

impl Context {
    /// What the run's setup made, if it has one. Several workers wait for one attempt, and share its failure; one that
    /// asks later tries again.
    pub async fn prepared(
        &self,
        setups: &Setups,
        secrets: &Secrets,
    ) -> Result<Option<Arc<Prepared>>, String> {
        let Some(setup) = &self.spec.suite.setup else { return Ok(None) };
        let asked = Instant::now();
        let mut attempted = self.setup.lock().await;
        match &*attempted {
            Some(Attempted::Prepared(prepared)) => return Ok(Some(prepared.clone())),
            Some(Attempted::Failed(at, message)) if *at >= asked => return Err(message.clone()),
            _ => {}
        }
        let suite = &self.spec.suite;
        let passed = suite.passed.clone().into_iter().chain(self.revision());
        let wanted = Wanted {
            directory: self.root.join(&setup.directory),
            setup: setup.clone(),
            variables: suite.variables.clone(),
            passed: passed.collect(),
            secrets: secrets.clone(),
            limit: setup::limit(self.spec.start_limit_ms.map(Duration::from_millis)),
        };
        let prepared = setups.prepare(&wanted).await.map(Arc::new);
        *attempted = Some(match &prepared {
            Ok(prepared) => Attempted::Prepared(prepared.clone()),
            Err(message) => Attempted::Failed(Instant::now(), message.clone()),
        });
        prepared.map(Some)
    }

    /// How long a worker may take to start, with its setup.
    pub fn start_limit(&self) -> Duration {
        self.spec.start_limit_ms.map_or(Settings::default().start_limit, Duration::from_millis)
    }

    /// The files that a test may read.
    pub fn tree(&self) -> &Path {
        match &self.spec.workspace {
            Workspace::Artifact { .. } => &self.root,
            Workspace::InPlace { .. } => artifact::in_place(&self.directory),
        }
    }

    /// An environment of the run, with absolute paths of what its services are shown; none where that is nothing.
    pub fn definition(&self, of: Surroundings) -> Result<Option<Definition>, String> {
        let found = self.spec.suite.definition(of.environment);
        let found = found.map_err(|impossible| format!("its environment cannot be: {impossible:?}"))?;
        let sized = |found: Definition| if of.larger { found.larger() } else { found };
        Ok(found.map(|definition| sized(definition).below(&self.root)))
    }

    /// What an environment of the run says of variables.
    pub fn variables_of(&self, number: EnvironmentNumber) -> BTreeMap<String, String> {
        self.spec
            .suite
            .environment(number)
            .map(|(_, environment)| environment.env.clone())
            .unwrap_or_default()
    }

    /// What a sandbox of an environment lives for. A larger one is for one bundle, which is of one test: what another has left
    /// there would count as what that takes.
    pub fn lives_for(&self, of: Surroundings) -> Isolation {
        let definition = self.spec.suite.definition(of.environment).ok().flatten();
        let own = definition.map_or(Isolation::Slot, |definition| definition.isolation());
        if of.larger { own.max(Isolation::Bundle) } else { own }
    }

    /// What runs the tests, with absolute paths.
    pub fn framework(&self) -> Framework {
        let mut framework = self.spec.suite.framework.clone();
        if let Framework::Built(Built { list, tree }) = &mut framework {
            for path in [list, tree] {
                *path = self.root.join(&*path).to_string_lossy().into_owned();
            }
        }
        framework
    }

    /// The variable that says which commit the files are of.
    pub fn revision(&self) -> Option<(String, String)> {
        let rev = &self.spec.rev;
        (!rev.is_empty()).then(|| (REVISION.to_owned(), rev.clone()))
    }

    /// The id of a test of an attempt, and what hooks made of its file's tests.
    pub fn id(&self, attempt: AttemptId, test: TestIndex) -> Option<(String, Option<(String, String)>)> {
        let ids = lock(&self.ids).get(&attempt)?.0.clone();
        Some((ids.get(test)?, ids.hooked(test)))
    }

    /// The test of an id by an attempt's manifest.
    pub fn test(&self, attempt: AttemptId, id: &str) -> Option<TestIndex> {
        let ids = lock(&self.ids).get(&attempt)?.0.clone();
        ids.find(id)
    }

    /// How many tests there are by an attempt's manifest.
    pub fn tests(&self, attempt: AttemptId) -> u32 {
        let ids = lock(&self.ids);
        ids.get(&attempt).map_or(0, |(ids, _)| u32::try_from(ids.manifest.len()).unwrap_or(u32::MAX))
    }

    /// Whether hooks of the suite keep something that is of all of it, so that a worker has to collect all of it.
    pub fn is_of_the_whole(&self, attempt: AttemptId) -> bool {
        let ids = lock(&self.ids);
        let manifest = ids.get(&attempt).map(|(ids, _)| &ids.manifest);
        manifest.is_some_and(|manifest| manifest.hooked.values().any(|digest| digest == WHOLE))
    }

    /// What a worker has to be found with, without which the attempt is not to be begun: what is only anticipated of
    /// another one, it says nothing of.
    pub fn needs(&self, attempt: AttemptId) -> Option<String> {
        let ids = lock(&self.ids);
        let (ids, _) = ids.get(&attempt).filter(|(_, anticipated)| *anticipated)?;
        Some(ids.manifest.found_with.clone()).filter(|found_with| !found_with.is_empty())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use seagull_domain::FileTests;

    use super::*;

    #[test]
    fn ids_are_found_by_index_across_files() {
        let file = |path: &str, suffixes: &[&str]| FileTests {
            path: path.into(),
            suffixes: suffixes.iter().map(|s| (*s).to_owned()).collect(),
        };
        let files = vec![file("a", &["::x", "::y"]), file("b", &[]), file("c", &["::z"])];
        let ids = Ids::new(Manifest { files, ..Manifest::default() });
        let found: Vec<_> = (0..4).map(|test| ids.get(TestIndex(test))).collect();
        let indices = ["a::x", "c::z", "c::x", "a", "d::z"].map(|id| ids.find(id));
        assert_eq!(indices, [Some(TestIndex(0)), Some(TestIndex(2)), None, None, None]);
        assert_eq!(found, [Some("a::x".into()), Some("a::y".into()), Some("c::z".into()), None]);
    }
}
