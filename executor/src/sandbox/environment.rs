//! Which environment variables tests see.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

/// The executor's own variables without Seagull's internals, then those given, and a temporary directory inside the
/// sandbox. Nothing is added to `PYTHONPATH`: tests see it only if the user had set it.
pub fn environment(
    inherited: impl IntoIterator<Item = (OsString, OsString)>,
    given: &[(String, String)],
    directory: &Path,
) -> Vec<(OsString, OsString)> {
    let internal = |name: &OsString| name.as_encoded_bytes().starts_with(b"SEAGULL_");
    let mut variables: BTreeMap<OsString, OsString> =
        inherited.into_iter().filter(|(name, _)| !internal(name)).collect();
    variables.insert("TMPDIR".into(), directory.join("tmp").into_os_string());
    variables.extend(given.iter().map(|(name, value)| (name.into(), value.into())));
    variables.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internals_stay_out_and_what_is_given_wins() {
        let inherited =
            [("PATH", "/bin"), ("SEAGULL_TOKEN", "secret"), ("LANG", "C"), ("TMPDIR", "/var/tmp")]
                .map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let given = [("LANG".to_owned(), "en".to_owned()), ("SEAGULL_SLOT".to_owned(), "3".to_owned())];
        let expected = [("LANG", "en"), ("PATH", "/bin"), ("SEAGULL_SLOT", "3"), ("TMPDIR", "/d/tmp")]
            .map(|(name, value)| (OsString::from(name), OsString::from(value)));
        assert_eq!(environment(inherited, &given, Path::new("/d")), expected);
    }
}
