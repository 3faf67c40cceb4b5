//! What is taken for whose, what goes up, and what is told of as left out.

use std::cell::RefCell;

use super::*;

const TEST: TestIndex = TestIndex(7);

struct Bench {
    directory: tempfile::TempDir,
    attachments: Attachments,
    claims: Claims,
    leavings: Leavings,
}

impl Bench {
    fn new(patterns: &[&str]) -> Bench {
        let directory = tempfile::tempdir().unwrap();
        let attachments = Attachments::new(directory.path().join("packed")).unwrap();
        let leavings = Leavings {
            directory: directory.path().join("left"),
            tree: directory.path().join("tree"),
            patterns: Patterns::parse("", patterns).unwrap(),
            run: "r".parse().unwrap(),
            worker: WorkerId(1),
            began: SystemTime::now(),
        };
        Bench { directory, attachments, claims: Claims::default(), leavings }
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn of_test(&self, aside: Option<u32>, failed: bool) -> Vec<(Option<TestIndex>, Attachment)> {
        let mut said = Vec::new();
        let with = (&self.attachments, &self.claims);
        let began = failed.then_some(self.leavings.began);
        self.leavings.of_test((TEST, aside, began), with, &mut |test, file| said.push((test, file)));
        said
    }

    fn rest(&self) -> Vec<(Option<TestIndex>, Attachment)> {
        let mut said = Vec::new();
        let say: Say = &mut |test, file| said.push((test, file));
        self.leavings.rest(Some((TEST, self.leavings.began)), (&self.attachments, &self.claims), say);
        said
    }
}

fn names(said: &[(Option<TestIndex>, Attachment)]) -> Vec<(bool, &str)> {
    said.iter().map(|(test, file)| (test.is_some(), file.name.as_str())).collect()
}

#[tokio::test]
async fn what_a_test_puts_aside_is_its_own_and_goes_up_packed() {
    let bench = Bench::new(&[]);
    bench.write("left/1/page.png", "shot");
    bench.write("left/1/trace/a.json", "{}");
    bench.write("left/2/other", "of the next test");
    std::os::unix::fs::symlink("/etc/passwd", bench.directory.path().join("left/1/link")).unwrap();
    std::os::unix::fs::symlink("/etc", bench.directory.path().join("left/1/etc")).unwrap();
    let said = bench.of_test(Some(1), true);
    assert_eq!(names(&said), [(true, "page.png"), (true, "trace/a.json")]);
    assert_eq!(said[0].1.bytes, 4);
    assert!(!bench.directory.path().join("left/1").exists());
    let sent = RefCell::new(Vec::new());
    let put = async |packed: Arc<Packed>| {
        let mut text = String::new();
        let file = packed.file.reopen().unwrap();
        seagull_results::unpack_attachment(file).unwrap().read_to_string(&mut text).unwrap();
        sent.borrow_mut().push((Some(packed.digest), text));
        Ok(())
    };
    bench.attachments.flush(bench.attachments.waiting(), put).await.unwrap();
    let expected = [(said[0].1.blob, "shot".to_owned()), (said[1].1.blob, "{}".to_owned())];
    assert_eq!((sent.into_inner(), bench.attachments.waiting()), (expected.to_vec(), 0));
}

#[tokio::test]
async fn one_that_is_refused_holds_up_no_other_and_what_passes_is_tried_again() {
    let bench = Bench::new(&[]);
    bench.write("left/1/a", "a");
    bench.write("left/1/b", "b");
    let said = bench.of_test(Some(1), false);
    let attached = |(test, file): &(_, Attachment)| Record::Attached { test: *test, file: file.clone() };
    let batch = |run: &str| Batch {
        run: run.parse().unwrap(),
        attempt: seagull_domain::AttemptId(1),
        number: 1,
        records: said.iter().map(attached).collect(),
    };
    let left_out = |run| {
        let mut batches = [batch(run)];
        bench.attachments.leave_out(&mut batches);
        batches[0]
            .records
            .iter()
            .filter(|r| matches!(r, Record::Attached { file, .. } if file.blob.is_none()))
            .count()
    };
    let away = bench.attachments.flush(2, async |_| Err(Status::unavailable("away"))).await;
    assert!(away.is_err() && bench.attachments.waiting() == 2);
    bench.attachments.flush(2, async |_| Err(Status::resource_exhausted("full"))).await.unwrap();
    assert_eq!(bench.attachments.waiting(), 0);
    assert_eq!((left_out("r"), left_out("another")), (2, 0));
    bench.write("left/2/a", "a");
    bench.of_test(Some(2), false);
    bench.attachments.flush(1, async |_| Ok(())).await.unwrap();
    assert_eq!(left_out("r"), 1, "what was taken later is there");
    assert_eq!(fs::read_dir(&bench.attachments.directory).unwrap().count(), 0);
}

#[test]
fn what_patterns_name_is_a_tests_if_no_other_can_have_written_it() {
    let bench = Bench::new(&["shots/**/*.png", "core*"]);
    bench.write("tree/core.old", "");
    let old = File::options().write(true).open(bench.directory.path().join("tree/core.old")).unwrap();
    old.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    bench.claims.started(WorkerId(1));
    bench.write("tree/shots/x/1.png", "1");
    bench.write("tree/shots/x/1.txt", "no");
    assert_eq!(names(&bench.of_test(None, true)), [(true, "shots/x/1.png")]);
    assert_eq!(names(&bench.of_test(None, true)), []);
    bench.claims.started(WorkerId(2));
    bench.write("tree/core.9", "core");
    bench.write("tree/shots/x/1.png", "changed");
    bench.write("left/now/state", "of a test that crashed");
    let expected = [(true, "state"), (false, "core.9"), (false, "shots/x/1.png")];
    assert_eq!(names(&bench.rest()), expected);
}

#[test]
fn what_is_kept_of_a_test_is_bounded_and_the_rest_is_told() {
    let bench = Bench::new(&[]);
    for file in 0..23 {
        bench.write(&format!("left/1/{file:02}"), "12");
    }
    let said = bench.of_test(Some(1), false);
    let kept = said.iter().filter(|(_, file)| file.blob.is_some()).count();
    let last = Attachment { name: "20 and 2 more".to_owned(), bytes: 6, blob: None };
    assert_eq!((kept, said.last()), (20, Some(&(Some(TEST), last))));
}
