//! Which variables tests get from cargo's `[env]`: the names in its configuration, which cargo itself does not tell.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::export::Given;

/// The names, of a build in a directory that is started in this environment with these arguments.
pub fn configured(directory: &Path, given: &Given, arguments: &[String]) -> BTreeSet<String> {
    let above = directory.ancestors().map(|above| above.join(".cargo"));
    let read =
        |home: PathBuf| ["config.toml", "config"].into_iter().filter_map(move |file| table(&home.join(file)));
    let files = above.chain(home(given)).flat_map(read);
    let asked =
        asked(arguments).filter_map(|asked| table(&directory.join(asked)).or_else(|| asked.parse().ok()));
    files.chain(asked).flat_map(names).collect()
}

fn home(given: &Given) -> Option<PathBuf> {
    let of = |name: &str| given.get(OsStr::new(name)).map(PathBuf::from);
    of("CARGO_HOME").or_else(|| Some(of("HOME")?.join(".cargo")))
}

fn table(file: &Path) -> Option<Table> {
    fs::read_to_string(file).ok()?.parse().ok()
}

fn names(configuration: Table) -> Vec<String> {
    let variables = configuration.get("env").and_then(Value::as_table);
    variables.into_iter().flat_map(Table::keys).cloned().collect()
}

/// What is given with `--config`: a file, or a setting.
fn asked(arguments: &[String]) -> impl Iterator<Item = &str> {
    let cargos = arguments.iter().take_while(|argument| *argument != "--");
    let places = cargos.enumerate();
    places.filter_map(|(place, argument)| match argument.strip_prefix("--config")? {
        "" => arguments.get(place + 1).map(String::as_str),
        rest => rest.strip_prefix('='),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_of_all_files_and_of_the_command_line() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("ws/.cargo/config.toml", "[env]\nABOVE = '1'\n");
        write("ws/crate/.cargo/config", "[env]\nOLD = { value = 'x', force = true }\n");
        write("ws/crate/broken/.cargo/config.toml", "[env\n");
        write("home/.cargo/config.toml", "env.HOME_S = '1'\n");
        write("ws/crate/broken/more.toml", "[env]\nMORE = '1'\n");
        let given = Given::from([("HOME".into(), root.path().join("home").into())]);
        let arguments =
            ["--config", "more.toml", "--config=env.LINE='1'", "--", "--config", "env.OF_A_TEST='1'"];
        let arguments = arguments.map(str::to_owned);
        let names = configured(&root.path().join("ws/crate/broken"), &given, &arguments);
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["ABOVE", "HOME_S", "LINE", "MORE", "OLD"]);
    }
}
