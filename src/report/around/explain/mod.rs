//! Why a run or a test has its verdict.

mod run;
mod test;

pub use run::explain_run;
pub use test::explain_test;

const WIDTH: usize = 500;
