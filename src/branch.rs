//! Which branch a run is of, and which that was made from: by options, by the CI's variables, by git.

use std::path::Path;

use seagull_domain::Branch;
use seagull_proto::limits;

use crate::git;

/// What main branches are called where nothing says it.
const MAIN: [&str; 2] = ["main", "master"];
const REMOTE: &str = "refs/remotes/origin/";
const LOCAL: &str = "refs/heads/";
/// A payload of GitHub's that is larger is not read.
const EVENT_BYTES: u64 = 16 << 20;

/// What is said of branches; what is not said is for others to say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    pub branch: Option<String>,
    pub base: Option<String>,
    pub main: Option<String>,
}

impl Said {
    /// Of a job of GitHub's, GitLab's or Jenkins'. A merge request is of the branch that asks, and based on the one it asks.
    pub fn by_ci(variable: impl Fn(&str) -> Option<String>) -> Said {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let first = |names: &[&str]| names.iter().find_map(|name| variable(name));
        if variable("GITHUB_ACTIONS").is_some() {
            let is_branch = variable("GITHUB_REF_TYPE").is_some_and(|kind| kind == "branch");
            let pushed = || variable("GITHUB_REF_NAME").filter(|_| is_branch);
            Said {
                branch: variable("GITHUB_HEAD_REF").or_else(pushed),
                base: variable("GITHUB_BASE_REF"),
                main: variable("GITHUB_EVENT_PATH").and_then(|path| default_branch(Path::new(&path))),
            }
        } else if variable("GITLAB_CI").is_some() {
            Said {
                branch: first(&["CI_MERGE_REQUEST_SOURCE_BRANCH_NAME", "CI_COMMIT_BRANCH"]),
                base: variable("CI_MERGE_REQUEST_TARGET_BRANCH_NAME"),
                main: variable("CI_DEFAULT_BRANCH"),
            }
        } else if variable("JENKINS_URL").is_some() {
            let checked_out = || Some(variable("GIT_BRANCH")?.trim_start_matches("origin/").to_owned());
            let is_main = variable("BRANCH_IS_PRIMARY").is_some_and(|is| is == "true");
            Said {
                branch: first(&["CHANGE_BRANCH", "BRANCH_NAME"]).or_else(checked_out),
                base: variable("CHANGE_TARGET"),
                main: variable("BRANCH_NAME").filter(|_| is_main),
            }
        } else {
            Said::default()
        }
    }

    /// What git knows besides, of what HEAD or another name stands for: on a tag, or on nothing that has a name, no branch.
    pub fn with_git(self, top: &Path, name: Option<&str>) -> Said {
        let known = |name: &str| {
            let at = |place: &str| git::named(top, &format!("{place}{name}"));
            at(LOCAL).or_else(|| at(REMOTE))
        };
        let at_remote = git::said(top, &["symbolic-ref", "--quiet", "refs/remotes/origin/HEAD"]);
        let at_remote = at_remote.and_then(|name| name.strip_prefix(REMOTE).map(str::to_owned));
        let usual = || MAIN.into_iter().find(|name| known(name).is_some()).map(str::to_owned);
        let main = self.main.or(at_remote).or_else(usual);
        // git would read it as an option.
        let name = name.filter(|name| !name.starts_with('-')).unwrap_or("HEAD");
        let full = || git::said(top, &["rev-parse", "--symbolic-full-name", name]);
        let branch = self.branch.or_else(|| short(&full()?).map(str::to_owned));
        let base = self.base.or_else(|| {
            let (own, main) = (branch.as_deref()?, known(main.as_deref()?)?);
            tracked(top, own).or_else(|| nearest(top, own, &main))
        });
        Said { branch, base, main }
    }

    /// None for the main branch, and where nobody knows which that is.
    pub fn branch(self) -> Option<Branch> {
        let Said { branch, base, main } = self;
        let fits = |name: &String| !name.is_empty() && name.len() <= limits::WORD_BYTES;
        let name = branch.filter(fits)?;
        let is_main = |name: &str| match &main {
            Some(main) => main == name,
            None => MAIN.contains(&name),
        };
        let is_known = main.is_some() || base.is_some();
        let base = base.filter(|base| fits(base) && !is_main(base) && *base != name);
        (is_known && !is_main(&name)).then_some(Branch { name, base })
    }
}

