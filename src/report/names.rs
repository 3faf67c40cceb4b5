//! From a test's index back to its name: the edge where indices become ids.

use std::sync::Arc;

use seagull_domain::{Manifest, TestIndex};

/// A manifest with a quick way from index to id.
#[derive(Debug, Clone, Default)]
pub struct Names {
    pub manifest: Arc<Manifest>,
    /// The first index of each of the manifest's stretches.
    firsts: Vec<u32>,
    length: usize,
}

impl Names {
    pub fn new(manifest: Arc<Manifest>) -> Self {
        let mut length = 0;
        let mut firsts = Vec::with_capacity(manifest.files.len());
        for file in &manifest.files {
            firsts.push(u32::try_from(length).unwrap_or(u32::MAX));
            length += file.suffixes.len();
        }
        Self { manifest, firsts, length }
    }

    pub fn len(&self) -> usize {
        self.length
    }

    /// The test's file and the rest of its id.
    pub fn parts(&self, test: TestIndex) -> Option<(&str, &str)> {
        let stretch = self.firsts.partition_point(|&first| first <= test.0).checked_sub(1)?;
        let file = &self.manifest.files[stretch];
        let suffix = file.suffixes.get((test.0 - self.firsts[stretch]) as usize)?;
        Some((&file.path, suffix))
    }

    /// The test's id. An index outside the manifest is named as such: it came from elsewhere.
    pub fn id(&self, test: TestIndex) -> String {
        match self.parts(test) {
            Some((path, suffix)) => format!("{path}{suffix}"),
            None => format!("test {test} (not in the manifest)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seagull_domain::FileTests;

    #[test]
    fn every_index_finds_the_id_of_its_place() {
        let file = |path: &str, suffixes: &[&str]| FileTests {
            path: path.into(),
            suffixes: suffixes.iter().map(ToString::to_string).collect(),
        };
        let files =
            vec![file("a.py", &["::x", "::y"]), file("none.py", &[]), file("b.py", &["", "::T::z[a::b]"])];
        let names = Names::new(Arc::new(Manifest { files, ..Manifest::default() }));
        let ids: Vec<String> = (0..4).map(|i| names.id(TestIndex(i))).collect();
        assert_eq!(ids, names.manifest.ids().collect::<Vec<_>>());
        assert_eq!(names.len(), 4);
        assert_eq!(names.id(TestIndex(4)), "test 4 (not in the manifest)");
        assert_eq!(Names::default().parts(TestIndex(0)), None);
    }
}
