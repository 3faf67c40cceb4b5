//! A clock that jumps past a lease: what it is of goes, and no test is blamed.

use std::process::Command;

use crate::environments::{GUARDED, start, suite};
use crate::harness::{Docker, is, text, until};

/// A library by which it is eight days later for whoever has it loaded before.
const LATER: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
int clock_gettime(clockid_t id, struct timespec *at) {
    int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    int done = real(id, at);
    if (id == CLOCK_REALTIME) at->tv_sec += 8 * 24 * 3600;
    return done;
}
"#;

#[test]
fn a_sandbox_whose_lease_has_ended_by_a_clock_that_jumped_goes_and_its_test_runs_again() {
    // What else is on the engine would go, too.
    let Some((docker, _alone)) = Docker::alone() else { return };
    let test = "import os, pathlib, time\ndef test_x(keeper):\n    keeper('x')\n    \
                once = pathlib.Path(os.environ['MEETING_PLACE']) / 'once'\n    \
                if not once.exists():\n        once.touch()\n        time.sleep(600)\n";
    let suite = suite(&[("tests/db/test_a.py", test)]);
    let (source, library) = (suite.beside("later.c"), suite.beside("later.so"));
    std::fs::write(&source, LATER).unwrap();
    let mut compiler = Command::new("cc");
    let made =
        compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).arg("-ldl").output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let mut running = start(&docker, &suite, &["--slots", "1", "tests"]);
    until(|| suite.beside("meet").join("once").exists());
    let mut gc = docker.seagull(&suite, &["executor", "gc"]);
    let gc = gc.env("LD_PRELOAD", &library).output().unwrap();
    let said = String::from_utf8_lossy(&gc.stdout);
    assert!(gc.status.success() && said.contains("of db: its lease ended "), "{gc:?}");
    let lost = running.until(is("attempt_lost"));
    assert_eq!(text(&lost, "cause"), "sandbox failed");
    assert!(text(&lost, "message").starts_with("keeper ended while tests used it: "), "{lost}");
    running.finish().expect_counts(0, &[("passed", 1)]);
    suite.marked().all_gone_within(GUARDED);
    assert_eq!(docker.objects(&suite), [""; 0]);
}
