//! What goes by its age, here and in a store, and what stays.

use std::fs::File;
use std::time::Duration;

use seagull_scheduler_core::Fact;
use tempfile::TempDir;

use super::*;
use crate::service::tests::Embedded;

const DAY: Duration = Duration::from_secs(86_400);

fn now() -> SystemTime {
    UNIX_EPOCH + 1000 * DAY
}

/// What went.
fn swept(asked: &Sweep) -> Swept {
    sweep(asked).unwrap().0
}

fn sweep_of(embedded: &Embedded, dry_run: bool) -> Sweep {
    let state = embedded.service.runs.parent().unwrap().to_owned();
    Sweep { state, blobs: None, retention: Retention::default(), now: now(), dry_run }
}

/// A store in the folder `s` of a directory.
fn store_of_its_own() -> (TempDir, StoreUrl, Arc<dyn Store>) {
    let directory = tempfile::tempdir().unwrap();
    let url: StoreUrl = format!("file:{}/s", directory.path().display()).parse().unwrap();
    let store = open_store(&url).unwrap();
    (directory, url, store)
}

/// A run that ended so many days ago, with a log.
fn ended(embedded: &Embedded, run: &str, days: u32) -> RunId {
    let run: RunId = run.parse().unwrap();
    embedded.archived(&run, 1);
    let logs = embedded.service.logs(&run);
    logs.write_at(AttemptId(1), 0, b"text").unwrap();
    let stream = embedded.service.runs.join(run.as_str()).join("stream.jsonl");
    File::options().write(true).open(stream).unwrap().set_modified(now() - days * DAY).unwrap();
    run
}

#[test]
fn what_is_old_goes_by_its_class_and_what_is_pinned_stays() {
    let embedded = Embedded::new("own");
    let runs = &embedded.service.runs;
    let [young, middle, old, kept] = [("young", 1), ("middle", 8), ("old", 91), ("kept", 900)]
        .map(|(run, days)| ended(&embedded, run, days));
    let state = runs.parent().unwrap();
    assert_eq!(pin(state, None, &kept, true).unwrap(), Some(()));
    assert_eq!(pin(state, None, &"none".parse().unwrap(), true).unwrap(), None);
    assert_eq!(pinned(state, None).unwrap(), std::slice::from_ref(&kept));
    let logs = |run: &RunId| embedded.service.logs(run).list().unwrap().len();
    let expected = swept(&sweep_of(&embedded, true));
    assert_eq!(expected.0.keys().copied().collect::<Vec<_>>(), [Class::PassedLogs, Class::Results]);
    assert_eq!(expected.0[&Class::PassedLogs], (1, 4));
    assert!([&young, &middle, &old, &kept].iter().all(|run| logs(run) == 1), "nothing is removed");
    assert_eq!(swept(&sweep_of(&embedded, false)), expected);
    assert_eq!([logs(&young), logs(&middle), logs(&old), logs(&kept)], [1, 0, 0, 1]);
    let archive = &embedded.service.archive;
    assert!(archive.contains(&middle) && !archive.contains(&old) && archive.contains(&kept));
    assert_eq!(swept(&sweep_of(&embedded, false)), Swept::default());
    pin(state, None, &kept, false).unwrap();
    assert_eq!(swept(&sweep_of(&embedded, false)).0.len(), 1);
    assert!(!archive.contains(&kept));
}

#[test]
fn streams_in_a_store_go_with_their_runs() {
    let embedded = Embedded::new("own");
    let (directory, url, store) = store_of_its_own();
    let runs = [("young", 1), ("old", 91)].map(|(run, days)| ended(&embedded, run, days));
    let runs = [&runs[..], &["gone".parse().unwrap()]].concat();
    for run in &runs {
        let key = Key::Stream(run.clone());
        store.put(&key, &mut &b"text"[..], 4, seagull_results::When::Always).unwrap();
        let path = directory.path().join(format!("s/{key}"));
        File::options().write(true).open(path).unwrap().set_modified(now() - 91 * DAY).unwrap();
    }
    swept(&Sweep { blobs: Some(url), ..sweep_of(&embedded, false) });
    let is_there = |run: &RunId| store.head(&Key::Stream(run.clone())).unwrap().is_some();
    assert_eq!(runs.iter().map(is_there).collect::<Vec<_>>(), [true, false, false]);
}

