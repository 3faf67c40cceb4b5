//! The state directory: where it is, and the token in it.

use std::env;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use seagull_domain::RunId;
use seagull_proto::Token;

use crate::errors::{say, usage};
use crate::fresh;
use crate::place::Place;

const NAME: &str = ".seagull";
const TOKEN: &str = "token";
/// What every state directory has once something ran.
const RUNS: &str = "runs";

#[derive(Debug)]
pub struct State {
    pub directory: PathBuf,
}

impl State {
    /// The directory that was asked for; else `.seagull` where the suite is, or, if that cannot be used, one of the
    /// user's own, which is said.
    pub fn open(given: Option<&Path>, place: &Place) -> anyhow::Result<State> {
        if let Some(given) = given {
            let directory = absolute(given);
            let failed = || {
                format!("cannot use the state directory {}\nhint: --state names another", directory.display())
            };
            prepare(&directory).with_context(failed)?;
            // pytest takes a cache directory with `..` in it for one that leads out of itself.
            let directory = directory.canonicalize().with_context(failed)?;
            return Ok(State { directory });
        }
        let suite = suite(place);
        let directory = suite.join(NAME);
        let why = match network_file_system(suite) {
            Some(kind) => format!("it is on a network file system ({kind})"),
            None => match prepare(&directory) {
                Ok(()) => return Ok(State { directory }),
                Err(error) => error.to_string(),
            },
        };
        let elsewhere = users_own(suite).with_context(|| {
            format!("cannot use {}: {why}\nhint: name a directory with --state", directory.display())
        })?;
        say!("state is kept in {}: {} cannot be used, {why}", elsewhere.display(), directory.display());
        let failed = || format!("cannot use {}\nhint: name a directory with --state", elsewhere.display());
        prepare(&elsewhere).with_context(failed)?;
        Ok(State { directory: elsewhere })
    }

    /// The directory that [`State::open`] would choose, if a run has made it; nothing is made.
    pub fn find(given: Option<&Path>, place: &Place) -> Option<State> {
        State::having(RUNS, given, place)
    }

    /// The directory that [`State::open`] would choose, if this is in it; nothing is made.
    pub fn having(name: &str, given: Option<&Path>, place: &Place) -> Option<State> {
        let suite = suite(place);
        let places = match given {
            Some(given) => vec![absolute(given)],
            None => [Some(suite.join(NAME)), users_own(suite).ok()].into_iter().flatten().collect(),
        };
        let directory = places.into_iter().find(|directory| directory.join(name).is_dir())?;
        Some(State { directory })
    }

    /// Where what a run comes to is kept.
    pub fn journal(&self, run: &RunId) -> PathBuf {
        self.directory.join(RUNS).join(run.as_str())
    }

    pub fn token_file(&self) -> PathBuf {
        self.directory.join(TOKEN)
    }

    /// The token, made when it is first needed.
    pub fn token(&self) -> anyhow::Result<Token> {
        let path = self.token_file();
        if !path.exists() {
            self.make_token(&path).with_context(|| format!("cannot make {}", path.display()))?;
        }
        read_token(&path)
    }

    /// The file appears whole, and never replaces one that another process made at the same time.
    fn make_token(&self, path: &Path) -> anyhow::Result<()> {
        let draft = tempfile::Builder::new().prefix("token-").make_in(&self.directory, |path| {
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
        })?;
        writeln!(draft.as_file(), "{}", fresh::secret()?)?;
        draft.as_file().sync_all()?;
        match draft.persist_noclobber(path) {
            Err(error) if error.error.kind() != ErrorKind::AlreadyExists => Err(error.error.into()),
            _ => Ok(()),
        }
    }
}

/// What the state of a place is kept beside.
fn suite(place: &Place) -> &Path {
    place.config.directory().or(place.repository.as_deref()).unwrap_or(&place.directory)
}

fn absolute(given: &Path) -> PathBuf {
    std::path::absolute(given).unwrap_or_else(|_| given.to_owned())
}

/// Reads a token from a file.
pub fn read_token(path: &Path) -> anyhow::Result<Token> {
    let hint = "hint: the scheduler keeps its token in the file `token` of its state directory";
    let text = fs::read_to_string(path)
        .map_err(|error| usage(format!("cannot read the token file {}: {error}\n{hint}", path.display())))?;
    text.parse().map_err(|error| usage(format!("{}: {error}\n{hint}", path.display())))
}

