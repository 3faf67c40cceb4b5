//! `[setup]`: a command that is run once for the same inputs, into a directory that is kept; tests get what it made.
//!
//! A directory is `NAME` in the state directory's `setups`, named by the digest of all that the command depends on.
//! It is made where it stays, for virtual environments cannot be moved; `.making-NAME` is locked by whoever makes it.

#![expect(
    clippy::disallowed_methods,
    reason = "a shell: commands take real time, disk work is off the runtime"
)]

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use seagull_domain::Setup;
use seagull_executor_core::Settings;
use tokio::time::Instant;

use crate::artifact::Patterns;
use crate::kept::{ARTIFACTS, FILE_BYTES, Pinned, SETUPS, SIZE, Shelf, TREE, same_file};
use crate::remove::remove_tree;
use crate::sandbox::{Children, End, Home, ProcessSandbox, Sandbox, Spec, environment};
use crate::secrets::Secrets;
use crate::tail::{keep_short, tail};

/// Tells the command, and the tests, where the directory is.
pub const VARIABLE: &str = "SEAGULL_SETUP";
/// Another for each revision: what is prepared does not depend on it.
pub const VERSION: &str = "SETUPTOOLS_SCM_PRETEND_VERSION";
/// How often it is looked whether another process is done.
const POLL: Duration = Duration::from_millis(100);
const MAKING: &str = ".making-";
/// What a message may have of the end of the command's log.
const SAID: u64 = 2000;
/// Hexadecimal digits of a name: few, for programs start with the path of their interpreter, which is bounded.
const NAME: usize = 24;

/// What is to be prepared.
#[derive(Clone)]
pub struct Wanted {
    pub setup: Setup,
    /// Where the command runs, and where its inputs are.
    pub directory: PathBuf,
    pub variables: BTreeMap<String, String>,
    /// Variables that what is prepared does not depend on.
    pub passed: BTreeMap<String, String>,
    /// Neither does it depend on these.
    pub secrets: Secrets,
    /// How long it may take.
    pub limit: Duration,
}

/// How long a setup may take: its end leaves a worker time to start within its own limit.
pub fn limit(start: Option<Duration>) -> Duration {
    start.unwrap_or(Settings::default().start_limit) * 9 / 10
}

/// A directory that a setup made, in use as long as this lives.
#[derive(Debug)]
pub struct Prepared {
    pinned: Pinned,
    /// What making it took, if it was not there.
    pub took: Option<Duration>,
}

impl Prepared {
    pub fn directory(&self) -> &Path {
        self.pinned.path()
    }

    /// The interpreter in it, if it is an environment of Python's.
    pub fn python(&self) -> Option<PathBuf> {
        Some(self.directory().join("bin/python")).filter(|python| python.is_file())
    }

    /// What makes it the active environment; `path` is `PATH` as it was.
    pub fn variables(&self, path: Option<&OsStr>) -> Vec<(String, String)> {
        let directory = self.directory();
        let text = directory.to_string_lossy().into_owned();
        let mut variables = vec![(VARIABLE.to_owned(), text.clone())];
        let bin = directory.join("bin");
        if bin.is_dir() {
            let rest = path.map(std::env::split_paths).into_iter().flatten();
            if let Ok(path) = std::env::join_paths(std::iter::once(bin).chain(rest)) {
                variables.push(("PATH".to_owned(), path.to_string_lossy().into_owned()));
            }
        }
        let signs = [("pyvenv.cfg", "VIRTUAL_ENV"), ("conda-meta", "CONDA_PREFIX")];
        let is = signs.into_iter().filter(|(sign, _)| directory.join(sign).exists());
        variables.extend(is.map(|(_, name)| (name.to_owned(), text.clone())));
        variables
    }
}

/// Takes what a person should know while it is so.
pub type Tell = Arc<dyn Fn(String) + Send + Sync>;

/// The setups of an executor.
pub struct Setups {
    shelf: Arc<Shelf>,
    sandboxes: Arc<ProcessSandbox>,
    home: Arc<Home>,
    /// How many commands were started: each has a sandbox of its own.
    started: AtomicU64,
    tell: Tell,
}

impl Setups {
    /// Those of a state directory, of which at most `bound` bytes are kept, together with its artifacts.
    pub fn open(
        state: &Path,
        bound: u64,
        sandboxes: Arc<ProcessSandbox>,
        home: Arc<Home>,
        tell: Tell,
    ) -> io::Result<Setups> {
        let shelf = Shelf::open(&state.join(SETUPS), bound)?.beside(&state.join(ARTIFACTS));
        remove_abandoned(&shelf)?;
        Ok(Setups { shelf: Arc::new(shelf), sandboxes, home, started: AtomicU64::new(0), tell })
    }

