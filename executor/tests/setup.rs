//! Setups with real commands: once for the same inputs, shared, killed with whoever wants them, and evicted.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use seagull_domain::Setup;
use seagull_executor::sandbox::{Home, ProcessSandbox};
use seagull_executor::secrets::Secrets;
use seagull_executor::setup::{Prepared, Setups, Wanted, find};
use tempfile::TempDir;

use crate::{CHILDREN, PATIENCE, SUPERVISOR};

/// A suite, and a state directory beside it.
struct Place {
    top: TempDir,
}

impl Place {
    fn new() -> Place {
        let top = tempfile::tempdir().unwrap();
        for name in ["suite", "state"] {
            fs::create_dir(top.path().join(name)).unwrap();
        }
        let place = Place { top };
        place.write("requirements.txt", "one");
        place
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.top.path().join("suite").join(name), text).unwrap();
    }

    fn state(&self) -> std::path::PathBuf {
        self.top.path().join("state")
    }

    /// An executor's, as another process would have them too.
    fn setups(&self, bound: u64) -> Setups {
        let home = Home::create(Home::PARENT.as_ref()).unwrap();
        let sandboxes = ProcessSandbox::new(CHILDREN.clone(), home.path()).unwrap();
        let sandboxes = sandboxes.with_supervisor(vec![SUPERVISOR.into()]);
        Setups::open(&self.state(), bound, Arc::new(sandboxes), Arc::new(home), Arc::new(drop::<String>))
            .unwrap()
    }

    fn wanted(&self, script: &str) -> Wanted {
        let run = ["/bin/sh", "-ec", script].map(str::to_owned).to_vec();
        let setup = Setup { directory: "suite".into(), run, inputs: vec!["*.txt".into()] };
        let ([variables, passed], secrets) = Default::default();
        let (directory, limit) = (self.top.path().join("suite"), Duration::from_secs(60));
        Wanted { setup, directory, variables, passed, secrets, limit }
    }

    /// How often scripts that note it were started.
    fn started(&self) -> usize {
        fs::read_to_string(self.top.path().join("suite/started")).unwrap_or_default().lines().count()
    }

    fn kept(&self) -> Vec<String> {
        let entries = fs::read_dir(self.state().join("setups")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

const NOTED: &str = "echo >> started; cp requirements.txt \"$SEAGULL_SETUP\"";

fn read(prepared: &Prepared) -> String {
    fs::read_to_string(prepared.directory().join("requirements.txt")).unwrap()
}

#[tokio::test]
async fn the_same_inputs_are_prepared_once_and_others_anew() {
    let place = Place::new();
    let (one, two) = (place.setups(1 << 30), place.setups(1 << 30));
    let wanted = place.wanted(NOTED);
    let prepared = one.prepare(&wanted).await.unwrap();
    assert!(prepared.took.is_some() && read(&prepared) == "one");
    place.write("other.md", "no input");
    let passed = BTreeMap::from([("TOKEN".to_owned(), "secret".to_owned())]);
    let version = BTreeMap::from([("SETUPTOOLS_SCM_PRETEND_VERSION".to_owned(), "1.0".to_owned())]);
    let secrets = Secrets::find(&[("KEY".to_owned(), "env:PATH".parse().unwrap())].into()).unwrap();
    for same in [
        wanted.clone(),
        Wanted { passed, ..wanted.clone() },
        Wanted { variables: version, ..wanted.clone() },
        Wanted { secrets, ..wanted.clone() },
    ] {
        let again = two.prepare(&same).await.unwrap();
        assert!(again.took.is_none() && again.directory() == prepared.directory());
    }
    assert_eq!(place.started(), 1);
    let variables = BTreeMap::from([("MODE".to_owned(), "test".to_owned())]);
    let other = one.prepare(&Wanted { variables, ..wanted.clone() }).await.unwrap();
    assert_ne!(other.directory(), prepared.directory());
    place.write("requirements.txt", "two");
    assert!(find(&place.state(), &wanted).unwrap().is_none());
    let other = one.prepare(&wanted).await.unwrap();
    assert_eq!((read(&other).as_str(), read(&prepared).as_str()), ("two", "one"));
    assert_eq!(find(&place.state(), &wanted).unwrap().unwrap().directory(), other.directory());
    assert_eq!(place.started(), 3);
    assert_eq!(place.kept().len(), 3);
}

#[tokio::test]
async fn several_processes_wait_for_the_one_that_prepares() {
    let place = Place::new();
    let setups = [(); 4].map(|()| place.setups(1 << 30));
    let wanted = place.wanted(&format!("{NOTED}; sleep 0.3"));
    let [a, b, c, d] = setups.each_ref().map(|setups| setups.prepare(&wanted));
    let prepared = tokio::join!(a, b, c, d);
    let prepared = [prepared.0, prepared.1, prepared.2, prepared.3].map(Result::unwrap);
    assert_eq!(prepared.iter().filter(|prepared| prepared.took.is_some()).count(), 1);
    assert_eq!((place.started(), place.kept().len()), (1, 1));
}

#[tokio::test]
async fn a_failure_tells_the_end_of_its_log_and_leaves_nothing() {
    let place = Place::new();
    let setups = place.setups(1 << 30);
    let script =
        format!("touch \"$SEAGULL_SETUP/half\"; seq 5000; echo no such package >&2; {NOTED}; exit 3");
    let failure = setups.prepare(&place.wanted(&script)).await.unwrap_err();
    assert!(failure.starts_with("setup failed, exit code 3 after "), "{failure}");
    assert!(failure.ends_with("\n4999\n5000\nno such package") && failure.len() < 2200, "{failure}");
    assert_eq!(place.kept(), Vec::<String>::new());
    let mut wanted = place.wanted("");
    wanted.setup.run = vec!["/no/such/program".into()];
    let failure = setups.prepare(&wanted).await.unwrap_err();
    assert!(failure.starts_with("setup failed, not started: "), "{failure}");
    let silent = setups.prepare(&place.wanted("exit 3")).await.unwrap_err();
    assert!(silent.ends_with(", and wrote nothing"), "{silent}");
    wanted.setup.inputs = vec!["../out".into()];
    assert!(setups.prepare(&wanted).await.unwrap_err().contains("../out"));
    // A secret in what it wrote is hidden.
    let secrets = Secrets::find(&[("KEY".to_owned(), "env:PATH".parse().unwrap())].into()).unwrap();
    let told = Wanted { secrets, ..place.wanted("echo \"key: $KEY\"; exit 1") };
    assert!(setups.prepare(&told).await.unwrap_err().ends_with("\nkey: ***"));
    // It is tried again when somebody asks again.
    setups.prepare(&place.wanted(&script)).await.unwrap_err();
    assert_eq!(place.started(), 2);
}

#[tokio::test]
async fn what_is_given_up_is_killed_and_begun_anew() {
    let place = Place::new();
    let setups = place.setups(1 << 30);
    let script =
        "test ! -e once || exit 0; touch once \"$SEAGULL_SETUP/half\"; echo $$ >> started; sleep 1000";
    let wanted = place.wanted(script);
    let began = async {
        while place.started() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        _ = setups.prepare(&wanted) => panic!("it sleeps"),
        () = began => {}
    }
    let process = fs::read_to_string(place.top.path().join("suite/started")).unwrap();
    let process = Path::new("/proc").join(process.trim());
    let gone = async {
        while process.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.unwrap();
    // Another process that opens the directory finds it half made.
    assert_eq!(place.kept().len(), 2);
    let other = place.setups(1 << 30);
    assert_eq!(place.kept(), Vec::<String>::new());
    let prepared = other.prepare(&wanted).await.unwrap();
    assert!(!prepared.directory().join("half").exists());
}

#[tokio::test]
async fn what_is_not_in_use_goes_when_there_is_no_room() {
    let place = Place::new();
    // Room for one file and what it costs.
    let setups = place.setups(6000);
    let one = place.wanted(NOTED);
    let two = place.wanted(&format!("{NOTED}; true"));
    let in_use = setups.prepare(&one).await.unwrap();
    drop(setups.prepare(&two).await.unwrap());
    assert_eq!(place.kept().len(), 2);
    drop(in_use);
    let three = setups.prepare(&place.wanted(&format!("{NOTED}; true; true"))).await.unwrap();
    assert_eq!(place.kept().len(), 1);
    assert!(three.directory().exists() && find(&place.state(), &one).unwrap().is_none());
}

#[tokio::test]
async fn a_python_environment_is_active_and_others_are_only_named() {
    let place = Place::new();
    let setups = place.setups(1 << 30);
    let script = "mkdir \"$SEAGULL_SETUP/bin\"; cd \"$SEAGULL_SETUP\"; touch pyvenv.cfg bin/python";
    let prepared = setups.prepare(&place.wanted(script)).await.unwrap();
    let directory = prepared.directory().to_str().unwrap();
    assert_eq!(prepared.python().unwrap(), prepared.directory().join("bin/python"));
    let variables = prepared.variables(Some("/usr/bin:/bin".as_ref()));
    let path = format!("{directory}/bin:/usr/bin:/bin");
    let expected = [("SEAGULL_SETUP", directory), ("PATH", &path), ("VIRTUAL_ENV", directory)];
    assert_eq!(variables, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let other = setups.prepare(&place.wanted("mkdir \"$SEAGULL_SETUP/conda-meta\"")).await.unwrap();
    let names: Vec<_> = other.variables(None).into_iter().map(|(name, _)| name).collect();
    assert!(other.python().is_none());
    assert_eq!(names, ["SEAGULL_SETUP", "CONDA_PREFIX"]);
}
