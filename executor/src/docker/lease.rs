//! Which objects have outlived who made them.

use super::labels::Labels;
use super::owner::Standing;

/// Why an object is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outlived {
    /// Its lease has ended so many seconds ago.
    Lease(u64),
    /// Its owner is dead, and nobody guards it.
    Owner,
}

/// `now`: in seconds since 1970. An owner that cannot be seen from here, on another machine or in another container, is
/// taken to live: then only the lease counts.
pub fn outlived(labels: &Labels, now: u64, standing: Standing) -> Option<Outlived> {
    match standing {
        _ if now >= labels.lease => Some(Outlived::Lease(now - labels.lease)),
        Standing::Dead => Some(Outlived::Owner),
        Standing::Alive | Standing::Unknown => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::labels::tests::labels;
    use super::*;

    #[test]
    fn what_is_to_go_is_what_no_one_sees_to_or_what_had_its_time() {
        use Standing::{Alive, Dead, Unknown};
        let table = [
            (999, Alive, None),
            (999, Unknown, None),
            (999, Dead, Some(Outlived::Owner)),
            (1000, Alive, Some(Outlived::Lease(0))),
            (1007, Unknown, Some(Outlived::Lease(7))),
            (1000, Dead, Some(Outlived::Lease(0))),
        ];
        for (now, standing, expected) in table {
            assert_eq!(outlived(&labels(), now, standing), expected, "{now} {standing:?}");
        }
    }
}
