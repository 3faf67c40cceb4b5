//! What there is of a machine, and what is needed of it.

use serde::{Deserialize, Serialize};

use crate::{Definition, Environment, Limits, Scope, Service, Suite};

/// Memory and cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Resources {
    pub memory_kib: u64,
    /// Thousandths of a core.
    pub millicpus: u64,
}

/// What an environment needs: what is written for its services and for its tests. What has no limit counts for
/// nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Size {
    /// Of each worker.
    pub ordinary: Resources,
    /// With twice the memory and disk for its tests, where either is limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub larger: Option<Resources>,
    /// What its workers share on an executor, which is there once.
    #[serde(default)]
    pub shared: Resources,
}

impl Resources {
    /// Of a machine of which nothing is known.
    pub const UNBOUNDED: Resources = Resources { memory_kib: u64::MAX, millicpus: u64::MAX };

    /// Whether what is needed is there at all. Cores need not be: what wants more of them than there are takes longer with
    /// all of them.
    pub fn hold(self, needs: Resources) -> bool {
        needs.memory_kib <= self.memory_kib
    }

    /// Whether there is enough for all of it at once.
    pub fn hold_all(self, used: impl Iterator<Item = Resources>) -> bool {
        let capped = |of: Resources| Resources { millicpus: of.millicpus.min(self.millicpus), ..of };
        let all = used.map(capped).fold(Resources::default(), Resources::and);
        all.memory_kib <= self.memory_kib && all.millicpus <= self.millicpus
    }

    #[must_use]
    pub fn and(self, other: Resources) -> Resources {
        Resources {
            memory_kib: self.memory_kib.saturating_add(other.memory_kib),
            millicpus: self.millicpus.saturating_add(other.millicpus),
        }
    }

    /// Enough for either.
    #[must_use]
    pub fn or(self, other: Resources) -> Resources {
        Resources {
            memory_kib: self.memory_kib.max(other.memory_kib),
            millicpus: self.millicpus.max(other.millicpus),
        }
    }

    fn of(limits: &Limits) -> Resources {
        Resources {
            memory_kib: limits.memory_kib.unwrap_or(0),
            millicpus: limits.millicpus.unwrap_or(0).into(),
        }
    }
}

impl Size {
    fn of(environment: &Environment, services: impl Iterator<Item = Resources>, shared: Resources) -> Size {
        let tests = environment.limits().map(Resources::of).unwrap_or_default();
        let ordinary = services.fold(tests, Resources::and);
        let more = Resources { memory_kib: tests.memory_kib, millicpus: 0 };
        let is_limited = |limits: &Limits| limits.memory_kib.is_some() || limits.disk_kib.is_some();
        let larger = environment.limits().is_some_and(is_limited).then(|| ordinary.and(more));
        Size { ordinary, larger, shared }
    }
}

impl Suite {
    /// What each environment needs, by its number; nothing where none needs anything.
    pub fn sizes(&self) -> Vec<Size> {
        let of = |number| match self.definition(number) {
            Ok(Some(definition)) => definition.size(),
            Ok(None) | Err(_) => Size::default(),
        };
        let sizes: Vec<Size> = self.numbers().map(of).collect();
        if sizes.iter().all(|size| *size == Size::default()) { Vec::new() } else { sizes }
    }
}

impl Definition {
    pub fn size(&self) -> Size {
        let is_shared = |service: &&Service| Scope::SHARED.contains(&service.scope);
        let (shared, own): (Vec<_>, Vec<_>) = self.services.values().partition(is_shared);
        let of = |service: &Service| Resources::of(&service.limits);
        let shared = shared.into_iter().map(of).fold(Resources::default(), Resources::and);
        Size::of(&self.environment, own.into_iter().map(of), shared)
    }

    /// The same for a larger slot: its tests have twice the memory and disk.
    #[must_use]
    pub fn larger(mut self) -> Definition {
        self.environment.enlarge();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EnvironmentNumber, TestContainer};

    fn some(memory_kib: u64, millicpus: u64) -> Resources {
        Resources { memory_kib, millicpus }
    }

