//! What cargo gives a test: a directory, variables, and the programs of its package.

use std::env;
use std::process::Command;

#[test]
fn it_runs_in_its_package_with_cargos_variables() {
    assert_eq!(env::current_dir().unwrap(), std::path::Path::new(env!("CARGO_MANIFEST_DIR")));
    assert_eq!(env::var("CARGO_MANIFEST_DIR").unwrap(), env!("CARGO_MANIFEST_DIR"));
    assert_eq!(env::var("CARGO_PKG_VERSION").unwrap(), "0.1.0");
    assert!(env::var("RUSTDOC").is_err());
    assert!(env::var("SEAGULL_SLOT").is_ok());
    assert!(env::var("PYTHONHASHSEED").is_err());
}

#[test]
fn the_programs_of_its_package_are_there() {
    let output = Command::new(env!("CARGO_BIN_EXE_beta")).output().unwrap();
    assert_eq!(output.stdout, b"beta\n");
}
