//! A test binary without libtest: it is one test.

fn main() {
    println!("anything");
}
