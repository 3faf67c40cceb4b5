//! What commands mount, and the names that they know: their own, where the kernel lets a supervisor see to that.

use std::fs;
use std::io::Write;
use std::path::Path;

use seagull_executor::sandbox::End;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use crate::{Bench, PATIENCE, all_dead, exit};

/// Whether commands can have namespaces of their own here; false, which is said, where this is not root.
fn may_mount() -> bool {
    let may = std::process::Command::new("unshare").args(["--mount", "true"]).output();
    let may = may.is_ok_and(|output| output.status.success());
    if !may {
        let _ = writeln!(std::io::stderr(), "skipped: nobody can mount anything here");
    }
    may
}

#[tokio::test]
async fn what_a_command_mounts_nobody_else_sees_and_ends_with_it() {
    if !may_mount() {
        return;
    }
    let bench = Bench::new();
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("machine"), "").unwrap();
    let (kept, below) = (elsewhere.path().display(), bench.temporary.join("tmp/below"));
    let script = format!(
        "
import subprocess
mount = lambda *words: subprocess.run(['mount', *words], check=True)
os.mkdir('{below}')
mount('--bind', '{kept}', '{below}')
mount('-t', 'tmpfs', 'none', '{kept}')
open('{kept}/tests', 'w').close()
say('m')
rest()",
        below = below.display()
    );
    let (handle, stream) = bench.python(&script, 1).await;
    assert!(fs::read_dir(&below).unwrap().next().is_none(), "below its own directory");
    let seen: Vec<_> =
        fs::read_dir(elsewhere.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(seen, ["machine"]);
    handle.kill();
    let exit = exit(&handle).await;
    assert_eq!((exit.surviving, exit.directory_left), (0, None));
    all_dead(stream).await;
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&elsewhere.path().display().to_string()), "{mounts}");
    assert!(elsewhere.path().join("machine").exists(), "what was mounted is not removed");
}

#[tokio::test]
async fn a_command_sees_what_the_machine_mounts_meanwhile() {
    if !may_mount() {
        return;
    }
    let bench = Bench::new();
    let shared = tempfile::tempdir().unwrap();
    // As on most machines, what is mounted there is told to other namespaces.
    mount(&["-t", "tmpfs", "none"], shared.path());
    mount(&["--make-shared"], shared.path());
    let inner = shared.path().join("inner");
    fs::create_dir(&inner).unwrap();
    let script = format!(
        "
say('r')
while not os.path.exists('{inner}/there'):
    time.sleep(0.01)
say('s')",
        inner = inner.display()
    );
    let (handle, mut stream) = bench.python(&script, 1).await;
    mount(&["-t", "tmpfs", "none"], &inner);
    fs::write(inner.join("there"), "").unwrap();
    timeout(PATIENCE, stream.read_exact(&mut [0])).await.expect("it does not see it").unwrap();
    assert_eq!(exit(&handle).await.end, End::Code(0));
    let status = std::process::Command::new("umount").args([&inner, shared.path()]).status();
    assert!(status.unwrap().success(), "nothing holds them");
}

fn mount(words: &[&str], at: &Path) {
    let status = std::process::Command::new("mount").args(words).arg(at).status();
    assert!(status.unwrap().success(), "{words:?}");
}
