//! What tests of an environment run in, with nothing of a worker there: programs are run in it one after the other, as whoever
//! repeats a test wants them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bollard::container::LogOutput;

use super::contained::{Contained, INSIDE};
use super::error::Error;
use crate::remove::remove_tree;
use crate::sandbox::Spec;

/// The first process, which only has the container be there.
const WAITS: &str = "import signal\nwhile True:\n    signal.pause()";
/// `PYTHON -c THIS COUNT NAME... PROGRAM...`: secrets become variables, which no engine is told of.
const ENTERS: &str = "\
import os, sys
last = int(sys.argv[1]) + 2
for name in sys.argv[2:last]:
    with open('/run/secrets/' + name, 'rb') as secret:
        os.environb[os.fsencode(name)] = secret.read()
os.execvp(sys.argv[last], sys.argv[last:])
";

/// What of this machine is there, all at the paths that it has here.
pub struct Files {
    /// What tests write there is gone with the container.
    pub tree: PathBuf,
    pub directory: PathBuf,
    /// What is written there is written here.
    pub shared: PathBuf,
    /// An empty directory, which is not there, for what is written to the tree.
    pub scratch: PathBuf,
}

pub struct Room {
    of: Contained,
    spec: Spec,
}

/// A program with its arguments, and its variables beside those of the room.
pub struct Program<'a> {
    pub words: Vec<String>,
    pub variables: &'a [(String, String)],
    pub directory: &'a Path,
}

impl Room {
    pub async fn open(of: Contained, files: Files) -> Result<Room, Error> {
        let Files { tree, directory: cwd, shared, scratch } = files;
        let directories = ["inside", "written"].map(|name| scratch.join(name)).to_vec();
        let spec = Spec {
            command: [of.python().into(), "-c".into(), WAITS.into()].to_vec(),
            env: [("HOME".into(), INSIDE.into())].to_vec(),
            cwd,
            directories,
            log: scratch.join("log"),
            shared: Some(shared),
            tree,
            bounds: None,
            hosts: None,
        };
        let made = spec.directories.iter().try_for_each(fs::create_dir).and_then(|()| of.ground(&spec));
        made.map_err(|error| Error::Directory { why: error.to_string() })?;
        let room = Room { of, spec };
        room.of.begin(&room.spec).await?;
        Ok(room)
    }

    /// The interpreter there.
    pub fn python(&self) -> &str {
        self.of.python()
    }

    /// Runs a program to its end; its exit code. `hear` has what it says.
    pub async fn run(&self, program: Program<'_>, hear: impl FnMut(LogOutput)) -> Result<i64, Error> {
        let secrets = self.of.secrets.variables();
        let entering: Vec<String> = match secrets {
            [] => Vec::new(),
            _ => {
                let before = [self.python().to_owned(), "-c".to_owned(), ENTERS.to_owned()];
                let names = secrets.iter().map(|(name, _)| name.clone());
                before.into_iter().chain([secrets.len().to_string()]).chain(names).collect()
            }
        };
        let words = [entering, program.words].concat();
        let env: Vec<String> =
            program.variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
        self.of.engine.run_in(&self.of.name(), (&words, Some(program.directory)), &env, hear).await
    }
}

/// Removes what is left of [`Files::scratch`] when a room is gone.
pub fn forget(scratch: &Path) -> io::Result<()> {
    remove_tree(scratch)
}
