//! Where the command was called: the directory, its repository, its settings, and the names that follow from them.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::config::{Config, FILE};
use crate::errors::usage;

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

    /// The same folder of the same project, among the files of a revision, which are in `tree` (a path without links).
    /// Its settings are those of the revision; if that has none, those here.
    pub fn in_revision(&self, tree: &Path) -> anyhow::Result<Place> {
        let top = self.repository.as_deref().unwrap_or(&self.directory).canonicalize()?;
        let directory = moved(&self.directory, &top, tree)
            .filter(|directory| directory.is_dir())
            .ok_or_else(|| usage(format!("the revision has no folder {}", self.directory.display())))?;
        let mut config = Config::find(&directory, Some(tree)).context("the settings of the revision")?;
        if config.file.is_none() {
            config = self.config.clone();
            // They were told.
            config.warnings.clear();
            config.file = self
                .config
                .directory()
                .and_then(|there| moved(there, &top, tree))
                .map(|there| there.join(FILE));
            let root = config.artifact_root.as_deref();
            config.artifact_root =
                root.map(|root| moved(root, &top, tree).unwrap_or_else(|| root.to_owned()));
        }
        if let Some(root) = &config.artifact_root
            && !root.canonicalize().is_ok_and(|root| root.starts_with(tree))
        {
            return Err(usage(format!("[artifact] root {} is no part of the revision", root.display())));
        }
        config.project.get_or_insert_with(|| self.project());
        Ok(Place { directory, repository: Some(tree.to_owned()), config })
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

/// A path within `top`, as it is within `tree`.
fn moved(path: &Path, top: &Path, tree: &Path) -> Option<PathBuf> {
    let path = path.canonicalize().ok()?;
    Some(tree.join(path.strip_prefix(top).ok()?))
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

    #[test]
    fn a_revision_has_settings_of_its_own_or_those_here() {
        let base = tempfile::tempdir().unwrap();
        let root = base.path().canonicalize().unwrap();
        let (shop, tree) = (root.join("shop"), root.join("shop/.seagull/tree"));
        fs::create_dir_all(shop.join("tests/new")).unwrap();
        fs::create_dir_all(shop.join(".git")).unwrap();
        fs::create_dir_all(tree.join("tests")).unwrap();
        fs::write(
            shop.join("seagull.toml"),
            "typo = 1\n[artifact]\nroot = 'tests'\ninclude = ['built']\n[env]\nA = 'here'\n",
        )
        .unwrap();
        let here = Place::at(shop.join("tests")).unwrap();
        let there = here.in_revision(&tree).unwrap();
        assert_eq!((there.directory.clone(), there.project().as_str()), (tree.join("tests"), "shop/tests"));
        assert_eq!(there.config.artifact_root, Some(tree.join("tests")));
        assert_eq!(there.config.directory(), Some(tree.as_path()));
        assert_eq!((here.config.warnings.len(), there.config.warnings.len()), (1, 0));
        assert_eq!(there.config.env["A"], "here");
        fs::write(tree.join("seagull.toml"), "[env]\nA = 'there'\n").unwrap();
        let there = here.in_revision(&tree).unwrap();
        assert_eq!((there.config.artifact_root.clone(), there.project().as_str()), (None, "shop/tests"));
        assert_eq!(there.config.env["A"], "there");
        let error = Place::at(shop.join("tests/new")).unwrap().in_revision(&tree).unwrap_err();
        assert!(error.to_string().contains("the revision has no folder"), "{error}");
        for outside in ["..", "../../..", "elsewhere"] {
            fs::write(tree.join("seagull.toml"), format!("[artifact]\nroot = '{outside}'\n")).unwrap();
            let error = here.in_revision(&tree).unwrap_err();
            assert!(error.to_string().contains("no part of the revision"), "{error}");
        }
    }
}
