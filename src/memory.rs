//! Sizes of memory as people write them: `512MiB`, `2GiB`, `4GB`.

use seagull_proto::limits;

/// With how many bytes each is.
const UNITS: [(&str, u64); 8] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// Reads a whole number with a unit, as KiB. The error says what is expected.
pub fn parse_kib(text: &str) -> Result<u64, String> {
    let expected = || "expected a size such as 512MiB or 2GiB".to_owned();
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let (_, factor) = UNITS.into_iter().find(|(name, _)| *name == unit).ok_or_else(expected)?;
    let number: u64 = number.parse().map_err(|_| expected())?;
    match number.saturating_mul(factor) / 1024 {
        0 => Err("expected at least 1KiB".to_owned()),
        kib if kib > limits::KIB => Err(format!("expected at most {}TiB", limits::KIB >> 30)),
        kib => Ok(kib),
    }
}

/// `64 MiB`, `1.5 GiB`.
pub fn kib(kib: u64) -> String {
    let units = [("TiB", 30), ("GiB", 20), ("MiB", 10)];
    let unit = units.into_iter().find(|(_, shift)| kib >> shift > 0);
    let Some((name, shift)) = unit else { return format!("{kib} KiB") };
    let tenths = (kib * 10) >> shift;
    if tenths < 100 && !tenths.is_multiple_of(10) {
        format!("{}.{} {name}", tenths / 10, tenths % 10)
    } else {
        format!("{} {name}", tenths / 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_they_are_written() {
        let table = [
            ("1KiB", 1),
            ("512MiB", 512 << 10),
            ("2GiB", 2 << 20),
            ("1TiB", 1 << 30),
            ("1024kB", 1000),
            ("4GB", 3_906_250),
        ];
        for (text, expected) in table {
            assert_eq!(parse_kib(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for bad in ["", "2", "GiB", "1.5GiB", "-1GiB", "2 GiB", "2gib", "2G", "0GiB", "1kB", "9999999999TiB"]
        {
            assert!(parse_kib(bad).is_err(), "{bad:?} was taken");
        }
        assert!(parse_kib("1025TiB").unwrap_err().contains("1024TiB"));
    }

    #[test]
    fn sizes_read_well() {
        let table = [(3, "3 KiB"), (64 << 10, "64 MiB"), (3 << 19, "1.5 GiB"), (12 << 20, "12 GiB")];
        for (given, words) in table {
            assert_eq!(kib(given), words);
        }
    }
}