/// Makes the directory, for its owner alone and out of git's sight, and tries whether it can be written to.
fn prepare(directory: &Path) -> io::Result<()> {
    directory.parent().map_or(Ok(()), fs::create_dir_all)?;
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if !directory.is_dir() => return Err(error),
        _ => {}
    }
    tempfile::NamedTempFile::new_in(directory)?;
    let ignore = OpenOptions::new().write(true).create_new(true).open(directory.join(".gitignore"));
    match ignore {
        Ok(mut file) => file.write_all(b"*\n"),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// A directory for the suite under the user's state directory.
fn users_own(suite: &Path) -> anyhow::Result<PathBuf> {
    let set = |name| env::var_os(name).filter(|value: &OsString| Path::new(value).is_absolute());
    let base = set("XDG_STATE_HOME").map(PathBuf::from);
    let base = base.or_else(|| set("HOME").map(|home| Path::new(&home).join(".local/state")));
    let base = base.context("neither XDG_STATE_HOME nor HOME is set")?;
    let name = suite.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let hash = blake3::hash(suite.as_os_str().as_encoded_bytes());
    Ok(base.join("seagull").join(format!("{name}-{}", fresh::hex(&hash.as_bytes()[..6]))))
}

/// The kind of network file system that a directory is on: locks and the journal cannot be trusted there.
#[cfg(target_os = "linux")]
fn network_file_system(directory: &Path) -> Option<&'static str> {
    // From statfs(2).
    const KINDS: [(i64, &str); 7] = [
        (0x6969, "nfs"),
        (0x517b, "smb"),
        (0xfe53_4d42, "smb2"),
        (0xff53_4d42, "cifs"),
        (0x0102_1997, "9p"),
        (0x00c3_6400, "ceph"),
        (0x5346_414f, "afs"),
    ];
    let found = nix::sys::statfs::statfs(directory).ok()?.filesystem_type();
    KINDS.into_iter().find(|(number, _)| nix::sys::statfs::FsType(*number) == found).map(|(_, name)| name)
}

#[cfg(not(target_os = "linux"))]
fn network_file_system(_: &Path) -> Option<&'static str> {
    None
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn state_is_beside_the_settings_else_at_the_top_else_here() {
        let root = tempfile::tempdir().unwrap();
        let suite = root.path().join("repo/suite/deep");
        fs::create_dir_all(&suite).unwrap();
        let directory = || State::open(None, &Place::at(suite.clone()).unwrap()).unwrap().directory;
        assert_eq!(directory(), suite.join(NAME));
        fs::create_dir(root.path().join("repo/.git")).unwrap();
        assert_eq!(directory(), root.path().join("repo/.seagull"));
        fs::write(root.path().join("repo/suite/seagull.toml"), "").unwrap();
        assert_eq!(directory(), root.path().join("repo/suite/.seagull"));
        assert_eq!(fs::read_to_string(directory().join(".gitignore")).unwrap(), "*\n");
        let given = root.path().join("else/where");
        let state = State::open(Some(&given), &Place::at(suite).unwrap()).unwrap();
        assert_eq!(state.directory, given);
        assert_eq!(fs::read_dir(given).unwrap().count(), 1);
    }

    #[test]
    fn what_is_made_is_for_its_owner_and_what_was_there_stays_as_it_was() {
        let root = tempfile::tempdir().unwrap();
        let place = Place::at(root.path().to_owned()).unwrap();
        let mode = |directory: &Path| fs::metadata(directory).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&State::open(None, &place).unwrap().directory), 0o700);
        let given = root.path().join("given");
        fs::create_dir(&given).unwrap();
        fs::set_permissions(&given, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(mode(&State::open(Some(&given), &place).unwrap().directory), 0o755);
    }

    #[test]
    fn a_directory_that_was_asked_for_is_used_or_refused() {
        let root = tempfile::tempdir().unwrap();
        let roundabout = root.path().join("suite/../state");
        fs::create_dir(root.path().join("suite")).unwrap();
        let place = Place::at(root.path().join("suite")).unwrap();
        let state = State::open(Some(&roundabout), &place).unwrap();
        assert_eq!(state.directory, root.path().canonicalize().unwrap().join("state"));
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        let place = Place::at(root.path().to_owned()).unwrap();
        let error = State::open(Some(&file.join("state")), &place).unwrap_err();
        assert!(error.to_string().contains("file/state"), "{error:?}");
    }

    #[test]
    fn the_token_is_made_once_and_is_for_its_owner_only() {
        let root = tempfile::tempdir().unwrap();
        let place = Place::at(root.path().to_owned()).unwrap();
        let state = State::open(None, &place).unwrap();
        state.token().unwrap();
        let text = fs::read_to_string(state.token_file()).unwrap();
        assert_eq!(text.trim().len(), 64);
        assert_eq!(fs::metadata(state.token_file()).unwrap().permissions().mode() & 0o777, 0o600);
        let again = State::open(None, &place).unwrap().token().unwrap();
        assert!(again.is_header(format!("Bearer {}", text.trim()).as_bytes()));
        assert_eq!(fs::read_dir(&state.directory).unwrap().count(), 2);
    }

    #[test]
    fn suites_of_the_same_name_have_directories_of_their_own() {
        let (a, b) = (users_own(Path::new("/a/suite")).unwrap(), users_own(Path::new("/b/suite")).unwrap());
        assert_ne!(a, b);
        assert!(a.file_name().unwrap().to_string_lossy().starts_with("suite-"));
    }
}
