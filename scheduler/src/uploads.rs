//! The logs, the streams and the small files of ended runs on their way to the store: each is packed into one object, which waits in the
//! spool. A log may grow until its run has ended (by a worker that is torn down, by an executor that comes back late), so they are not
//! packed before.
#![expect(clippy::disallowed_methods, reason = "a shell: it looks after them now and then")]

use std::io::Write;
use std::sync::Weak;
use std::time::Duration;

use seagull_domain::RunId;
use seagull_results::{Class, Error, Key, LOG_BYTES};
use tokio::task::spawn_blocking;

use crate::gc;
use crate::room::Elsewhere;
use crate::service::Service;

/// How often it is looked for runs whose logs are not packed: because the process ended, the disk or the spool was full, or
/// there was no store yet.
const PAUSE: Duration = Duration::from_secs(60);
/// The same, while there is no room for more.
const FULL_PAUSE: Duration = Duration::from_secs(1);

/// Packs what is left over, as long as there is somebody who has the service.
pub(crate) async fn run(service: Weak<Service>) {
    let mut told = None;
    loop {
        let Some(of) = service.upgrade() else { return };
        let packed = spawn_blocking(move || pack_all(&of)).await;
        let error = packed.unwrap_or_else(|error| Err(error.to_string())).err();
        if let Some(error) = error.as_ref().filter(|error| told.as_ref() != Some(*error)) {
            let _ =
                writeln!(std::io::stderr(), "warning: logs of ended runs stay as they are for now: {error}");
        }
        told = error;
        let Some(of) = service.upgrade() else { return };
        let pause = if of.room.is_full(Elsewhere::Store) { FULL_PAUSE } else { PAUSE };
        drop(of);
        tokio::time::sleep(pause).await;
    }
}

/// Why what a run has left stays as it is for now.
enum Stays {
    /// There is no room here to pack anything.
    Full(String),
    /// This one cannot be packed.
    Aside(String),
}

impl From<Error> for Stays {
    fn from(error: Error) -> Stays {
        let stays = if error.is_full() { Stays::Full } else { Stays::Aside };
        stays(error.to_string())
    }
}

/// The oldest first. What is wrong with one of them holds up no other.
fn pack_all(service: &Service) -> Result<(), String> {
    let Some(remote) = &service.remote else { return Ok(()) };
    let ended = service.archive.newest().map_err(|error| error.to_string())?;
    for (run, _) in ended.iter().rev() {
        match send_blobs(service, run).and_then(|()| pack(service, run).map_err(Stays::from)) {
            // That is wrong with all of them.
            Err(Stays::Full(error)) => return weigh(service).and(Err(error)),
            Err(Stays::Aside(error)) => remote.set_aside(run, &error),
            Ok(()) => {}
        }
    }
    weigh(service)
}

