//! Where the command was called: the directory, its repository, its settings, and the names that follow from them.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::config::Config;

#[derive(Debug, Clone)]
pub struct Place {
    /// The working directory, absolute.
    pub directory: PathBuf,
    /// The top of the git work tree around it.
    pub repository: Option<PathBuf>,
    pub config: Config,
}

impl Place {
    pub fn here() -> anyhow::Result<Place> {
        let directory = env::current_dir().context("the working directory cannot be found")?;
        Place::at(directory)
    }

    pub fn at(directory: PathBuf) -> anyhow::Result<Place> {
        let repository = repository(&directory);
        let config = Config::find(&directory, repository.as_deref())?;
        Ok(Place { directory, repository, config })
    }

    /// What history is kept under unless an option names it: by the settings, else the repository and the folder in it.
    pub fn project(&self) -> String {
        if let Some(project) = &self.config.project {
            return project.clone();
        }
        let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
        let top = self.repository.as_deref().unwrap_or(&self.directory);
        let inside = self.directory.strip_prefix(top).unwrap_or(Path::new(""));
        let parts =
            name(top).into_iter().chain(inside.iter().map(|part| part.to_string_lossy().into_owned()));
        let project: Vec<String> = parts.collect();
        if project.is_empty() { "suite".to_owned() } else { project.join("/") }
    }
}

/// The top of the git work tree around a directory. A linked work tree and a submodule have a file of that name.
pub fn repository(directory: &Path) -> Option<PathBuf> {
    directory.ancestors().find(|above| above.join(".git").exists()).map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_project_is_the_repository_and_the_folder() {
        let root = tempfile::tempdir().unwrap();
        let suite = root.path().join("shop/tests/unit");
        fs::create_dir_all(&suite).unwrap();
        assert_eq!(Place::at(suite.clone()).unwrap().project(), "unit");
        fs::create_dir(root.path().join("shop/.git")).unwrap();
        let place = Place::at(suite).unwrap();
        assert_eq!(place.repository, Some(root.path().join("shop")));
        assert_eq!(place.project(), "shop/tests/unit");
        assert_eq!(Place::at(root.path().join("shop")).unwrap().project(), "shop");
    }
}
