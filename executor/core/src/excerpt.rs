//! What is told at once of a long text: what it comes to stands in its last lines.

/// So many of them.
const LAST_LINES: usize = 8;

/// The last lines of a text. Blank ones at its end do not count.
pub fn last_lines(text: &str) -> Vec<&str> {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].to_vec()
}

/// The first line of a text and its last ones: what it is about, and what it comes to.
pub(crate) fn ends(text: &str) -> String {
    let text = text.trim_end();
    match text.split_once('\n') {
        Some((first, rest)) => std::iter::once(first).chain(last_lines(rest)).collect::<Vec<_>>().join("\n"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_told_by_its_ends() {
        let text = (0..20).map(|line| line.to_string()).collect::<Vec<_>>().join("\n") + "\n\n";
        assert_eq!(last_lines(&text).join(" "), "12 13 14 15 16 17 18 19");
        assert_eq!(ends(&text).replace('\n', " "), "0 12 13 14 15 16 17 18 19");
        assert_eq!((ends("one\n"), ends("one\ntwo")), ("one".to_owned(), "one\ntwo".to_owned()));
        assert!(last_lines("\n").is_empty());
    }
}
