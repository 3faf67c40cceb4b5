//! What commands mount, and the names that they know: their own, where the kernel lets a supervisor see to that.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::Path;

use seagull_executor::sandbox::{End, ProcessSandbox, Sandbox, Spec};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use crate::{Bench, CHILDREN, PATIENCE, SUPERVISOR, all_dead, exit};

/// What a supervisor is started by that may not mount anything, though it is root.
const WITHOUT_RIGHTS: [&str; 2] = ["setpriv", "--bounding-set=-sys_admin"];

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

#[tokio::test]
async fn names_are_a_commands_own_where_it_may_have_them_and_it_runs_without_where_not() {
    let machine = fs::read_to_string("/etc/hosts").unwrap();
    let own = "192.0.2.7\tservice\n";
    let table: &[(&[&str], &str)] = match may_mount() {
        true => &[(&[], own), (&WITHOUT_RIGHTS, &machine)],
        false => &[(&[], &machine)],
    };
    for (before, expected) in table {
        let bench = Bench::new();
        let hosts = bench.directory.join("hosts");
        fs::write(&hosts, own).unwrap();
        let spec = Spec { hosts: Some(hosts), ..bench.spec(&["cat", "/etc/hosts"]) };
        let words = before.iter().copied().chain([SUPERVISOR]).map(OsString::from).collect();
        let sandbox = ProcessSandbox::new(CHILDREN.clone(), bench.home.path()).unwrap();
        let exit = exit(&sandbox.with_supervisor(words).start(&spec).unwrap()).await;
        assert_eq!((exit.end, exit.directory_left), (End::Code(0), None));
        assert_eq!(bench.log_text(), *expected, "{before:?}");
    }
    assert_eq!(fs::read_to_string("/etc/hosts").unwrap(), machine);
}
