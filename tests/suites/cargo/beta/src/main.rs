//! A program with a test.

fn main() {
    println!("{}", beta::NAME);
}

#[test]
fn is_called_beta() {
    assert_eq!(beta::NAME, "beta");
}
