//! Which symbolic links may be part of an artifact.

use std::path::{Component, Path};

/// Whether a link at `location`, relative to the root and itself reached through no link, can only lead to places
/// inside the root, by itself and through other links for which the same holds.
///
/// Hence `..` only at the beginning: there it is applied to directories that are none of the archive's links. After
/// a name that may be a link to `.`, a `..` could lead out.
pub(crate) fn stays_inside(location: &Path, target: &Path) -> bool {
    let mut depth = location.components().count().saturating_sub(1);
    let mut descending = false;
    for component in target.components() {
        match component {
            Component::Prefix(_) | Component::RootDir => return false,
            Component::CurDir => {}
            Component::ParentDir if descending || depth == 0 => return false,
            Component::ParentDir => depth -= 1,
            Component::Normal(_) => descending = true,
        }
    }
    !target.as_os_str().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_inside_or_are_refused() {
        for (location, target, inside) in [
            ("a", "b", true),
            ("a", "./b", true),
            ("a", ".", true),
            ("d/e/a", "../../b/c", true),
            ("d/a", "..", true),
            ("a", "..", false),
            ("d/a", "../../b", false),
            ("a", "/etc/passwd", false),
            ("a", "d/../b", false),
            ("a", "d/../../b", false),
            ("a", "", false),
        ] {
            assert_eq!(
                stays_inside(Path::new(location), Path::new(target)),
                inside,
                "{location} -> {target}"
            );
        }
    }
}