/// The name of a branch here or at the remote.
fn short(full: &str) -> Option<&str> {
    full.strip_prefix(LOCAL).or_else(|| full.strip_prefix(REMOTE))
}

/// What a branch follows, where that is another one.
fn tracked(top: &Path, own: &str) -> Option<String> {
    let full = git::said(top, &["rev-parse", "--symbolic-full-name", &format!("{own}@{{upstream}}")])?;
    short(&full).filter(|name| *name != own).map(str::to_owned)
}

/// The newest branch that HEAD has all of and the main branch has not.
fn nearest(top: &Path, own: &str, main: &str) -> Option<String> {
    let not_in_main = format!("--no-merged={main}");
    let list =
        ["for-each-ref", "--merged=HEAD", &not_in_main, "--sort=-committerdate", "--format=%(refname)"];
    let listed = git::said(top, &[&list[..], &[LOCAL, REMOTE]].concat())?;
    listed.lines().filter_map(short).find(|name| *name != own && *name != "HEAD").map(str::to_owned)
}

/// As the payload of GitHub's event has it.
fn default_branch(event: &Path) -> Option<String> {
    let is_small = event.metadata().is_ok_and(|metadata| metadata.len() <= EVENT_BYTES);
    let text = is_small.then(|| std::fs::read(event).ok()).flatten()?;
    let event: serde_json::Value = serde_json::from_slice(&text).ok()?;
    event["repository"]["default_branch"].as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use seagull_executor::artifact;

    use super::*;

    fn by_ci(variables: &[(&str, &str)]) -> Option<(String, Option<String>)> {
        let of = |name: &str| {
            let given = variables.iter().find(|(given, _)| *given == name);
            given.map(|(_, value)| (*value).to_owned())
        };
        Said::by_ci(of).branch().map(|Branch { name, base }| (name, base))
    }

    fn branch(name: &str, base: Option<&str>) -> Option<(String, Option<String>)> {
        Some((name.to_owned(), base.map(str::to_owned)))
    }

    #[test]
    fn a_job_says_which_branch_it_is_of() {
        let directory = tempfile::tempdir().unwrap();
        let event = directory.path().join("event.json");
        fs::write(&event, r#"{"repository": {"default_branch": "develop"}}"#).unwrap();
        let event = ("GITHUB_EVENT_PATH", event.to_str().unwrap());
        let github = ("GITHUB_ACTIONS", "true");
        let pushed = [github, event, ("GITHUB_REF_TYPE", "branch"), ("GITHUB_HEAD_REF", "")];
        let push = |name| by_ci(&[&pushed[..], &[("GITHUB_REF_NAME", name)]].concat());
        assert_eq!((push("fix"), push("develop")), (branch("fix", None), None));
        let asks = |base| [github, event, ("GITHUB_HEAD_REF", "fix"), ("GITHUB_BASE_REF", base)];
        assert_eq!(by_ci(&asks("develop")), branch("fix", None));
        assert_eq!(by_ci(&asks("v2")), branch("fix", Some("v2")));
        let tag = [github, event, ("GITHUB_REF_TYPE", "tag"), ("GITHUB_REF_NAME", "v1")];
        assert_eq!(by_ci(&tag), None);

        let gitlab = [("GITLAB_CI", "true"), ("CI_DEFAULT_BRANCH", "trunk")];
        let of = |more: &[(&str, &str)]| by_ci(&[&gitlab[..], more].concat());
        assert_eq!(of(&[("CI_COMMIT_BRANCH", "fix")]), branch("fix", None));
        assert_eq!(of(&[("CI_COMMIT_BRANCH", "trunk")]), None);
        let asks = ("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME", "fix");
        assert_eq!(of(&[asks, ("CI_MERGE_REQUEST_TARGET_BRANCH_NAME", "v2")]), branch("fix", Some("v2")));

        let jenkins = ("JENKINS_URL", "https://ci.example.org/");
        let asks = [("BRANCH_NAME", "PR-7"), ("CHANGE_BRANCH", "fix"), ("CHANGE_TARGET", "main")];
        assert_eq!(by_ci(&[&[jenkins][..], &asks[..]].concat()), branch("fix", None));
        assert_eq!(by_ci(&[jenkins, ("BRANCH_NAME", "trunk"), ("BRANCH_IS_PRIMARY", "true")]), None);
        assert_eq!(by_ci(&[jenkins, ("GIT_BRANCH", "origin/fix")]), None, "nobody knows the main branch");
        assert_eq!(by_ci(&[("BRANCH_NAME", "fix")]), None, "that may be anybody's");
    }

    struct Repository(tempfile::TempDir);

    impl Repository {
        fn new(main: &str) -> Self {
            let repository = Self(tempfile::tempdir().unwrap());
            repository.git(&["init", "--quiet"]);
            repository.git(&["symbolic-ref", "HEAD", &format!("refs/heads/{main}")]);
            repository.commit();
            repository
        }

        fn git(&self, arguments: &[&str]) {
            let identity =
                ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"];
            git::output(artifact::git(self.0.path()).args(identity).args(arguments)).unwrap();
        }

        fn commit(&self) {
            self.git(&["commit", "--quiet", "--allow-empty", "-m", "more"]);
        }

        fn switch(&self, to: &[&str]) {
            self.git(&[&["checkout", "--quiet"][..], to].concat());
        }

        fn found(&self, said: Said) -> Option<(String, Option<String>)> {
            said.with_git(self.0.path(), None).branch().map(|Branch { name, base }| (name, base))
        }
    }

    #[test]
    fn git_knows_the_branch_and_what_it_was_made_from() {
        let repository = Repository::new("master");
        let found = || repository.found(Said::default());
        assert_eq!(found(), None);
        repository.switch(&["-b", "feature"]);
        assert_eq!(found(), branch("feature", None), "nothing is committed yet");
        repository.commit();
        repository.switch(&["-b", "on-top"]);
        repository.commit();
        assert_eq!(found(), branch("on-top", Some("feature")));
        repository.switch(&["-b", "tracks", "--track", "feature"]);
        repository.switch(&["--detach"]);
        assert_eq!(found(), None);
        repository.switch(&["tracks"]);
        assert_eq!(found(), branch("tracks", Some("feature")));
        let said = |branch: Option<&str>, base: Option<&str>, main: Option<&str>| {
            let [branch, base, main] = [branch, base, main].map(|name| name.map(str::to_owned));
            repository.found(Said { branch, base, main })
        };
        assert_eq!(said(Some("other"), None, None).unwrap().0, "other");
        assert_eq!(said(None, Some("v2"), None), branch("tracks", Some("v2")));
        assert_eq!(said(None, Some("master"), None), branch("tracks", None));
        assert_eq!(said(None, None, Some("tracks")), None);
        let of = |name| Said::default().with_git(repository.0.path(), Some(name)).branch();
        assert_eq!(of("feature").unwrap().name, "feature");
        assert_eq!((of("master"), of("master~0")), (None, None));
    }

    #[test]
    fn where_there_is_no_main_branch_there_are_no_others() {
        assert_eq!(Repository::new("develop").found(Said::default()), None);
        let unborn = tempfile::tempdir().unwrap();
        git::output(artifact::git(unborn.path()).args(["init", "--quiet"])).unwrap();
        assert_eq!(Said::default().with_git(unborn.path(), None).branch(), None);
        let none = tempfile::tempdir().unwrap();
        assert_eq!(Said::default().with_git(none.path(), None).branch(), None);
    }

    #[test]
    fn a_remotes_default_branch_is_the_main_one() {
        let origin = Repository::new("trunk");
        let clone = Repository(tempfile::tempdir().unwrap());
        clone.git(&["clone", "--quiet", origin.0.path().to_str().unwrap(), "."]);
        assert_eq!(clone.found(Said::default()), None);
        clone.switch(&["-b", "feature"]);
        assert_eq!(clone.found(Said::default()), branch("feature", None));
    }

    #[test]
    fn names_that_are_too_long_are_none() {
        let said =
            |name: &str| Said { branch: Some(name.to_owned()), main: Some("m".into()), ..Said::default() };
        assert!(said("b").branch().is_some());
        assert!(said("").branch().is_none() && said(&"b".repeat(257)).branch().is_none());
    }
}
