//! The files of a run on their way to the executors: packed, and uploaded unless they are there already.

use std::path::{Path, PathBuf};

use anyhow::Context;
use seagull_domain::Workspace;
use seagull_executor::artifact::{self, LeftOut, PackOptions, Packed, Reason};

use super::Start;
use super::spec::text;
use crate::client::Client;
use crate::errors::{usage, warn};
use crate::place::Place;

/// Of the paths that are left out, so many are named.
const NAMED: usize = 5;

/// What is packed, from where.
pub struct Source {
    root: PathBuf,
    /// The working directory, relative to the root.
    directory: String,
    /// Where the packed file lies meanwhile.
    scratch: PathBuf,
    /// What the command itself writes.
    exclude: Vec<PathBuf>,
    large: bool,
    /// It is a revision that was written for this.
    checkout: bool,
}

impl Source {
    pub(super) fn of(start: &Start) -> anyhow::Result<Source> {
        let (root, directory) = root(&start.place)?;
        let scratch = start.state.directory.clone();
        let junit = start.args.report.junit.as_deref().and_then(|junit| std::path::absolute(junit).ok());
        let exclude = junit.into_iter().chain([scratch.clone()]).collect();
        Ok(Source { root, directory, scratch, exclude, large: start.args.at.yes, checkout: false })
    }

    /// Of a place among the files of a revision.
    pub fn of_revision(place: &Place, scratch: PathBuf, large: bool) -> anyhow::Result<Source> {
        let (root, directory) = root(place)?;
        Ok(Source { root, directory, scratch, exclude: Vec::new(), large, checkout: true })
    }

    /// Reads and compresses all files: blocks.
    pub fn pack(&self) -> anyhow::Result<Packed> {
        let Source { root, scratch, exclude, large, checkout, .. } = self;
        let (large, checkout) = (*large, *checkout);
        let packed = artifact::pack(&PackOptions { root, scratch, exclude, large, checkout })
            .with_context(|| format!("cannot pack {}", root.display()))?;
        tell_left_out(&packed.left_out);
        Ok(packed)
    }

    pub async fn upload(&self, packed: Packed, client: &Client) -> anyhow::Result<Workspace> {
        let digest = packed.digest;
        if client.is_missing(digest).await? {
            let megabytes = packed.bytes as f64 / 1e6;
            eprintln!("uploading {} files, {megabytes:.1} MB", packed.entries);
            client.put_blob(digest, packed.file.path()).await?;
        }
        Ok(Workspace::Artifact { digest, directory: self.directory.clone() })
    }
}

/// The root of what is packed, and the working directory in it.
pub fn root(place: &Place) -> anyhow::Result<(PathBuf, String)> {
    let here = &place.directory;
    let root = match (&place.config.artifact_root, &place.repository) {
        (Some(root), _) => {
            let found = root.canonicalize();
            found.map_err(|error| usage(format!("[artifact] root {}: {error}", root.display())))?
        }
        (None, Some(top)) => top.clone(),
        (None, None) => {
            return Err(usage(format!(
                "{} is in no git repository, so it is unclear what to send to the executors\n\
                 hint: write to seagull.toml: [artifact] root = \".\"",
                here.display()
            )));
        }
    };
    let inside = here.canonicalize().ok().and_then(|here| here.strip_prefix(&root).map(Path::to_owned).ok());
    let inside = inside.ok_or_else(|| {
        usage(format!("{} is not within the artifact root {}", here.display(), root.display()))
    })?;
    let inside = text(&inside)?;
    Ok((root, inside))
}

fn tell_left_out(left_out: &[LeftOut]) {
    let kinds = [
        (Reason::Secret, "untracked, and by their names secrets"),
        (Reason::LinkOut, "links that lead out of the root"),
        (Reason::Special, "neither files nor links"),
    ];
    for (reason, why) in kinds {
        let paths: Vec<_> = left_out.iter().filter(|left| left.reason == reason).collect();
        let mut names: Vec<String> =
            paths.iter().take(NAMED).map(|left| left.path.display().to_string()).collect();
        if paths.len() > NAMED {
            names.push(format!("{} more", paths.len() - NAMED));
        }
        if !names.is_empty() {
            warn(format!("not sent, {why}: {}", names.join(", ")));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::errors::Usage;

    #[test]
    fn the_root_is_configured_or_the_repositorys_top_or_missing() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path().canonicalize().unwrap();
        let suite = base.join("repo/suite");
        fs::create_dir_all(suite.join("deep")).unwrap();
        let found = |directory: &Path| root(&Place::at(directory.to_owned()).unwrap());
        let missing = found(&suite).unwrap_err();
        assert!(missing.is::<Usage>() && missing.to_string().contains("\nhint: "));
        fs::create_dir(base.join("repo/.git")).unwrap();
        assert_eq!(found(&suite).unwrap(), (base.join("repo"), "suite".to_owned()));
        fs::write(suite.join("seagull.toml"), "[artifact]\nroot = '.'").unwrap();
        assert_eq!(found(&suite.join("deep")).unwrap(), (suite.clone(), "deep".to_owned()));
        fs::write(suite.join("seagull.toml"), "[artifact]\nroot = 'deep'").unwrap();
        assert!(found(&suite).unwrap_err().is::<Usage>());
    }
}
