//! Which versions of the protocol this program speaks.

use std::fmt;

use crate::v1::ProtocolRange;

/// What this program speaks. Raise `max` for a change that an older program must not be trusted with, and see to it, by
/// what [`agree`] says, that it is not; fields that it may ignore, and kinds of a `oneof`, which it refuses where nothing
/// else is said, need no new version. `min` is what the minor release before this one has as `max`, so that releases one
/// apart work together.
pub const PROTOCOL: ProtocolRange = ProtocolRange { min: 1, max: 1 };

/// The other side speaks no version that this program does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsupported {
    pub offered: ProtocolRange,
}

/// The version to speak with a side that offers this range: the highest that both know. A range that is missing or
/// empty offers nothing.
pub fn agree(offered: Option<ProtocolRange>) -> Result<u32, Unsupported> {
    let offered = offered.unwrap_or_default();
    let highest = offered.max.min(PROTOCOL.max);
    let shared = offered.min >= 1 && highest >= offered.min && highest >= PROTOCOL.min;
    if shared { Ok(highest) } else { Err(Unsupported { offered }) }
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ours, theirs) = (PROTOCOL, self.offered);
        write!(
            f,
            "no shared protocol version: {}..{} here, {}..{} offered\nhint: install the same release of seagull on both sides",
            ours.min, ours.max, theirs.min, theirs.max
        )
    }
}

impl std::error::Error for Unsupported {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_version_that_both_speak_is_spoken() {
        let range = |min, max| Some(ProtocolRange { min, max });
        assert_eq!(agree(Some(PROTOCOL)), Ok(PROTOCOL.max));
        assert_eq!(agree(range(1, u32::MAX)), Ok(PROTOCOL.max));
        let strangers = [None, range(0, 0), range(0, 9), range(2, 1), range(PROTOCOL.max + 1, u32::MAX)];
        for stranger in strangers {
            assert!(agree(stranger).is_err(), "{stranger:?} was taken");
        }
    }

    #[test]
    fn whoever_is_refused_hears_both_ranges_and_what_to_do() {
        let refused = agree(Some(ProtocolRange { min: 7, max: 8 })).unwrap_err().to_string();
        assert!(refused.starts_with(&format!("no shared protocol version: {}..", PROTOCOL.min)), "{refused}");
        assert!(refused.contains(" here, 7..8 offered\nhint: install the same release"), "{refused}");
    }
}
