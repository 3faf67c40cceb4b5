//! Which test a person means: an id, else the end of one, else a part of one.

/// The ids that a text means.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// Not more than were asked for.
    pub ids: Vec<String>,
    /// How many there are in all.
    pub matching: u32,
}

impl Found {
    fn add(&mut self, id: &str, limit: usize) {
        self.matching = self.matching.saturating_add(1);
        if self.ids.len() < limit {
            self.ids.push(id.to_owned());
        }
    }
}

/// Is shown every id, once each.
#[derive(Debug)]
pub struct Finder<'t> {
    text: &'t str,
    limit: usize,
    exact: Found,
    ends: Found,
    parts: Found,
}

impl<'t> Finder<'t> {
    pub fn new(text: &'t str, limit: usize) -> Finder<'t> {
        Finder { text, limit, exact: Found::default(), ends: Found::default(), parts: Found::default() }
    }

    pub fn look_at(&mut self, id: &str) {
        if self.text.is_empty() {
            return;
        }
        if id == self.text {
            self.exact.add(id, self.limit);
        } else if is_end(id, self.text) {
            self.ends.add(id, self.limit);
        } else if id.contains(self.text) {
            self.parts.add(id, self.limit);
        }
    }

    /// What matches best.
    pub fn found(self) -> Found {
        let better = [self.exact, self.ends, self.parts];
        better.into_iter().find(|found| found.matching > 0).unwrap_or_default()
    }
}

/// Whether an id ends with a text that begins with one of its names: `test_x` is no end of `::TestA::my_test_x`.
fn is_end(id: &str, text: &str) -> bool {
    let Some(before) = id.strip_suffix(text) else { return false };
    before.ends_with(['/', ':']) || text.starts_with(['/', ':'])
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: [&str; 6] = [
        "tests/a.py::test_x",
        "tests/a.py::test_xy",
        "tests/a.py::TestA::test_x",
        "tests/b.py::my_test_y",
        "tests/b.py::test_y",
        "test_y",
    ];

    fn find(text: &str) -> Vec<String> {
        let mut finder = Finder::new(text, 10);
        IDS.iter().for_each(|id| finder.look_at(id));
        finder.found().ids
    }

    #[test]
    fn an_id_is_better_than_its_end_and_that_than_a_part() {
        assert_eq!(find("test_y"), ["test_y"]);
        assert_eq!(find("b.py::test_y"), ["tests/b.py::test_y"]);
        assert_eq!(find("::test_y"), ["tests/b.py::test_y"]);
        assert_eq!(find("test_x"), ["tests/a.py::test_x", "tests/a.py::TestA::test_x"]);
        assert_eq!(find("TestA"), ["tests/a.py::TestA::test_x"]);
        assert_eq!(find("xy"), ["tests/a.py::test_xy"]);
        assert_eq!(find("tests/b"), ["tests/b.py::my_test_y", "tests/b.py::test_y"]);
        assert_eq!(find("nothing"), [""; 0]);
        assert_eq!(find(""), [""; 0]);
    }

    #[test]
    fn more_are_counted_than_are_named() {
        let mut finder = Finder::new("test", 2);
        IDS.iter().for_each(|id| finder.look_at(id));
        let found = finder.found();
        assert_eq!((found.ids.len(), found.matching), (2, 6));
    }
}