    /// The directory, made if it is not there. The error is a sentence with the end of the command's log. May be given
    /// up at any time: then the command is killed.
    pub async fn prepare(&self, wanted: &Wanted) -> Result<Prepared, String> {
        let asked = wanted.clone();
        let name = off_runtime(move || name(&asked)).await?;
        let began = Instant::now();
        loop {
            if let Some(pinned) = self.pin(&name)? {
                return Ok(Prepared { pinned, took: None });
            }
            let Some(making) = Making::claim(&self.shelf, &name).map_err(|error| cannot(&error))? else {
                if began.elapsed() > wanted.limit {
                    return Err(
                        "another process runs the setup command, and has not come to an end; --start-limit sets how \
                         long that is waited for"
                            .to_owned()
                    );
                }
                tokio::time::sleep(POLL).await;
                continue;
            };
            // Another process may have been done in between.
            if self.pin(&name)?.is_some() {
                making.end();
                continue;
            }
            self.make(wanted, &name, making, wanted.limit.saturating_sub(began.elapsed())).await?;
            let pinned =
                self.pin(&name)?.ok_or_else(|| "what the setup made was evicted at once".to_owned())?;
            return Ok(Prepared { pinned, took: Some(began.elapsed()) });
        }
    }

    fn pin(&self, name: &str) -> Result<Option<Pinned>, String> {
        self.shelf.pin(name).map_err(|error| cannot(&error))
    }

    /// Work on the disk goes on when this is given up, and keeps the right to it.
    async fn make(&self, wanted: &Wanted, name: &str, making: Making, limit: Duration) -> Result<(), String> {
        let entry = self.shelf.entry(name);
        let fresh = entry.clone();
        let empty = move || {
            let emptied = remove_tree(&fresh).and_then(|()| fs::create_dir_all(fresh.join(TREE)));
            emptied.map(|()| making).map_err(|error| cannot(&error))
        };
        let making = off_runtime(empty).await?;
        let ran = self.run(wanted, &entry.join(TREE), limit).await;
        let shelf = self.shelf.clone();
        let end = move || {
            let made = ran.and_then(|()| finish(&shelf, &entry).map_err(|error| cannot(&error)));
            if made.is_err() {
                let _ = remove_tree(&entry);
            }
            making.end();
            made
        };
        off_runtime(end).await
    }

    async fn run(&self, wanted: &Wanted, tree: &Path, limit: Duration) -> Result<(), String> {
        let sandbox = format!("setup-{}", self.started.fetch_add(1, Ordering::Relaxed));
        let [directory, temporary] = self.home.sandbox(&sandbox).map_err(|error| cannot(&error))?;
        // It goes too when this is given up.
        let log = tempfile::TempPath::try_from_path(self.home.path().join(format!("{sandbox}.log")))
            .map_err(|error| cannot(&error))?;
        let given = [(VARIABLE.to_owned(), tree.to_string_lossy().into_owned())];
        let passed = wanted.passed.clone().into_iter();
        let secrets = wanted.secrets.variables().iter().cloned();
        let given: Vec<_> = passed.chain(wanted.variables.clone()).chain(secrets).chain(given).collect();
        let spec = Spec {
            command: wanted.setup.run.iter().map(OsString::from).collect(),
            env: environment(std::env::vars_os(), &given, &temporary),
            cwd: wanted.directory.clone(),
            directories: vec![directory, temporary],
            log: log.to_path_buf(),
            shared: None,
            tree: wanted.directory.clone(),
            bounds: None,
            hosts: None,
        };
        let ended = self.end(&spec, limit).await;
        if ended.is_err() {
            let _ = self.home.discard(&sandbox);
        }
        let said = wanted.secrets.hidden_in_end(tail(&log, SAID));
        ended.map_err(|how| failed(&how, said.trim_end()))
    }

    /// Runs to the end. The error says how it ended badly.
    async fn end(&self, spec: &Spec, limit: Duration) -> Result<(), String> {
        let began = Instant::now();
        let handle = self.sandboxes.start(spec).map_err(|error| error.to_string())?;
        (self.tell)("setup: it runs first, and is kept for the same inputs".to_owned());
        let ended = async {
            tokio::select! {
                exit = handle.wait() => exit,
                never = keep_short(&spec.log) => match never {},
            }
        };
        match tokio::time::timeout(limit, ended).await {
            Ok(exit) if exit.end == End::Code(0) => {
                (self.tell)(format!("setup: done in {:.1} s", began.elapsed().as_secs_f64()));
                Ok(())
            }
            Ok(exit) => Err(format!("{} after {:.1} s", exit.end, began.elapsed().as_secs_f64())),
            Err(_) => {
                handle.kill();
                handle.wait().await;
                Err(format!(
                    "killed after {:.0} s, its limit: nine tenths of what --start-limit sets",
                    limit.as_secs_f64()
                ))
            }
        }
    }
}

/// How it ended, and what it said last.
fn failed(how: &str, said: &str) -> String {
    match said {
        "" => format!("setup failed, {how}, and wrote nothing"),
        said => format!("setup failed, {how}:\n{said}"),
    }
}

