//! The chains that nobody uses, of all collections together: each has a Lua state, and there may be many collections.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU64, Ordering},
    thread::available_parallelism,
};

use parking_lot::Mutex;
use stillpoint_migrations::Chain;

/// Most chains that are kept; beyond it the one goes that was not used for longest.
const IDLE_MAX: usize = 64;

/// So many of one lineage are kept at least, if there are so many.
const OF_ONE_MIN: usize = 4;

/// Chains that nobody uses.
pub struct Idle {
    /// With the number of the lineage that each is of; the one used last is the last.
    chains: Mutex<VecDeque<(u64, Chain)>>,
    /// Most of one lineage: about as many are used at a time, and readers beside the writer even where there is one core.
    of_one_max: usize,
    lineages: AtomicU64,
}

impl std::fmt::Debug for Idle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Idle").finish_non_exhaustive()
    }
}

impl Default for Idle {
    fn default() -> Idle {
        Idle {
            chains: Mutex::default(),
            of_one_max: available_parallelism().map_or(OF_ONE_MIN, |n| OF_ONE_MIN.max(n.get())),
            lineages: AtomicU64::new(0),
        }
    }
}

impl Idle {
    /// A number that no other lineage has.
    pub fn lineage(&self) -> u64 {
        self.lineages.fetch_add(1, Ordering::Relaxed)
    }

    /// Takes a chain of a lineage.
    pub fn take(&self, lineage: u64) -> Option<Chain> {
        let mut chains = self.chains.lock();
        let at = chains.iter().rposition(|(of, _)| *of == lineage)?;
        chains.remove(at).map(|(_, chain)| chain)
    }

    /// Keeps a chain of a lineage for whoever needs it next.
    pub fn keep(&self, lineage: u64, chain: Chain) {
        let mut chains = self.chains.lock();
        let is_of_it = |(of, _): &&(u64, Chain)| *of == lineage;
        let surplus = match chains.iter().filter(is_of_it).count() < self.of_one_max {
            true => {
                chains.push_back((lineage, chain));
                (chains.len() > IDLE_MAX)
                    .then(|| chains.pop_front())
                    .flatten()
            }
            false => Some((lineage, chain)),
        };
        // It frees a Lua state: not while others wait.
        drop(chains);
        drop(surplus);
    }

    /// Lets go of all chains of a lineage.
    pub fn forget(&self, lineage: u64) {
        let mut gone = Vec::new();
        let mut chains = self.chains.lock();
        while let Some(at) = chains.iter().position(|(of, _)| *of == lineage) {
            gone.extend(chains.remove(at));
        }
        drop(chains);
        drop(gone);
    }
}

#[cfg(test)]
mod tests {
    use stillpoint_migrations::Limits;

    use super::*;

    fn chain() -> Chain {
        Chain::new("game", "player", &[], Limits::default()).expect("no script is a chain, too")
    }

    #[test]
    fn what_is_kept_is_bounded_by_lineage_and_in_all_and_what_was_used_last_stays() {
        let idle = Idle {
            of_one_max: 2,
            ..Idle::default()
        };
        for _ in 0..3 {
            idle.keep(0, chain());
        }
        let count = |lineage| {
            let chains = idle.chains.lock();
            chains.iter().filter(|(of, _)| *of == lineage).count()
        };
        assert_eq!(count(0), 2);
        idle.keep(1, chain());
        for lineage in 2..IDLE_MAX as u64 {
            let used = idle.take(0).expect("it was just used");
            idle.keep(0, used);
            idle.keep(lineage, chain());
        }
        assert_eq!(idle.chains.lock().len(), IDLE_MAX);
        assert_eq!((count(0), count(1)), (1, 1));
        idle.keep(100, chain());
        assert_eq!((count(0), count(1), count(100)), (1, 0, 1));
        idle.forget(0);
        assert!(idle.take(0).is_none() && idle.take(2).is_some());
    }
}