#[test]
fn what_is_pinned_in_a_store_stays_for_all_who_sweep_it() {
    let (directory, url, store) = store_of_its_own();
    let [one, another] = ["own", "own"].map(|own| Embedded::new(own).with(&url.to_string(), u64::MAX));
    let [of_one, of_another] = [&one, &another].map(|of| of.service.runs.parent().unwrap().to_owned());
    let runs: [RunId; 3] = ["kept", "here", "gone"].map(|run| run.parse().unwrap());
    let [kept, here, gone] = &runs;
    let artifact = |run: &RunId| [&seagull_results::ARTIFACT[..], run.as_str().as_bytes()].concat();
    let keys = |run: &RunId| {
        let artifact = Key::Blob(seagull_results::digest(&artifact(run)));
        [Key::Log(run.clone(), AttemptId(1)), Key::Attached(run.clone()), artifact, Key::Stream(run.clone())]
    };
    let remote = one.service.remote.as_ref().unwrap();
    for run in &runs {
        let mut spec = crate::service::tests::spec(run.as_str());
        let digest = seagull_results::digest(&artifact(run));
        spec.workspace = Workspace::Artifact { digest, directory: String::new() };
        let fact = Fact { run: run.clone(), what: What::Submitted(Box::new(spec)) };
        let line = format!("{{\"seq\":1,\"fact\":{}}}\n", serde_json::to_string(&fact).unwrap());
        let keys = keys(run);
        remote.pack(&keys[3], &mut line.as_bytes()).unwrap();
        for (key, bytes) in keys.iter().zip([&b"log"[..], b"attached", &artifact(run)]) {
            store.put(key, &mut &bytes[..], bytes.len() as u64, seagull_results::When::Always).unwrap();
        }
        for key in &keys {
            let path = directory.path().join(format!("s/{key}"));
            while !path.exists() || remote.waiting_bytes() > 0 {
                std::thread::yield_now();
            }
            File::options().write(true).open(path).unwrap().set_modified(now() - 900 * DAY).unwrap();
        }
    }
    ended(&one, "here", 900);
    ended(&another, "here", 900);
    assert_eq!(pin(&of_one, Some(&url), &"none".parse().unwrap(), true).unwrap(), None);
    for run in [kept, here] {
        assert_eq!(pin(&of_one, Some(&url), run, true).unwrap(), Some(()));
    }
    for state in [&of_one, &of_another] {
        let mut pinned = pinned(state, Some(&url)).unwrap();
        pinned.sort();
        assert_eq!(pinned, [here.clone(), kept.clone()]);
    }
    let sweep_all = Sweep { blobs: Some(url.clone()), ..sweep_of(&another, false) };
    let seen = sweep(&Sweep { dry_run: true, ..sweep_all.clone() }).unwrap().1;
    assert_eq!(seen, HashSet::from([here.clone(), kept.clone()]), "nothing of them is forgotten elsewhere");
    let are_there = |run: &RunId| keys(run).map(|key| store.head(&key).unwrap().is_some());
    swept(&sweep_all);
    assert_eq!([are_there(kept), are_there(gone)], [[true; 4], [false; 4]]);
    assert!(another.service.archive.contains(here));
    assert_eq!(are_there(here), [true, true, false, true], "the stream here names no artifact");
    assert_eq!(pin(&of_another, Some(&url), kept, false).unwrap(), Some(()));
    swept(&sweep_all);
    assert_eq!(are_there(kept), [false; 4]);
}

