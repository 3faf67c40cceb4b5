//! Virtual environments with the frameworks that suites need, each made once and kept in the target directory.
#![expect(clippy::disallowed_methods, reason = "environments are made once, by whoever comes first")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// What is installed beside the interpreter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packages {
    Pytest,
    Pytest7,
    Pytest8,
    Xdist,
    Django,
    Forked,
    Plugins,
    Coverage,
    Networkx,
}

impl Packages {
    fn name(self) -> &'static str {
        match self {
            Packages::Pytest => "pytest",
            Packages::Pytest7 => "pytest-7",
            Packages::Pytest8 => "pytest-8",
            Packages::Xdist => "xdist",
            Packages::Django => "django",
            Packages::Forked => "forked",
            Packages::Plugins => "plugins",
            Packages::Coverage => "coverage",
            Packages::Networkx => "networkx",
        }
    }

    fn requirements(self) -> &'static [&'static str] {
        match self {
            Packages::Pytest => &["pytest==9.2.0"],
            Packages::Pytest7 => &["pytest==7.4.4"],
            Packages::Pytest8 => &["pytest==8.4.2"],
            Packages::Xdist => &["pytest==9.2.0", "pytest-xdist==3.8.0"],
            Packages::Django => &["pytest==9.2.0", "pytest-django==4.14.0", "django==5.2.19"],
            // Of pytest 9.2's reports pytest-forked cannot send any.
            Packages::Forked => &["pytest==8.4.2", "pytest-forked==1.7.5"],
            Packages::Coverage => &["pytest==9.2.0", "pytest-cov==7.1.0", "coverage==7.17.4"],
            Packages::Networkx => &["pytest==9.2.0", "networkx==3.6.1", "numpy==2.4.6"],
            Packages::Plugins => &[
                "pytest==9.2.0",
                "hypothesis==6.170.15",
                "pytest-asyncio==1.5.0",
                "pytest-dependency==0.6.1",
                "pytest-html==4.2.0",
                "pytest-mock==3.17.0",
                "pytest-order==1.5.0",
                "pytest-randomly==5.1.0",
                "pytest-reportlog==1.0.0",
                "pytest-rerunfailures==16.7",
                "pytest-timeout==2.4.0",
                "pytest-xdist==3.8.0",
            ],
        }
    }

    /// The environment's directory, made with `SEAGULL_TEST_PYTHON` (else `python3`) if it is not there yet.
    pub fn environment(self) -> PathBuf {
        // One at a time among the threads here; the file's lock keeps other test processes out.
        static MAKING: Mutex<()> = Mutex::new(());
        let _one = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        let all = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("test-venvs");
        fs::create_dir_all(&all).unwrap();
        let lock = File::create(all.join("lock")).unwrap();
        lock.lock().unwrap();
        let directory = all.join(self.name());
        let python = std::env::var("SEAGULL_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let recipe = format!("{python} {}", self.requirements().join(" "));
        // Written last: an environment without it is half made.
        let made = directory.join("recipe");
        if fs::read_to_string(&made).is_ok_and(|text| text == recipe) {
            return directory;
        }
        let _ = fs::remove_dir_all(&directory);
        run(Command::new(&python).args(["-m", "venv"]).arg(&directory));
        let mut install = Command::new(directory.join("bin/python"));
        install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        run(install.args(self.requirements()));
        fs::write(&made, recipe).unwrap();
        directory
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
