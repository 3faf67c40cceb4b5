//! What failures are searched and grouped by: the words of their texts, and a fingerprint that those share which went wrong
//! in the same way. Pure.

/// What is read of a text: its beginning.
pub const TEXT_BYTES: u32 = 8 << 10;
/// Characters of a stack that are looked at.
const STACK: usize = 4 << 10;
/// Words that are kept of a failure, and bytes of one.
const WORDS: usize = 400;
const WORD: usize = 64;
/// Frames that tell two failures apart.
const FRAMES: usize = 8;
/// Texts longer than this are parted differently in each place that they come from.
const DIGITS: usize = 3;

/// The beginning of a text, cut between characters.
pub fn excerpt(text: &str) -> &str {
    &text[..text.floor_char_boundary(STACK)]
}

/// What a text is searched by: its letters and digits in lower case, parted by single spaces, each word once. Two indices
/// that part at spaces agree on what a text has.
pub fn words(text: &str) -> String {
    let mut seen = std::collections::HashSet::new();
    let parts = text.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty());
    let words = parts.map(|part| {
        let word = part.to_lowercase();
        // A lower-case letter may be of several characters, of which some part words elsewhere.
        let word: String = word.chars().filter(|c| c.is_alphanumeric()).collect();
        word[..word.floor_char_boundary(WORD)].to_owned()
    });
    let once: Vec<_> =
        words.filter(|word| !word.is_empty() && seen.insert(word.clone())).take(WORDS).collect();
    once.join(" ")
}

/// The same for failures with the same message, but for what changes from one execution to the next, that came the same
/// way.
pub fn fingerprint(message: &str, location: &str, stack: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(steady(message).as_bytes());
    let mut frames: Vec<String> = excerpt(stack).lines().filter_map(frame).collect();
    if frames.is_empty() {
        frames.extend(location.rsplit_once(':').map(|(file, _)| file.to_owned()));
    }
    // The last ones are where it went wrong.
    for frame in frames.iter().rev().take(FRAMES) {
        hasher.update(b"\n");
        hasher.update(frame.as_bytes());
    }
    hasher.finalize().to_hex()[..16].to_owned()
}

/// Where a line of a stack is, without its number: what Python, pytest, Rust and Java write.
fn frame(line: &str) -> Option<String> {
    let line = line.trim();
    if let Some(rest) = line.strip_prefix("File \"") {
        let (file, rest) = rest.split_once('"')?;
        let function = rest.rsplit_once(" in ").map_or("", |(_, function)| function);
        return Some(format!("{file} {function}"));
    }
    if let Some(rest) = line.strip_prefix("at ") {
        let place = rest.rsplit_once(':').map_or(rest, |(place, _)| place);
        return Some(steady(place));
    }
    let (file, rest) = line.split_once(':')?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let is_place = digits > 0 && file.contains('.') && !file.contains(char::is_whitespace);
    let after = rest[digits..].trim_start_matches(':').trim();
    is_place.then(|| format!("{file} {}", steady(after)))
}

/// A text without what is of one execution alone: numbers, addresses, ids, what is quoted in them.
fn steady(text: &str) -> String {
    let mut steady = String::with_capacity(text.len());
    for word in text.split_inclusive(|c: char| !c.is_alphanumeric()) {
        let (body, rest) = match word.char_indices().next_back() {
            Some((at, last)) if !last.is_alphanumeric() => word.split_at(at),
            _ => (word, ""),
        };
        let digits = body.bytes().filter(u8::is_ascii_digit).count();
        let is_number = digits > 0 && (digits == body.len() || digits >= DIGITS || is_hexadecimal(body));
        if is_number {
            steady.push('#')
        } else {
            steady.push_str(body)
        }
        steady.push_str(rest);
    }
    steady
}

fn is_hexadecimal(word: &str) -> bool {
    let digits = word.strip_prefix("0x").unwrap_or(word);
    digits.len() >= 4 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_what_letters_and_digits_make_each_once() {
        assert_eq!(words("AssertionError: a_b != 'É' (a B)"), "assertionerror a b é");
        assert_eq!(words("  ...  "), "");
        assert_eq!(words(&"x".repeat(100)), "x".repeat(WORD));
        let many: String = (0..1000).map(|n| format!("w{n} ")).collect();
        assert_eq!(words(&many).split(' ').count(), WORDS);
        // A letter whose lower case is two characters.
        assert!(words("İx").chars().all(char::is_alphanumeric));
    }

    #[test]
    fn what_changes_from_one_execution_to_the_next_changes_no_fingerprint() {
        let stack = |line: u32, function: &str| format!("tests/a.py:{line}: in {function}\n    assert x\n");
        let of = |message: &str, line| fingerprint(message, "tests/a.py:7", &stack(line, "test_x"));
        let first = of("TimeoutError: 10.0.0.1:5432 after 3012 ms <Conn at 0x7f3a>", 7);
        assert_eq!(first, of("TimeoutError: 10.0.0.9:41 after 17 ms <Conn at 0x55b0>", 9));
        assert_ne!(first, of("TimeoutError: no route after 17 ms <Conn at 0x55b0>", 7));
        let elsewhere = fingerprint("m", "", &stack(7, "test_y"));
        assert_ne!(fingerprint("m", "", &stack(7, "test_x")), elsewhere);
        assert_eq!(first.len(), 16);
    }

    #[test]
    fn frames_of_several_languages_are_known() {
        let table = [
            ("  File \"/a/b.py\", line 12, in load", Some("/a/b.py load")),
            ("tests/a.py:12: in test_x", Some("tests/a.py in test_x")),
            ("tests/a.py:12: AssertionError", Some("tests/a.py AssertionError")),
            ("at com.example.A.run(A.java:77)", Some("com.example.A.run(A.java")),
            ("   at src/lib.rs:7:9", Some("src/lib.rs:#")),
            ("E   ValueError: 7", None),
            ("warning: 7 things", None),
        ];
        for (line, expected) in table {
            assert_eq!(frame(line).as_deref(), expected, "{line}");
        }
        // Without any, the file is what is known.
        assert_ne!(fingerprint("m", "a.py:1", ""), fingerprint("m", "b.py:1", ""));
        assert_eq!(fingerprint("m", "a.py:1", ""), fingerprint("m", "a.py:2", ""));
    }

    #[test]
    fn texts_are_cut_between_characters() {
        let text = "é".repeat(STACK);
        assert_eq!(excerpt(&text).len(), STACK);
        assert_eq!(excerpt("short"), "short");
    }
}
