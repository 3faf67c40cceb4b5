//! What a state directory knows of its sandboxes: the name that engines have of it, and the files that guards keep locked.
#![expect(clippy::disallowed_methods, reason = "a shell: time enters here")]

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::engine::Engine;
use super::error::Error;
use super::labels::{Filter, Labels};
use super::lease::{Outlived, outlived};
use super::objects::Object;
use super::owner::{Standing, standing};

const INSTALLATION: &str = "installation";

/// The directory of sandboxes in a state directory.
#[derive(Debug, Clone)]
pub struct Site {
    pub directory: PathBuf,
    /// Names the state directory on every engine, so that nothing is taken for another's.
    pub installation: String,
}

impl Site {
    /// Its name in a state directory.
    pub const DIRECTORY: &str = "sandboxes";

    pub fn open(state: &Path) -> io::Result<Site> {
        let directory = state.join(Self::DIRECTORY);
        fs::create_dir_all(&directory)?;
        let path = directory.join(INSTALLATION);
        if !path.exists() {
            let mut draft = tempfile::NamedTempFile::new_in(&directory)?;
            draft.write_all(name()?.as_bytes())?;
            match draft.persist_noclobber(&path) {
                Err(error) if error.error.kind() != ErrorKind::AlreadyExists => return Err(error.error),
                _ => {}
            }
        }
        let installation = fs::read_to_string(&path)?.trim().to_owned();
        Ok(Site { directory, installation })
    }

    /// The file that the guard of an owner keeps locked.
    pub fn lock(&self, owner: &str) -> PathBuf {
        self.directory.join(format!("{owner}.lock"))
    }

    /// All objects of this installation.
    pub async fn objects(&self, engine: &Engine) -> Result<Vec<Object>, Error> {
        engine.list(&Filter::Installation(self.installation.clone())).await
    }

    /// Why an object is to go, if it is. Of this installation's own, a file that is not there belongs to nobody who lives.
    /// `now`: in seconds since 1970.
    pub fn judge(site: Option<&Site>, labels: &Labels, now: u64) -> Option<Outlived> {
        let is_in = |site: &Site| labels.lock.parent() == Some(&site.directory);
        let is_own = site.is_some_and(|site| site.installation == labels.installation && is_in(site));
        let standing = match standing(&labels.lock) {
            Standing::Unknown if is_own => Standing::Dead,
            seen => seen,
        };
        outlived(labels, now, standing)
    }
}

/// In seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// 64 random bits.
fn name() -> io::Result<String> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
