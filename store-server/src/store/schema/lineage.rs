//! The scripts of a collection, ready to run on any thread.
//!
//! A chain has a Lua state and works on one document at a time; making one takes some hundred microseconds. So those that are
//! made are kept, within bounds: whoever needs one takes it, or makes another while all are in use.

mod idle;

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use stillpoint_migrations::{Allowance, Chain, Limits, Source, StepError};

pub(super) use self::idle::Idle;

/// The scripts of a collection.
pub struct Lineage {
    namespace: String,
    collection: String,
    sources: Vec<Source>,
    limits: Limits,
    links: OnceLock<Result<Vec<Link>, StepError>>,
    /// The chains that nobody uses, and its number there.
    idle: Arc<Idle>,
    number: u64,
}

/// One script, without its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The version that it takes.
    pub from: u32,
    /// The version that it makes.
    pub to: u32,
    /// What it is called: `game/player/0002_name.lua`.
    pub path: String,
    /// Whether there is a way back.
    pub has_down: bool,
    /// Whether something may be lost on the way there and back.
    pub is_lossy: bool,
}

impl std::fmt::Debug for Lineage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lineage")
            .field("namespace", &self.namespace)
            .field("collection", &self.collection)
            .field("links", &self.links)
            .finish_non_exhaustive()
    }
}

impl Lineage {
    /// The chain of a collection, of those of the scripts that serve it.
    pub(super) fn new(
        namespace: &str,
        collection: &str,
        sources: Vec<Source>,
        limits: Limits,
        idle: &Arc<Idle>,
    ) -> Lineage {
        Lineage {
            namespace: namespace.into(),
            collection: collection.into(),
            sources,
            limits,
            links: OnceLock::new(),
            number: idle.lineage(),
            idle: idle.clone(),
        }
    }

    /// Takes a document from one version to another, up or down.
    pub fn travel(&self, from: u32, to: u32, key: &[u8], value: &[u8]) -> Result<Bytes, StepError> {
        self.with(|chain| match from <= to {
            true => chain.up(from, to, key, value),
            false => chain.down(from, to, key, value),
        })?
    }

    /// Lends a chain. It fails if the scripts do not fit together.
    pub fn with<T>(&self, run: impl FnOnce(&mut Chain) -> T) -> Result<T, StepError> {
        let idle = self.idle.take(self.number);
        let mut chain = idle.map_or_else(|| self.chain(), Ok)?;
        let done = run(&mut chain);
        self.idle.keep(self.number, chain);
        Ok(done)
    }

    /// The same with what is left of an allowance: if the chain has to be made, that is taken from it, too.
    pub fn within<T>(
        &self,
        left: &mut Allowance,
        run: impl FnOnce(&mut Chain) -> Result<T, StepError>,
    ) -> Result<T, StepError> {
        let idle = self.idle.take(self.number);
        let mut chain = idle.map_or_else(|| left.charge(|| self.chain()), Ok)?;
        let done = chain.within(left, run);
        self.idle.keep(self.number, chain);
        done
    }

    /// The scripts, from the oldest. It fails if they do not fit together.
    pub fn links(&self) -> Result<&[Link], StepError> {
        let links = self.links.get_or_init(|| {
            let chain = self.chain()?;
            let links = chain.steps().iter().map(|step| Link {
                from: step.from(),
                to: step.to(),
                path: step.source().path(),
                has_down: step.has_down(),
                is_lossy: step.is_lossy(),
            });
            let links = links.collect();
            self.idle.keep(self.number, chain);
            Ok(links)
        });
        match links {
            Ok(links) => Ok(links),
            Err(error) => Err(error.clone()),
        }
    }

    /// The scripts that lead from one version to a newer one.
    pub fn between(&self, from: u32, to: u32) -> Result<impl Iterator<Item = &Link>, StepError> {
        let links = self.links()?.iter();
        Ok(links.filter(move |link| link.from >= from && link.to <= to))
    }

    /// The newest script between two versions that has no way back.
    pub fn without_down(&self, from: u32, to: u32) -> Result<Option<&Link>, StepError> {
        Ok(self.between(from, to)?.filter(|link| !link.has_down).last())
    }

    /// The newest script between two versions on whose way there and back something may be lost.
    pub fn lossy(&self, from: u32, to: u32) -> Result<Option<&Link>, StepError> {
        Ok(self.between(from, to)?.filter(|link| link.is_lossy).last())
    }

    /// The oldest version that there is a way from.
    pub fn first(&self) -> Result<u32, StepError> {
        Ok(self.links()?.first().map_or(0, |link| link.from))
    }

    fn chain(&self) -> Result<Chain, StepError> {
        let limits = self.limits.clone();
        Chain::new(&self.namespace, &self.collection, &self.sources, limits)
    }
}

impl Drop for Lineage {
    fn drop(&mut self) {
        self.idle.forget(self.number);
    }
}
