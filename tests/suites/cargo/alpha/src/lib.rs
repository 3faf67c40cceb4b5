//! Tests of every outcome, and documentation with an example.

/// Twice as much.
///
/// ```
/// assert_eq!(alpha::double(2), 4);
/// ```
pub fn double(number: u32) -> u32 {
    number * 2
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    static SEEN: AtomicBool = AtomicBool::new(false);

    #[test]
    fn passes() {
        println!("said by one that passes");
        assert_eq!(double(1), 2);
    }

    #[test]
    fn fails() {
        println!("said by one that fails");
        assert_eq!(double(1), 3);
    }

    #[test]
    fn panics() {
        None::<u8>.expect("a number");
    }

    #[test]
    #[ignore = "too slow"]
    fn is_ignored() {
        panic!("it ran");
    }

    #[test]
    #[should_panic(expected = "a number")]
    fn panics_as_it_should() {
        None::<u8>.expect("a number");
    }

    #[test]
    #[should_panic]
    fn does_not_panic_as_it_should() {}

    #[test]
    fn returns_an_error() -> Result<(), String> {
        Err("no".to_owned())
    }

    #[test]
    fn aborts() {
        eprintln!("last words");
        std::process::abort();
    }

    #[test]
    fn exits_as_if_all_were_well() {
        std::process::exit(0);
    }

    #[test]
    fn has_a_process_of_its_own() {
        assert!(!SEEN.swap(true, Ordering::SeqCst));
    }

    #[test]
    fn so_has_another() {
        assert!(!SEEN.swap(true, Ordering::SeqCst));
    }
}