#[test]
fn small_files_go_before_their_run_and_stay_with_one_that_is_pinned() {
    let embedded = Embedded::new("own");
    let (directory, url, store) = store_of_its_own();
    let runs = [("young", 1), ("middle", 31), ("kept", 31)].map(|(run, days)| ended(&embedded, run, days));
    let runs = [&runs[..], &["gone".parse().unwrap()]].concat();
    let state = embedded.service.runs.parent().unwrap();
    pin(state, None, &runs[2], true).unwrap();
    for run in &runs {
        let key = Key::Attached(run.clone());
        store.put(&key, &mut &b"text"[..], 4, seagull_results::When::Always).unwrap();
        let path = directory.path().join(format!("s/{key}"));
        File::options().write(true).open(path).unwrap().set_modified(now() - 31 * DAY).unwrap();
        if run.as_str() != "gone" {
            let mut writer = embedded.service.attached(run).writer().unwrap();
            writer.write(b"here").unwrap();
            writer.finish(None).unwrap();
        }
    }
    let sweep_both = Sweep { blobs: Some(url), ..sweep_of(&embedded, true) };
    let expected = swept(&sweep_both);
    assert_eq!(expected.0[&Class::Attachments], (3, 12));
    let are_there = || {
        let is_there = |run: &RunId| {
            let stored = store.head(&Key::Attached(run.clone())).unwrap().is_some();
            (!embedded.service.attached(run).list().unwrap().is_empty(), stored)
        };
        runs.iter().map(is_there).collect::<Vec<_>>()
    };
    assert_eq!(are_there(), [(true, true), (true, true), (true, true), (false, true)]);
    assert_eq!(swept(&Sweep { dry_run: false, ..sweep_both }), expected);
    assert_eq!(are_there(), [(true, true), (false, false), (true, true), (false, false)]);
}

#[test]
fn timings_in_a_directory_go_too() {
    let embedded = Embedded::new("own");
    let (directory, url, store) = store_of_its_own();
    let key = Key::Timings(seagull_results::digest(b"p"));
    store.put(&key, &mut &b"text"[..], 4, seagull_results::When::Always).unwrap();
    let path = directory.path().join(format!("s/{key}"));
    File::options().write(true).open(path).unwrap().set_modified(now() - 366 * DAY).unwrap();
    let gone = swept(&Sweep { blobs: Some(url), ..sweep_of(&embedded, false) });
    assert_eq!(gone.0, BTreeMap::from([(Class::Timings, (1, 4))]));
    assert!(store.head(&key).unwrap().is_none());
}

#[test]
fn artifacts_go_before_attachments_and_these_before_manifests_here_and_in_a_store() {
    let embedded = Embedded::new("own");
    let (directory, url, store) = store_of_its_own();
    let state = embedded.service.runs.parent().unwrap();
    let blobs = Blobs::open(&state.join("blobs")).unwrap();
    let begun = |mark: [u8; 4]| [mark.as_slice(), b"rest"].concat();
    let (artifact, attachment) = (begun(seagull_results::ARTIFACT), begun(seagull_results::ATTACHMENT));
    let [artifact, attachment, manifest] = [&artifact[..], &attachment[..], b"{\"files\":[]}"].map(|bytes| {
        let mut writer = blobs.writer(0).unwrap();
        writer.write(bytes).unwrap();
        let digest = writer.finish(None).unwrap();
        let key = Key::Blob(digest);
        store.put(&key, &mut &bytes[..], bytes.len() as u64, seagull_results::When::Always).unwrap();
        for path in [state.join("blobs"), directory.path().join("s/blobs")] {
            let name = digest.to_string();
            let file = File::options().write(true).open(path.join(&name[..2]).join(&name[2..])).unwrap();
            file.set_modified(now() - 14 * DAY - FRESH - DAY).unwrap();
        }
        digest
    });
    let sweep_both = Sweep { blobs: Some(url), ..sweep_of(&embedded, false) };
    let gone = swept(&sweep_both);
    assert_eq!(gone.0, BTreeMap::from([(Class::Artifacts, (2, 16))]));
    assert!(!blobs.contains(&artifact) && blobs.contains(&manifest));
    assert!(store.head(&Key::Blob(artifact)).unwrap().is_none());
    let all = [attachment, manifest].map(Key::Blob);
    let are_there = || all.each_ref().map(|key| store.head(key).unwrap().is_some());
    assert_eq!(are_there(), [true, true]);
    let gone = swept(&Sweep { now: now() + 30 * DAY, ..sweep_both });
    assert_eq!(gone.0, BTreeMap::from([(Class::Attachments, (2, 16))]));
    assert_eq!(are_there(), [false, true]);
}
