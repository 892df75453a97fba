//! What the records of migrations say: the scripts, and the version that each collection is at.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use parking_lot::Mutex;
use stillpoint_migrations::{Limits, Source};

use super::{
    ANY_NAMESPACE, Lineage,
    lineage::Idle,
    state::{self, SchemaState, StoredScript},
};
use crate::{
    config::Config,
    engine::EngineError,
    store::{
        keys::{self, System},
        record::Record,
        view::View,
    },
};

/// Scripts and versions of all namespaces. A copy shares what is not changed.
#[derive(Clone, Debug)]
pub struct Table {
    limits: Limits,
    /// Bytes of records that an answer may have.
    pub(super) answer_bytes: usize,
    namespaces: HashMap<Arc<str>, Arc<Collections>>,
    /// Collections that have a state.
    states: usize,
    /// By namespace and collection, as they are needed.
    lineages: Arc<Mutex<Lineages>>,
    idle: Arc<Idle>,
}

type Collections = BTreeMap<Arc<str>, Collection>;

type Lineages = HashMap<Box<str>, HashMap<Box<str>, Arc<Lineage>>>;

/// What a namespace has of a collection.
#[derive(Clone, Debug, Default)]
struct Collection {
    scripts: Arc<BTreeMap<u32, Arc<Script>>>,
    state: Option<Arc<Stated>>,
}

/// A script of the store.
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    /// The script.
    pub source: Source,
    /// When it was published, in milliseconds since 1970.
    pub published_ms: u64,
    /// Who published it.
    pub actor: String,
}

/// How far a collection is, and the revision of the record that says so.
#[derive(Clone, Debug, PartialEq)]
pub struct Stated {
    /// Revision of its namespace.
    pub revision: u64,
    /// How far it is.
    pub state: SchemaState,
}

impl Table {
    /// One without anything.
    pub fn new(config: &Config) -> Table {
        Table {
            limits: Limits {
                value_bytes: config.limits.value_bytes,
                nesting: config.limits.nesting,
                ..Limits::default()
            },
            answer_bytes: config.limits.answer_bytes(),
            namespaces: HashMap::new(),
            states: 0,
            lineages: Arc::default(),
            idle: Arc::default(),
        }
    }

    /// Reads it from a view.
    pub(in crate::store) fn load(view: &View, config: &Config) -> Result<Table, EngineError> {
        let mut table = Table::new(config);
        let snapshot = view.read();
        for (namespace, _) in snapshot.namespaces() {
            let ranges =
                [System::Script, System::Schema].map(|kind| keys::systems(namespace, kind, b""));
            for pair in ranges
                .into_iter()
                .flat_map(|range| snapshot.scan(range, false))
            {
                let (key, value) = pair?;
                let applied = Record::decode(&value).and_then(|r| table.apply(&key, Some(&r)));
                let engine = view.engine().name();
                applied.map_err(|detail| EngineError { engine, detail })?;
            }
        }
        Ok(table)
    }