/// Sends what a run refers to that may have ended while there was no store: its manifest, and what its tests have left. Its artifact
/// nobody reads who reads of it.
fn send_blobs(service: &Service, run: &RunId) -> Result<(), Stays> {
    if is_stream_packed(service, run) || service.remote.as_ref().is_none_or(|remote| remote.is_full()) {
        return Ok(());
    }
    for digest in gc::blobs_of(&service.archive, run).map_err(Stays::Aside)? {
        let class = service.blobs.class(&digest);
        let is_sent = |class: &Class| *class != Class::Artifacts;
        match class.and_then(|class| if is_sent(&class) { service.blobs.send(&digest) } else { Ok(()) }) {
            // It is in the store alone, or among the small files of the run, or gone.
            Ok(()) | Err(Error::NoBlob(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Says how much waits for the store: what is on its way, and the logs and small files of ended runs that are here. Of one whose stream
/// is there, which goes last, all is on its way at least; one of which something cannot go up waits for no store.
fn weigh(service: &Service) -> Result<(), String> {
    let Some(remote) = &service.remote else { return Ok(()) };
    let mut bytes = remote.waiting_bytes();
    let ended = service.archive.newest().map_err(|error| error.to_string())?;
    let waits = |run: &RunId| !service.archive.is_stored(run) && !remote.is_aside(run);
    for (run, _) in ended.into_iter().filter(|(run, _)| waits(run)) {
        let logs = service.logs(&run).list().map_err(|error| error.to_string())?;
        let attached = service.attached(&run).list().map_err(|error| error.to_string())?;
        bytes +=
            logs.iter().map(|(_, bytes)| bytes).chain(attached.iter().map(|(_, bytes)| bytes)).sum::<u64>();
    }
    service.room.weigh(Elsewhere::Store, bytes);
    Ok(())
}

/// Packs the logs of a run that has just been archived.
pub(crate) fn archived(service: &Service, run: &RunId) -> Result<(), String> {
    pack(service, run).map_err(|error| error.to_string())?;
    weigh(service)
}

/// Packs the logs, the small files and the stream of an archived run, unless too much waits for the store. Done twice, it changes nothing.
fn pack(service: &Service, run: &RunId) -> Result<(), Error> {
    let Some(remote) = service.remote.as_ref().filter(|remote| !remote.is_full()) else { return Ok(()) };
    service.logs(run).pack()?;
    service.attached(run).pack()?;
    if is_stream_packed(service, run) {
        return Ok(());
    }
    let mut stream = service.archive.stream(run)?;
    remote.pack(&Key::Stream(run.clone()), &mut stream)
}

/// Whether all of an archived run that the store is to have is there, or on its way.
pub(crate) fn is_packed(service: &Service, run: &RunId) -> Result<bool, String> {
    let are_packed = service.logs(run).are_packed().map_err(|error| error.to_string())?;
    let attached = service.attached(run).is_packed().map_err(|error| error.to_string())?;
    Ok(are_packed && attached && is_stream_packed(service, run))
}

/// One that is longer than what can be packed stays here.
fn is_stream_packed(service: &Service, run: &RunId) -> bool {
    let Some(remote) = &service.remote else { return true };
    service.archive.is_stored(run)
        || remote.has_packed(&Key::Stream(run.clone()))
        || service.archive.stream_bytes(run) > LOG_BYTES
}

#[cfg(test)]
mod tests {
    use seagull_domain::{Attachment, AttemptId, Digest, Record, Seq, SlotNumber, TextRef};
    use seagull_scheduler_core::{Fact, What};

    use super::*;
    use crate::service::tests::Embedded;

    fn until(mut there: impl FnMut() -> bool) {
        while !there() {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// A run that has ended, with the logs of two attempts.
    fn ended(embedded: &Embedded, run: &str) -> RunId {
        let run: RunId = run.parse().unwrap();
        embedded.archived(&run, 1);
        for attempt in [1, 2] {
            let text = format!("text of {attempt}\n").repeat(1000);
            embedded.service.logs(&run).write_at(AttemptId(attempt), 0, text.as_bytes()).unwrap();
        }
        run
    }

    /// The same run with one more fact: that it has left a file.
    fn tell(service: &Service, run: &RunId, blob: Digest) {
        let file = Attachment { name: "a.txt".into(), bytes: 3, blob: Some(blob) };
        let what = What::Recorded {
            attempt: AttemptId(1),
            batch: 1,
            executor: "e".parse().unwrap(),
            slot: SlotNumber(0),
            records: vec![(Record::Attached { test: None, file }, None)],
        };
        let mut facts: Vec<_> = service.archive.read(run, Seq(0)).unwrap().collect::<Result<_, _>>().unwrap();
        let last = facts.last().unwrap().0.0;
        facts.push((Seq(last + 1), serde_json::to_vec(&Fact { run: run.clone(), what }).unwrap()));
        let mut draft = service.archive.draft(run).unwrap();
        facts.iter().for_each(|(seq, fact)| draft.write(*seq, fact).unwrap());
        draft.finish().unwrap();
    }

    /// A small file that a run has left.
    fn leave(service: &Service, run: &RunId) {
        let mut writer = service.attached(run).writer().unwrap();
        writer.write(run.as_str().as_bytes()).unwrap();
        tell(service, run, writer.finish(None).unwrap());
    }

    #[test]
    fn logs_of_ended_runs_are_read_from_the_store_when_they_are_there() {
        let store = tempfile::tempdir().unwrap();
        let embedded = Embedded::new("own").with(&format!("file:{}/s", store.path().display()), u64::MAX);
        let service = &embedded.service;
        let run = ended(&embedded, "r");
        let text = TextRef { log: AttemptId(2), offset: 10, length: 20 };
        let read = || service.logs(&run).read(text).unwrap();
        let before = read().unwrap();
        assert_eq!(before, b"text of 2\ntext of 2\n");
        assert!(!service.logs(&run).are_packed().unwrap());
        pack_all(service).unwrap();
        pack_all(service).unwrap();
        assert!(service.logs(&run).are_packed().unwrap());
        let local = |attempt: u64| service.runs.join(format!("r/logs/{attempt}.log"));
        until(|| !local(1).exists() && !local(2).exists());
        until(|| service.archive.is_stored(&run));
        assert!(store.path().join("s/streams/r.jsonl.zst").exists() && is_packed(service, &run).unwrap());
        assert_eq!(read(), Some(before));
        let beyond = TextRef { offset: 1 << 40, ..text };
        assert_eq!(service.logs(&run).read(beyond).unwrap(), Some(Vec::new()));
        let none = TextRef { log: AttemptId(3), ..text };
        assert_eq!(service.logs(&run).read(none).unwrap(), None);
    }

    #[test]
    fn a_run_of_before_there_was_a_store_goes_up_with_its_manifest() {
        let store = tempfile::tempdir().unwrap();
        let embedded = Embedded::new("own");
        // The oldest has left what is nowhere any more, the next a small file.
        let lost = ended(&embedded, "lost");
        tell(&embedded.service, &lost, seagull_results::digest(b"lost"));
        crate::past::tests::archive(&embedded, "r", 1);
        let run: RunId = "r".parse().unwrap();
        leave(&embedded.service, &run);
        let embedded = embedded.with(&format!("file:{}/s", store.path().display()), u64::MAX);
        let service = &embedded.service;
        let [(manifest, _)] = service.blobs.list().unwrap()[..] else { panic!("there is one") };
        pack_all(service).unwrap();
        until(|| service.archive.is_stored(&lost) && service.archive.is_stored(&run));
        until(|| store.path().join("s/attached/r.zst").is_file());
        let path = store.path().join(format!("s/{}", Key::Blob(manifest)));
        until(|| path.is_file());
    }

    #[test]
    fn small_files_of_a_run_go_up_as_one_object_and_are_read_each_by_itself() {
        let store = tempfile::tempdir().unwrap();
        let embedded = Embedded::new("own").with(&format!("file:{}/s", store.path().display()), u64::MAX);
        let service = &embedded.service;
        let run = ended(&embedded, "r");
        let files = [&b"one"[..], b"two", b"one"];
        let digests = files.map(|bytes| {
            let mut writer = service.attached(&run).writer().unwrap();
            writer.write(bytes).unwrap();
            writer.finish(Some(seagull_results::digest(bytes))).unwrap()
        });
        let read = |run: &RunId, digest| -> Result<String, seagull_results::Error> {
            let mut text = String::new();
            std::io::Read::read_to_string(&mut service.attachment(run, digest)?, &mut text).unwrap();
            Ok(text)
        };
        assert_eq!(read(&run, &digests[0]).unwrap(), "one");
        assert!(!is_packed(service, &run).unwrap());
        pack_all(service).unwrap();
        pack_all(service).unwrap();
        until(|| !service.runs.join("r/attached").exists());
        assert!(is_packed(service, &run).unwrap());
        assert!(store.path().join("s/attached/r.zst").is_file());
        assert!(!store.path().join("s/blobs").exists());
        for (digest, bytes) in digests.iter().zip(files) {
            assert_eq!(read(&run, digest).unwrap().as_bytes(), bytes);
        }
        let none = seagull_results::digest(b"none");
        assert!(matches!(read(&run, &none), Err(seagull_results::Error::NoBlob(_))));
        // What is damaged there is not taken for it, and what is here is a copy.
        std::fs::remove_dir_all(service.runs.join("../blobs")).unwrap();
        std::fs::create_dir(service.runs.join("../blobs")).unwrap();
        let path = store.path().join("s/attached/r.zst");
        let mut object = std::fs::read(&path).unwrap();
        object[0] ^= 1;
        std::fs::write(&path, object).unwrap();
        let reads = digests[..2].iter().map(|digest| read(&run, digest).is_ok());
        assert_eq!(reads.filter(|whole| *whole).count(), 1);
    }

    #[test]
    fn what_piled_up_in_an_outage_goes_up_after_it() {
        let mount = tempfile::tempdir().unwrap();
        let [path, elsewhere] = ["s", "elsewhere"].map(|name| mount.path().join(name));
        let embedded = Embedded::new("own").with(&format!("file:{}", path.display()), 0);
        let service = &embedded.service;
        std::fs::rename(&path, &elsewhere).unwrap();
        let runs = ["one", "two", "three"].map(|run| ended(&embedded, run));
        runs.iter().for_each(|run| leave(service, run));
        pack_all(service).unwrap();
        assert!(service.room.is_full(Elsewhere::Store));
        assert!(!is_packed(service, &runs[2]).unwrap(), "there is no room for it");
        std::fs::rename(&elsewhere, &path).unwrap();
        until(|| {
            pack_all(service).unwrap();
            runs.iter().all(|run| service.archive.is_stored(run))
        });
        until(|| runs.iter().all(|run| !service.runs.join(run.as_str()).join("attached").exists()));
        until(|| {
            pack_all(service).unwrap();
            !service.room.is_full(Elsewhere::Store)
        });
    }

    #[test]
    fn a_run_that_cannot_be_packed_holds_up_no_other_and_does_not_wait() {
        let store = tempfile::tempdir().unwrap();
        let embedded = Embedded::new("own").with(&format!("file:{}/s", store.path().display()), 0);
        let service = &embedded.service;
        let [damaged, sound] = ["damaged", "sound"].map(|run| ended(&embedded, run));
        let stream = service.runs.join("damaged/stream.jsonl");
        let ended_at = service.archive.ended_at(&damaged).unwrap();
        std::fs::write(&stream, "no fact\n").unwrap();
        std::fs::File::open(&stream).unwrap().set_modified(ended_at).unwrap();
        until(|| {
            pack_all(service).unwrap();
            service.archive.is_stored(&sound) && !service.room.is_full(Elsewhere::Store)
        });
        assert!(!is_packed(service, &damaged).unwrap());
    }

    #[test]
    fn a_store_is_not_asked_for_what_broke_off_here() {
        let keys = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(keys.path(), "[default]\naws_access_key_id = a\naws_secret_access_key = b\n").unwrap();
        let url = format!("s3://bucket?endpoint=http://127.0.0.1:9&credentials={}", keys.path().display());
        let embedded = Embedded::new("own").with(&url, 0);
        let run: RunId = "broken-off".parse().unwrap();
        let directory = embedded.service.runs.join(run.as_str());
        drop(crate::journal::Journal::open(&directory, Default::default()).unwrap());
        assert!(embedded.service.stored([run].into()).is_ok_and(|stored| stored.is_empty()));
        assert!(embedded.service.stored(["elsewhere".parse().unwrap()].into()).is_err());
    }

    #[test]
    fn what_waits_for_a_store_that_is_away_is_bounded_and_nothing_is_lost() {
        let keys = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(keys.path(), "[default]\naws_access_key_id = a\naws_secret_access_key = b\n").unwrap();
        // Nobody listens there.
        let url = format!("s3://bucket?endpoint=http://127.0.0.1:9&credentials={}", keys.path().display());
        let embedded = Embedded::new("own").with(&url, 0);
        let service = &embedded.service;
        let runs = ["one", "two"].map(|run| ended(&embedded, run));
        pack_all(service).unwrap();
        pack_all(service).unwrap();
        assert!(service.room.is_full(Elsewhere::Store));
        let are_packed = runs.map(|run| service.logs(&run).are_packed().unwrap());
        assert_eq!(are_packed.iter().filter(|packed| **packed).count(), 1, "one is over the bound");
        let logs =
            ["one", "two"].map(|run| std::fs::read_dir(service.runs.join(run).join("logs")).unwrap().count());
        assert_eq!(logs, [2, 2]);
    }
}
