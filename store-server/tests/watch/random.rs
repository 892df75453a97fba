//! Random histories, and random places to go on from: what is told behind a place is what a model says.

use std::collections::BTreeMap;

use proptest::{
    collection::vec,
    prelude::{Just, ProptestConfig, Strategy, any, prop_oneof, proptest},
};
use stillpoint_proto::v1::{WatchRequest, watch_request::Start};
use stillpoint_store_server::config::EngineKind;

use crate::common::{ENGINES, Server, all, delete, name, put, txn};

const COLLECTIONS: [&str; 2] = ["c", "d"];
const KEYS: [&str; 4] = ["a", "ab", "b", "c"];

/// What happens next.
#[derive(Clone, Debug)]
enum Action {
    /// One commit, perhaps of nothing.
    Commit(Vec<Change>),
    /// One in another namespace.
    Elsewhere,
    Restart,
}

/// Collection, key, and the value; none deletes.
type Change = (usize, usize, Option<u8>);

fn action() -> impl Strategy<Value = Action> {
    let value = proptest::option::weighted(0.7, 0..100_u8);
    let change = (0..COLLECTIONS.len(), 0..KEYS.len(), value);
    prop_oneof![
        12 => vec(change, 1..5).prop_map(Action::Commit),
        3 => Just(Action::Elsewhere),
        1 => Just(Action::Restart),
    ]
}

/// What a watch of all tells of one revision: whether each record is there then.
type Told = Vec<((String, String), Option<u8>)>;

#[derive(Default)]
struct Model {
    records: BTreeMap<(String, String), u8>,
    /// By revision, from 1 on.
    history: Vec<Told>,
}

impl Model {
    fn commit(&mut self, changes: &[Change]) {
        let mut after = self.records.clone();
        let mut touched = BTreeMap::new();
        for (collection, key, value) in changes {
            let name = (COLLECTIONS[*collection].to_owned(), KEYS[*key].to_owned());
            match value {
                Some(value) => drop(after.insert(name.clone(), *value)),
                None => drop(after.remove(&name)),
            }
            touched.insert(name, ());
        }
        let told: Told = touched
            .into_keys()
            .filter(|name| {
                let (was, is) = (self.records.get(name), after.get(name));
                let put = changes.iter().any(|(c, k, value)| {
                    value.is_some() && COLLECTIONS[*c] == name.0 && KEYS[*k] == name.1
                });
                was.is_some() || (put && is.is_some())
            })
            .map(|name| (name.clone(), after.get(&name).copied()))
            .collect();
        if !told.is_empty() {
            self.history.push(told);
        }
        self.records = after;
    }
}

async fn check(engine: EngineKind, actions: Vec<Action>, places: Vec<(u16, bool)>) {
    let mut server = Server::new(engine);
    let mut model = Model::default();
    let mut positions = vec![server.listen(all()).await.position];
    for action in actions {
        match action {
            Action::Commit(changes) => {
                model.commit(&changes);
                let ops = changes.iter().map(|(c, k, value)| match value {
                    Some(value) => put(COLLECTIONS[*c], KEYS[*k], *value),
                    None => delete(COLLECTIONS[*c], KEYS[*k]),
                });
                server.execute(txn(ops.collect()));
            }
            Action::Elsewhere => {
                let elsewhere = server.store.execute("moon", put("c", "a", 1));
                elsewhere.unwrap();
            }
            Action::Restart => server = server.restart(),
        }
        let revision = model.history.len();
        assert_eq!(server.revision(), revision as u64);
        if positions.len() <= revision {
            positions.push(server.listen(all()).await.position);
        }
    }
    let end = model.history.len() as u64;
    for (place, by_position) in places {
        let after = usize::from(place) % (model.history.len() + 1);
        let start = match by_position {
            true => Start::Position(positions[after].clone()),
            false => Start::AfterRevision(after as u64),
        };
        let start = Some(start);
        let mut listener = server.listen(WatchRequest { start, ..all() }).await;
        listener.until(end).await;
        let told: Vec<Told> = (listener.commits.iter())
            .map(|commit| {
                let events = commit.events.iter().map(|event| {
                    let (collection, key) = name(event);
                    let key = String::from_utf8(key.to_vec()).unwrap();
                    ((collection, key), event.record.as_ref().map(|r| r.value[0]))
                });
                events.collect()
            })
            .collect();
        assert_eq!(told, model.history[after..], "after revision {after}");
        assert!(listener.resyncs.is_empty());
    }
    let mut listener = server
        .listen(WatchRequest {
            snapshot: true,
            ..all()
        })
        .await;
    listener.until(end).await;
    while listener.position.is_empty() {
        listener.next().await;
    }
    assert_eq!(listener.state, server.state(&COLLECTIONS));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_told_behind_a_place_is_what_happened_there(
        actions in vec(action(), 1..60),
        places in vec((any::<u16>(), any::<bool>()), 1..8),
        engine in proptest::sample::select(&ENGINES[..]),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(check(engine, actions, places));
    }
}