    /// Takes in a change of the view; whether it is one of what stands here. Fails if the record cannot be understood.
    pub(in crate::store) fn apply(
        &mut self,
        key: &[u8],
        after: Option<&Record>,
    ) -> Result<bool, String> {
        match keys::split_system(key) {
            Some((namespace, System::Script, name)) => {
                let (collection, number) =
                    state::split_script_name(name).ok_or("a script's record has no such name")?;
                self.apply_script(namespace, collection, number, after)?;
                Ok(true)
            }
            Some((namespace, System::Schema, name)) => {
                let collection = std::str::from_utf8(name).map_err(|e| e.to_string())?;
                self.apply_state(namespace, collection, after)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn apply_script(
        &mut self,
        namespace: &str,
        collection: &str,
        number: u32,
        after: Option<&Record>,
    ) -> Result<(), String> {
        let script = after
            .map(|record| state::decode::<StoredScript>("a script", record))
            .transpose()?;
        let scripts = Arc::make_mut(&mut self.collection(namespace, collection).scripts);
        match script {
            Some(stored) => {
                let script = Script {
                    source: Source::new(namespace, collection, number, stored.name, stored.text),
                    published_ms: stored.published_ms,
                    actor: stored.actor,
                };
                scripts.insert(number, Arc::new(script));
            }
            None => drop(scripts.remove(&number)),
        }
        // Another table of now may still use the old ones.
        let mut lineages = self.lineages.lock().clone();
        for (of, lineages) in &mut lineages {
            if **of == *namespace || namespace == ANY_NAMESPACE {
                lineages.remove(collection);
            }
        }
        self.lineages = Arc::new(Mutex::new(lineages));
        Ok(())
    }

    fn apply_state(
        &mut self,
        namespace: &str,
        collection: &str,
        after: Option<&Record>,
    ) -> Result<(), String> {
        let stated = match after {
            Some(record) => Some(Arc::new(Stated {
                revision: record.mod_rev,
                state: state::decode("a migration", record)?,
            })),
            None => None,
        };
        let is_there = stated.is_some();
        let before = std::mem::replace(&mut self.collection(namespace, collection).state, stated);
        self.states = self.states + usize::from(is_there) - usize::from(before.is_some());
        Ok(())
    }

    fn collection(&mut self, namespace: &str, collection: &str) -> &mut Collection {
        let collections = self.namespaces.entry(namespace.into()).or_default();
        let collections = Arc::make_mut(collections);
        collections.entry(collection.into()).or_default()
    }

    /// Whether no collection has a version.
    pub fn is_empty(&self) -> bool {
        self.states == 0
    }

    /// Whether any collection of a namespace has a version.
    pub fn is_managed(&self, namespace: &str) -> bool {
        let mut collections = [namespace, ANY_NAMESPACE]
            .into_iter()
            .filter_map(|name| self.namespaces.get(name))
            .flat_map(|collections| collections.values());
        !self.is_empty() && collections.any(|collection| collection.state.is_some())
    }

    /// The version that a collection is at; `None`: it has none, and its values are as their writers say.
    pub fn version(&self, namespace: &str, collection: &str) -> Option<u32> {
        let own = self.state(namespace, collection);
        let stated = own.or_else(|| self.state(ANY_NAMESPACE, collection));
        stated.map(|stated| stated.state.version)
    }

    /// The collections of a namespace that have a version, with it.
    pub fn versions(&self, namespace: &str) -> BTreeMap<&str, u32> {
        let mut versions = BTreeMap::new();
        // What the namespace has of its own comes later, and counts.
        for of in [ANY_NAMESPACE, namespace] {
            for (collection, stated) in self.states_of(of) {
                versions.insert(collection, stated.state.version);
            }
        }
        versions
    }

    /// How far a namespace, or `_any`, is with a collection, if it has a state of its own.
    pub fn state(&self, namespace: &str, collection: &str) -> Option<&Arc<Stated>> {
        self.namespaces
            .get(namespace)?
            .get(collection)?
            .state
            .as_ref()
    }

    /// All states, by namespace and collection, in no order of the namespaces.
    pub fn states(&self) -> impl Iterator<Item = (&str, &str, &Arc<Stated>)> {
        let namespaces = self.namespaces.keys();
        namespaces.flat_map(|namespace| {
            let states = self.states_of(namespace);
            states.map(move |(collection, stated)| (&**namespace, collection, stated))
        })
    }

    fn states_of(&self, namespace: &str) -> impl Iterator<Item = (&str, &Arc<Stated>)> {
        let collections = self.namespaces.get(namespace).into_iter();
        let collections = collections.flat_map(|collections| collections.iter());
        collections.filter_map(|(name, collection)| Some((&**name, collection.state.as_ref()?)))
    }

    /// The scripts of the store, in the order of namespace, collection and number.
    pub fn scripts(&self) -> impl Iterator<Item = &Arc<Script>> {
        let mut namespaces: Vec<_> = self.namespaces.iter().collect();
        namespaces.sort_by_key(|(name, _)| *name);
        namespaces
            .into_iter()
            .flat_map(|(_, collections)| collections.values())
            .flat_map(|collection| collection.scripts.values())
    }

    /// The scripts that serve a collection of a namespace: its own, and those in `_any`, in no order.
    pub fn sources(&self, namespace: &str, collection: &str) -> Vec<Source> {
        let mut of = vec![ANY_NAMESPACE];
        if namespace != ANY_NAMESPACE {
            of.push(namespace);
        }
        let collections = of
            .into_iter()
            .filter_map(|name| self.namespaces.get(name)?.get(collection));
        collections
            .flat_map(|collection| collection.scripts.values())
            .map(|script| script.source.clone())
            .collect()
    }

    /// The scripts that serve a collection of a namespace, ready to run.
    pub fn lineage(&self, namespace: &str, collection: &str) -> Arc<Lineage> {
        let mut lineages = self.lineages.lock();
        if let Some(known) = lineages.get(namespace).and_then(|of| of.get(collection)) {
            return known.clone();
        }
        let sources = self.sources(namespace, collection);
        let limits = self.limits.clone();
        let made = Arc::new(Lineage::new(
            namespace, collection, sources, limits, &self.idle,
        ));
        let of = lineages.entry(namespace.into()).or_default();
        of.insert(collection.into(), made.clone());
        made
    }

    /// The bounds on scripts and on what they make.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }
}
