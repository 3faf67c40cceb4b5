//! Secrets: found on this machine where a run says, given to its tests, and hidden in what they say.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use seagull_domain::SecretSource;

/// The longest value, as of any variable of a run.
const BYTES: u64 = 128 << 10;
/// What is shorter is in too many words to be hidden; more so a line of a value that has several.
const SHORTEST: usize = 4;
const SHORTEST_LINE: usize = 8;
const HIDDEN: &str = "***";

/// The values, which nothing shows: not even `{:?}`.
#[derive(Clone, Default)]
pub struct Secrets {
    variables: Vec<(String, String)>,
    /// What is hidden, the longest first.
    hidden: Vec<String>,
}

impl Secrets {
    /// The error says which one is not there.
    pub fn find(sources: &BTreeMap<String, SecretSource>) -> Result<Secrets, String> {
        let found = sources.iter().map(|(name, source)| match value(source) {
            Ok(value) => Ok((name.clone(), value)),
            Err(error) => Err(format!("secret {name}, {source}: {error}")),
        });
        Ok(Secrets::of(found.collect::<Result<_, String>>()?))
    }

    fn of(variables: Vec<(String, String)>) -> Secrets {
        let values =
            variables.iter().map(|(_, value)| value.as_str()).filter(|value| value.len() >= SHORTEST);
        let lines = variables.iter().flat_map(|(_, value)| value.lines()).map(str::trim);
        let lines = lines.filter(|line| line.len() >= SHORTEST_LINE);
        let mut hidden: Vec<String> = values.chain(lines).map(str::to_owned).collect();
        hidden.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        hidden.dedup();
        Secrets { variables, hidden }
    }

    /// These, and those that are there: who needs one says which is not.
    pub fn with<'a>(&self, sources: impl IntoIterator<Item = (&'a String, &'a SecretSource)>) -> Secrets {
        self.and(sources.into_iter().filter_map(|(name, source)| Some((name.clone(), value(source).ok()?))))
    }

    /// These, and those.
    pub fn and(&self, more: impl IntoIterator<Item = (String, String)>) -> Secrets {
        Secrets::of(self.variables.iter().cloned().chain(more).collect())
    }

    /// What tests have.
    pub fn variables(&self) -> &[(String, String)] {
        &self.variables
    }

    /// Takes the values out of a text.
    pub fn hide(&self, text: &mut String) {
        for value in &self.hidden {
            if text.contains(value) {
                *text = text.replace(value, HIDDEN);
            }
        }
    }

    pub fn hidden_in(&self, mut text: String) -> String {
        self.hide(&mut text);
        text
    }

    /// The same of the end of a longer text, which may begin with the rest of a value.
    pub fn hidden_in_end(&self, mut text: String) -> String {
        let rests = self.hidden.iter().filter_map(|value| rest_of(value, &text));
        if let Some(length) = rests.max() {
            text.replace_range(..length, HIDDEN);
        }
        self.hidden_in(text)
    }
}

/// How much of a text's beginning is the end of a value that began before it.
fn rest_of(value: &str, text: &str) -> Option<usize> {
    let rests = value.char_indices().skip(1).map(|(at, _)| &value[at..]);
    rests.take_while(|rest| rest.len() >= SHORTEST).find(|rest| text.starts_with(rest)).map(str::len)
}

fn value(source: &SecretSource) -> Result<String, String> {
    let value = match source {
        SecretSource::Variable(name) => variable(name)?,
        SecretSource::File(path) => contents(path)?,
    };
    match value {
        value if value.is_empty() => Err("it is empty".to_owned()),
        value if value.contains('\0') => Err("it has a NUL, which no variable can have".to_owned()),
        value => Ok(value),
    }
}

fn variable(name: &str) -> Result<String, String> {
    let value = std::env::var_os(name).ok_or("there is no such variable")?;
    // The error would have the value in it.
    value.into_string().map_err(|_| "it is not UTF-8".to_owned())
}

fn contents(path: &Path) -> Result<String, String> {
    let said = |error: std::io::Error| error.to_string();
    // A pipe would never end, or not even open.
    if !path.metadata().map_err(said)?.is_file() {
        return Err("it is no file".to_owned());
    }
    let mut text = String::new();
    File::open(path).and_then(|file| file.take(BYTES + 1).read_to_string(&mut text)).map_err(said)?;
    if text.len() as u64 > BYTES {
        return Err(format!("it has more than {} KiB", BYTES >> 10));
    }
    let line = text.strip_suffix('\n').map(|text| text.strip_suffix('\r').unwrap_or(text));
    Ok(line.map(str::to_owned).unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn of(values: &[&str]) -> Secrets {
        Secrets::of(values.iter().map(|value| ("NAME".to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn values_are_hidden_and_so_are_the_lines_of_a_long_one() {
        let key = "-----BEGIN KEY-----\nc2VjcmV0\n=\n-----END KEY-----";
        let secrets = of(&["hunter2", "hunter22", "abc", key]);
        let table = [
            ("hunter2 and hunter22, ahunter2b", "*** and ***, a***b"),
            ("abc is too short to be one", "abc is too short to be one"),
            (key, "***"),
            ("'-----BEGIN KEY-----\\nc2VjcmV0\\n='", "'***\\n***\\n='"),
        ];
        for (text, expected) in table {
            assert_eq!(secrets.hidden_in(text.to_owned()), expected);
        }
        assert_eq!(Secrets::default().hidden_in("hunter2".to_owned()), "hunter2");
    }

    #[test]
    fn what_begins_in_the_middle_of_a_value_shows_nothing_of_it() {
        let secrets = of(&["hunter2", "PASSWORD=hunter2"]);
        let table = [
            ("unter2 and hunter2", "*** and ***"),
            ("WORD=hunter2, it is", "***, it is"),
            ("er2 is too little of one", "er2 is too little of one"),
            ("no unter2", "no unter2"),
            ("", ""),
        ];
        for (text, expected) in table {
            assert_eq!(secrets.hidden_in_end(text.to_owned()), expected);
        }
    }

    #[test]
    fn a_secret_is_a_variable_or_a_file_and_what_is_missing_is_named_without_values() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        let find = |name: &str, text: &str| {
            let sources = [(name.to_owned(), text.parse().unwrap())].into();
            Secrets::find(&sources).map(|secrets| secrets.variables()[0].1.clone())
        };
        let in_file = |bytes: &[u8]| {
            fs::write(&file, bytes).unwrap();
            find("TOKEN", &format!("file:{}", file.display()))
        };
        assert_eq!(find("A", "env:PATH").unwrap(), std::env::var("PATH").unwrap());
        assert_eq!(in_file(b"a b\n").unwrap(), "a b");
        assert_eq!(in_file(b"a\r\n").unwrap(), "a");
        assert_eq!(in_file(b"a\nb\n\n").unwrap(), "a\nb\n");
        for bytes in [&b""[..], b"\n", b"hunter2\0", b"\xff", &vec![b'x'; BYTES as usize + 1]] {
            let refusal = in_file(bytes).unwrap_err();
            assert!(refusal.starts_with("secret TOKEN, file:/") && !refusal.contains("hunter2"), "{refusal}");
        }
        let pipe = directory.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for text in ["env:NO_SUCH_VARIABLE_HERE".to_owned(), format!("file:{}", pipe.display())] {
            assert!(find("TOKEN", &text).unwrap_err().starts_with(&format!("secret TOKEN, {text}: ")));
        }
    }
}
