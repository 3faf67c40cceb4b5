//! What is known on this machine of sandboxes: the installation's name, who is at work, and which sandbox is whole.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use seagull_executor::docker::{Engine, Filter, Labels, Object, Outlived, Standing, outlived, standing};

use crate::fresh;
use crate::state::State;

pub const DIRECTORY: &str = "sandboxes";
const INSTALLATION: &str = "installation";

/// The directory `sandboxes` of a state directory.
pub struct Site {
    directory: PathBuf,
    /// Names the state directory on every engine, so that nothing is taken for another's.
    pub installation: String,
}

impl Site {
    pub fn open(state: &State) -> anyhow::Result<Site> {
        let directory = state.directory.join(DIRECTORY);
        let failed = || format!("cannot use {}", directory.display());
        fs::create_dir_all(&directory).with_context(failed)?;
        let path = directory.join(INSTALLATION);
        if !path.exists() {
            let mut draft = tempfile::NamedTempFile::new_in(&directory).with_context(failed)?;
            std::io::Write::write_all(&mut draft, fresh::hex(&fresh::bytes::<8>()?).as_bytes())?;
            match draft.persist_noclobber(&path) {
                Err(error) if error.error.kind() != ErrorKind::AlreadyExists => {
                    return Err(error.error).with_context(failed);
                }
                _ => {}
            }
        }
        let installation = fs::read_to_string(&path).with_context(failed)?.trim().to_owned();
        Ok(Site { directory, installation })
    }

    /// The file that the guard of an owner keeps locked.
    pub fn lock(&self, owner: &str) -> PathBuf {
        self.directory.join(format!("{owner}.lock"))
    }

    /// Nobody else starts or removes an environment here while what is returned lives.
    pub fn work_on(&self, environment: &str) -> anyhow::Result<File> {
        let path = self.directory.join(format!("{environment}.work"));
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
        fs::read_to_string(self.record(environment)).ok()
    }

    pub fn set_whole(&self, environment: &str, sandbox: &str) -> anyhow::Result<()> {
        let path = self.record(environment);
        fs::write(&path, sandbox).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Removes what is known of an environment that is down.
    pub fn forget(&self, environment: &str) {
        let _ = fs::remove_file(self.record(environment));
    }

    fn record(&self, environment: &str) -> PathBuf {
        self.directory.join(format!("{environment}.up"))
    }

    /// All objects of this installation.
    pub async fn objects(&self, engine: &Engine) -> anyhow::Result<Vec<Object>> {
        Ok(engine.list(&Filter::Installation(self.installation.clone())).await?)
    }
}

/// Why an object is to go, if it is. Of this installation's own, a file that is not there belongs to nobody who lives.
pub fn judge(site: Option<&Site>, labels: &Labels, now: u64) -> Option<Outlived> {
    let is_own =
        site.is_some_and(|site| site.installation == labels.installation && is_in(&labels.lock, site));
    let standing = match standing(&labels.lock) {
        Standing::Unknown if is_own => Standing::Dead,
        seen => seen,
    };
    outlived(labels, now, standing)
}

fn is_in(lock: &Path, site: &Site) -> bool {
    lock.parent() == Some(&site.directory)
}

/// In seconds since 1970.
pub fn now() -> u64 {
    fresh::unix_millis() / 1000
}
