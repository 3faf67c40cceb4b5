//! Which of the names there are somebody meant who wrote another.

/// It may differ by so many letters, or have at least as many as these in common at its beginning.
const NEAR: usize = 2;
const BEGINNING: usize = 3;

/// The name that is meant, if any is like the word.
pub fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let alike = names.into_iter().filter(|name| differs_little(word, name) || begins_alike(word, name));
    alike.min_by_key(|name| distance(word, name))
}

/// By letters that do not make up most of it.
fn differs_little(a: &str, b: &str) -> bool {
    let distance = distance(a, b);
    distance <= NEAR && distance < a.chars().count().max(b.chars().count()) - 1
}

/// `retry` and `retries`, `environment` and `env`.
fn begins_alike(a: &str, b: &str) -> bool {
    let common = a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
    common >= BEGINNING && common + 1 >= a.chars().count().min(b.chars().count())
}

/// How many letters must be put in, left out, replaced, or swapped with the next one to make one word of the other (the
/// optimal string alignment of Damerau and Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 0..a.len() {
        let mut row = vec![i + 1];
        for j in 0..b.len() {
            let replaced = rows[i][j] + usize::from(a[i] != b[j]);
            let is_swapped = i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j];
            let swapped = if is_swapped { rows[i - 1][j - 1] + 1 } else { replaced };
            row.push(replaced.min(swapped).min(rows[i][j + 1] + 1).min(row[j] + 1));
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_meant_is_near_or_begins_alike() {
        let names = ["env", "retries", "run", "secrets", "slots", "tests"];
        let table = [
            ("retry", Some("retries")),
            ("environment", Some("env")),
            ("secret", Some("secrets")),
            ("runs", Some("run")),
            ("slot", Some("slots")),
            ("tets", Some("tests")),
            ("rnu", Some("run")),
            ("command", None),
            ("report", None),
            ("a", None),
            ("", None),
        ];
        for (word, meant) in table {
            assert_eq!(nearest(word, names), meant, "{word}");
        }
    }

    #[test]
    fn distances_are_edits() {
        for (a, b, edits) in [
            ("", "abc", 3),
            ("slot", "slots", 1),
            ("projekt", "project", 1),
            ("kitten", "sitting", 3),
            ("tpc", "tcp", 1),
        ] {
            assert_eq!((distance(a, b), distance(b, a)), (edits, edits), "{a} {b}");
        }
    }
}
