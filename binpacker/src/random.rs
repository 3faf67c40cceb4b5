//! Chance from a seed (SplitMix64, Steele, Lea and Flood 2014).

/// Multiples of the golden ratio are as even as can be.
pub const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// A sequence that its seed names.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mixed(self.0)
    }

    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }

    /// From 0 to 1, which it never is.
    pub fn share(&mut self) -> f64 {
        share(self.next())
    }
}

/// Every bit of it depends on every bit that is given.
pub fn mixed(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

pub fn share(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}