    #[test]
    fn an_environment_needs_what_is_written_of_all_in_it() {
        let limits = |memory_kib, millicpus| Limits { memory_kib, millicpus, pids: 9, disk_kib: None };
        let service = |limits| Service { limits, ..Service::default() };
        let mut suite = Suite::default();
        suite.services.insert("pg".into(), service(limits(Some(100), Some(500))));
        suite.services.insert("cache".into(), service(limits(None, None)));
        let services = vec!["pg".to_owned(), "cache".to_owned()];
        let container = TestContainer { limits: limits(Some(30), Some(1000)), ..TestContainer::default() };
        let inside =
            Environment { services: services.clone(), container: Some(container), ..Environment::default() };
        suite.environments.insert("inside".into(), inside);
        suite.environments.insert("outside".into(), Environment { services, ..Environment::default() });
        let sizes = suite.sizes();
        assert_eq!(sizes[0], Size::default());
        let of = |ordinary, larger| Size { ordinary, larger, shared: Resources::default() };
        assert_eq!(sizes[1], of(some(130, 1500), Some(some(160, 1500))));
        assert_eq!(sizes[2], of(some(100, 500), None));
        suite.services.get_mut("pg").unwrap().scope = Scope::Run;
        let shared = Size { ordinary: some(30, 1000), larger: Some(some(60, 1000)), shared: some(100, 500) };
        assert_eq!(suite.sizes()[1], shared, "it is there once");
        suite.services.get_mut("pg").unwrap().scope = Scope::Slot;
        let larger = suite.definition(EnvironmentNumber(1)).unwrap().unwrap().larger();
        assert_eq!(larger.size().ordinary, some(160, 1500));
        suite.services.get_mut("pg").unwrap().limits = limits(None, None);
        suite.environments.remove("inside");
        assert_eq!(suite.sizes(), [], "nothing is limited");
    }

    #[test]
    fn bounds_on_a_machine_count_as_those_of_a_container() {
        let bounds = Some(Limits { memory_kib: Some(30), millicpus: Some(500), ..Limits::default() });
        let environment = Environment { bounds, ..Environment::default() };
        let definition = Definition { name: "e".into(), environment, services: [].into() };
        let shared = Resources::default();
        assert_eq!(definition.size(), Size { ordinary: some(30, 500), larger: Some(some(60, 500)), shared });
        assert_eq!(definition.larger().environment.bounds.unwrap().memory_kib, Some(60));
    }

    #[test]
    fn a_bound_of_the_disk_alone_is_larger_too() {
        let limits = Limits { disk_kib: Some(30), ..Limits::default() };
        let container = Some(TestContainer { limits, ..TestContainer::default() });
        let environment = Environment { container, ..Environment::default() };
        let definition = Definition { name: "e".into(), environment, services: [].into() };
        assert_eq!(definition.size(), Size { larger: Some(Resources::default()), ..Size::default() });
        let larger = definition.larger().environment.container.unwrap().limits;
        assert_eq!((larger.memory_kib, larger.disk_kib), (None, Some(60)));
    }

    #[test]
    fn never_more_memory_is_promised_than_there_is_and_cores_are_shared_by_what_fits() {
        let machine = some(100, 4000);
        let room = |used: &[Resources], needs| machine.hold_all(used.iter().copied().chain([needs]));
        assert!(room(&[], some(100, 0)) && !room(&[], some(101, 0)) && !machine.hold(some(101, 0)));
        assert!(room(&[some(60, 0)], some(40, 0)) && !room(&[some(60, 0)], some(41, 0)));
        assert!(room(&[], some(1, 9000)) && machine.hold(some(1, 9000)), "it has all cores");
        assert!(!room(&[some(1, 9000)], some(1, 1)), "and leaves none");
        assert!(room(&[some(1, 3000)], some(1, 1000)) && !room(&[some(1, 3000)], some(1, 1001)));
        assert!(room(&[some(100, 4000)], Resources::default()), "what has no limit is not counted");
        assert!(Resources::UNBOUNDED.hold_all([some(u64::MAX, 1), some(u64::MAX, u64::MAX)].into_iter()));
    }
}
