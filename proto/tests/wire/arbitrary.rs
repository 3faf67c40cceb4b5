//! Values of every type of the protocol, drawn from a seed. Numbers are drawn from their bounds as often as from
//! between them.

mod executors;
mod runs;

use std::collections::BTreeMap;

use seagull_domain::*;
use seagull_proto::limits;

pub use runs::EVENTS;

/// A small generator (splitmix64): the same seed gives the same values.
pub struct Source(pub u64);

impl Source {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From `low` to `high`, both included; a third of the time one of the two.
    pub fn within(&mut self, low: u64, high: u64) -> u64 {
        match self.bits() % 6 {
            0 => low,
            1 => high,
            _ => low + self.bits() % (high - low + 1),
        }
    }

    pub fn small(&mut self, bound: u32) -> u32 {
        u32::try_from(self.within(0, bound.into())).unwrap()
    }

    pub fn coin(&mut self) -> bool {
        self.bits().is_multiple_of(2)
    }

    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::try_from(self.bits() % choices.len() as u64).unwrap()]
    }

    pub fn maybe<T>(&mut self, draw: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.coin() { Some(draw(self)) } else { None }
    }

    pub fn list<T>(&mut self, most: u64, mut draw: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.within(0, most)).map(|_| draw(self)).collect()
    }

    /// Up to so many bytes of text, of characters of each encoded length.
    pub fn text(&mut self, bytes: usize) -> String {
        let length = usize::try_from(self.within(0, bytes as u64)).unwrap();
        let mut text = String::new();
        loop {
            let character = self.pick(&['a', ' ', '\n', ':', '[', 'é', '漢', '🐦']);
            if text.len() + character.len_utf8() > length {
                return text;
            }
            text.push(character);
        }
    }

    pub fn id<T: std::str::FromStr<Err = InvalidId>>(&mut self) -> T {
        let length = self.within(1, 100);
        let characters = ['a', 'Z', '0', '-', '_'];
        let text: String = (0..length).map(|_| self.pick(&characters)).collect();
        text.parse().unwrap()
    }

    pub fn digest(&mut self) -> Digest {
        Digest(std::array::from_fn(|_| self.bits().to_le_bytes()[0]))
    }

    fn number(&mut self) -> u64 {
        self.within(0, limits::NUMBER)
    }

    pub fn attempt(&mut self) -> AttemptId {
        AttemptId(self.number())
    }

    fn test(&mut self) -> TestIndex {
        TestIndex(self.small(limits::TESTS - 1))
    }

    fn generation(&mut self) -> Generation {
        Generation(self.small(limits::SMALL_NUMBER))
    }

    fn slot(&mut self) -> SlotNumber {
        SlotNumber(self.small(limits::SLOT_NUMBERS - 1))
    }

    fn labels(&mut self) -> BTreeMap<String, String> {
        self.list(4, |s| (format!("l{}", s.text(limits::LABEL_NAME_BYTES - 1)), s.text(limits::WORD_BYTES)))
            .into_iter()
            .collect()
    }

    fn infra(&mut self) -> InfraCause {
        use InfraCause::*;
        self.pick(&[
            ExecutorLost,
            SpotNotice,
            Drained,
            ArtifactUnavailable,
            SandboxFailed,
            MachineOutOfMemory,
            EnvironmentDiffers,
        ])
    }

    fn text_ref(&mut self) -> TextRef {
        let length = self.small(u32::MAX);
        TextRef { log: self.attempt(), offset: self.within(0, limits::LOG_BYTES - u64::from(length)), length }
    }
}