/// As an executor does it that has this state directory.
pub async fn prepare(state: &Path, wanted: &Wanted) -> Result<Prepared, String> {
    let failed = |error: io::Error| cannot(&error);
    let home = Home::create(Home::PARENT.as_ref()).map_err(failed)?;
    let children = Arc::new(Children::become_subreaper().map_err(failed)?);
    let sandboxes = ProcessSandbox::new(children, home.path()).map_err(failed)?;
    let (sandboxes, home) = (Arc::new(sandboxes), Arc::new(home));
    let setups = Setups::open(state, u64::MAX, sandboxes, home, Arc::new(drop::<String>)).map_err(failed)?;
    setups.prepare(wanted).await
}

/// What an executor with this state directory has prepared, if it has.
pub fn find(state: &Path, wanted: &Wanted) -> Result<Option<Prepared>, String> {
    let name = name(wanted)?;
    let directory = state.join(SETUPS);
    if !directory.join(&name).exists() {
        return Ok(None);
    }
    let shelf = Shelf::open(&directory, u64::MAX).map_err(|error| cannot(&error))?;
    let pinned = shelf.pin(&name).map_err(|error| cannot(&error))?;
    Ok(pinned.map(|pinned| Prepared { pinned, took: None }))
}

fn cannot(error: &io::Error) -> String {
    format!("the setup's directory: {error}")
}

async fn off_runtime<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(error.to_string()))
}

/// The digest of all that the command depends on: itself, where it runs, its inputs' names and contents, and the
/// variables that are set for it.
fn name(wanted: &Wanted) -> Result<String, String> {
    let mut hasher = blake3::Hasher::new_derive_key("seagull setup directory, 1");
    let mut text = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
    };
    text(&wanted.setup.directory);
    text(&wanted.setup.run.len().to_string());
    wanted.setup.run.iter().for_each(|word| text(word));
    for (name, value) in wanted.variables.iter().filter(|(name, _)| *name != VERSION) {
        text(name);
        text(value);
    }
    let inputs = Patterns::parse("", &wanted.setup.inputs)?.find(&wanted.directory);
    for path in inputs.map_err(|error| format!("the setup's inputs: {error}"))?.files.into_keys() {
        let contents = contents(&wanted.directory.join(&path));
        let contents = contents.map_err(|error| format!("the setup's input {}: {error}", path.display()))?;
        hasher
            .update(&(path.as_os_str().len() as u64).to_le_bytes())
            .update(path.as_os_str().as_encoded_bytes());
        hasher.update(contents.as_bytes());
    }
    Ok(hasher.finalize().to_hex()[..NAME].to_owned())
}

/// Of a link that leads to no file, where it leads.
fn contents(path: &Path) -> io::Result<blake3::Hash> {
    if path.is_file() {
        return Ok(blake3::Hasher::new().update_reader(File::open(path)?)?.finalize());
    }
    let leads = fs::read_link(path).unwrap_or_default();
    Ok(blake3::hash(leads.as_os_str().as_encoded_bytes()))
}

/// What was made is complete from here on.
fn finish(shelf: &Shelf, entry: &Path) -> io::Result<()> {
    let bytes = bytes(&entry.join(TREE))?;
    shelf.make_room(bytes)?;
    let draft = entry.join("size.new");
    fs::write(&draft, bytes.to_string())?;
    fs::rename(draft, entry.join(SIZE))
}

fn bytes(directory: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += FILE_BYTES + metadata.len();
        if metadata.is_dir() {
            bytes += self::bytes(&entry.path())?;
        }
    }
    Ok(bytes)
}

/// The right to make an entry. If its holder dies, what it has made is left, for the next one or for whoever opens.
struct Making {
    path: PathBuf,
    _lock: File,
}

impl Making {
    /// None if another has it.
    fn claim(shelf: &Shelf, name: &str) -> io::Result<Option<Making>> {
        let path = shelf.entry(&format!("{MAKING}{name}"));
        let lock = File::options().create(true).append(true).open(&path)?;
        if lock.try_lock().is_err() || !same_file(&lock, &path) {
            return Ok(None);
        }
        Ok(Some(Making { path, _lock: lock }))
    }

    /// The entry is as it is to be.
    fn end(self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// What was not made to the end by a process that is gone.
fn remove_abandoned(shelf: &Shelf) -> io::Result<()> {
    for entry in fs::read_dir(&shelf.directory)? {
        let file = entry?.file_name();
        let Some(name) = file.to_str().and_then(|file| file.strip_prefix(MAKING)) else { continue };
        let Some(making) = Making::claim(shelf, name)? else { continue };
        if !shelf.entry(name).join(SIZE).exists() {
            remove_tree(&shelf.entry(name))?;
        }
        making.end();
    }
    Ok(())
}
