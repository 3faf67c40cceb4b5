//! What is known on this machine of sandboxes: the installation's name, who is at work, and which sandbox is whole.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use seagull_executor::docker::{self, Engine, Labels, Object};

use crate::fresh;
use crate::state::State;

/// The directory `sandboxes` of a state directory.
pub struct Site {
    pub known: docker::Site,
}

impl Site {
    pub fn open(state: &State) -> anyhow::Result<Site> {
        let known = docker::Site::open(&state.directory);
        let failed = || format!("cannot use {}", state.directory.join(docker::Site::DIRECTORY).display());
        Ok(Site { known: known.with_context(failed)? })
    }

    /// Nobody else starts or removes an environment here while what is returned lives.
    pub fn work_on(&self, environment: &str) -> anyhow::Result<File> {
        let path = self.known.directory.join(format!("{environment}.work"));
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.with_context(|| format!("cannot open {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(anyhow!(
                "another seagull services is at work on {environment}\nhint: wait for it, or interrupt it with Ctrl-C"
            )),
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock {}", path.display()))
            }
        }
    }

    /// The sandbox of an environment that was up and ready.
    pub fn whole(&self, environment: &str) -> Option<String> {
        fs::read_to_string(self.file_of_whole(environment)).ok()
    }

    pub fn set_whole(&self, environment: &str, sandbox: &str) -> anyhow::Result<()> {
        let path = self.file_of_whole(environment);
        fs::write(&path, sandbox).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Removes what is known of what is down, by what it was called.
    pub fn forget(&self, name: &str) {
        let _ = fs::remove_file(self.file_of_whole(name));
        self.known.forget_held(name);
    }

    /// What a person calls the sandbox of an object: its environment, or its own name where a failed test has left it.
    pub fn called<'l>(&self, labels: &'l Labels) -> &'l str {
        if self.known.is_held(&labels.sandbox) { &labels.sandbox } else { &labels.environment }
    }

    fn file_of_whole(&self, environment: &str) -> PathBuf {
        self.known.directory.join(format!("{environment}.up"))
    }

    /// All objects of this installation that persons have started, or that were left to them. Executors see to their own.
    pub async fn objects(&self, engine: &Engine) -> anyhow::Result<Vec<Object>> {
        let all = self.known.objects(engine).await?.into_iter();
        Ok(all.filter(|object| self.known.is_a_persons(&object.labels)).collect())
    }
}

/// In seconds since 1970.
pub fn now() -> u64 {
    fresh::unix_millis() / 1000
}
