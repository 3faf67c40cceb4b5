//! A library without tests or examples.

pub const NAME: &str = "beta";
