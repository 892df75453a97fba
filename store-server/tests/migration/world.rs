//! A server with some players, and an operator who migrates them.

use std::collections::BTreeMap;

use bytes::Bytes;
use stillpoint_proto::v1::{
    ApplyMigrationsRequest, CollectionName, FinishMigrationRequest, FollowMigrationRequest, GetOp,
    ListQuarantineRequest, MigrationPhase, MigrationScript, MigrationStatus, Op,
    OpenSessionRequest, OpenSessionResponse, PauseMigrationRequest, PublishScriptsRequest,
    PublishScriptsResponse, PutOp, QuarantinedRecord, Record, RecordKey, RequestContext,
    ResumeMigrationRequest, RollBackMigrationRequest, ScanOp, StoreError, WaitingForSessions,
    apply_migrations_response, migration_service_client::MigrationServiceClient, op::Kind,
    op_result, roll_back_migration_response,
};
use stillpoint_store_server::config::Config;
use tonic::{Status, Streaming, transport::Channel};

use crate::{
    notation,
    peer::{NAMESPACE, Peer, Pipe, context, of, op, wish},
    server::{Server, soon},
};

/// Gold becomes coins.
pub const COINS: &str = r#"return { from = 0, to = 1,
    up = function(doc) doc.coins = doc.gold; doc.gold = nil end,
    down = function(doc) doc.gold = doc.coins; doc.coins = nil end,
    check = function(doc) return type(doc.coins) == "number", "no gold" end,
    samples = { { gold = 5 } } }"#;

/// Everybody gets a level, by their coins, and no way back.
pub const LEVEL: &str = r#"return { from = 1, to = 2,
    up = function(doc) doc.level = doc.coins // 10; doc.coins = nil end,
    samples = { { coins = 5 } } }"#;

/// Everybody gets a title, which is lost on the way back.
pub const TITLE: &str = r#"return { from = 1, to = 2, lossy = true,
    up = function(doc) doc.coins = doc.coins * 2 end,
    down = function(doc) doc.coins = 0 end,
    samples = { { coins = 5 } } }"#;

/// A server, its operator, and a program without a session.
pub struct World {
    pub server: Server,
    pub peer: Peer,
    pub admin: MigrationServiceClient<Channel>,
    pipe: Pipe,
}

impl World {
    /// One without anything.
    pub async fn start() -> World {
        World::start_with(|_| {}).await
    }

    /// The same with other settings.
    pub async fn start_with(change: impl FnOnce(&mut Config)) -> World {
        World::of(Server::start_with(change).await).await
    }

    async fn of(server: Server) -> World {
        let peer = Peer::connect(&server).await;
        World {
            pipe: peer.pipe(context("", 0)).await,
            admin: MigrationServiceClient::new(server.channel("admin.sock").await),
            peer,
            server,
        }
    }

    /// One with so many players, each with their number of gold.
    pub async fn with_players(count: u64) -> World {
        let mut world = World::start().await;
        world.fill(count).await;
        world
    }

    /// Stops the server and starts it again on its data.
    pub async fn restart(self) -> World {
        self.restart_with(|_| {}).await
    }

    /// The same with other settings.
    pub async fn restart_with(mut self, change: impl FnOnce(&mut Config)) -> World {
        self.server.restart_with(change).await;
        World::of(self.server).await
    }

    /// Makes so many players.
    pub async fn fill(&mut self, count: u64) {
        let ops: Vec<_> = (0..count)
            .map(|n| put(&player(n), &format!("{{\"gold\": {n}}}")))
            .collect();
        for ops in ops.chunks(100) {
            self.pipe.send(0, ops.to_vec()).await;
            let mut answered = 0;
            while answered < ops.len() {
                for (_, answer) in self.pipe.answers().await {
                    answer.expect("it is written");
                    answered += 1;
                }
            }
        }
    }

    /// Does one operation without a session.
    pub async fn call(&mut self, op: Op) -> Result<op_result::Kind, StoreError> {
        self.pipe.call(op).await
    }

    /// A player as one without a session sees it.
    pub async fn see(&mut self, name: &str) -> Option<Record> {
        record(self.call(get(name, false)).await.expect("it is readable"))
    }

    /// A player as it is stored.
    pub async fn stored(&mut self, name: &str) -> Option<Record> {
        record(self.call(get(name, true)).await.expect("it is readable"))
    }

    /// All players as they are stored.
    pub async fn all_stored(&mut self) -> BTreeMap<String, Record> {
        let mut all = BTreeMap::new();
        let mut start = Bytes::new();
        loop {
            let scan = op(Kind::Scan(ScanOp {
                collection: "player".into(),
                start: start.clone(),
                raw: true,
                ..ScanOp::default()
            }));
            let op_result::Kind::Scan(page) = self.call(scan).await.expect("a page") else {
                panic!("not a page");
            };
            all.extend(page.entries.into_iter().map(|entry| {
                let key = String::from_utf8(entry.key.to_vec()).unwrap();
                (key, entry.record.unwrap())
            }));
            if !page.more {
                return all;
            }
            start = page.next_key;
        }
    }

    /// Opens a session that speaks a version of the players.
    pub async fn open(
        &self,
        instance: &str,
        version: Option<u32>,
    ) -> Result<OpenSessionResponse, StoreError> {
        let schemas = version.map(|version| ("player".to_owned(), version));
        self.peer
            .open(OpenSessionRequest {
                schemas: schemas.into_iter().collect(),
                ttl_ms: 60_000,
                ..wish(instance)
            })
            .await
    }

    /// Does one operation for a session.
    pub async fn call_of(
        &self,
        session: &OpenSessionResponse,
        op: Op,
    ) -> Result<op_result::Kind, StoreError> {
        self.call_with(of(session), op).await
    }

    /// Does one operation in another context.
    pub async fn call_with(
        &self,
        context: RequestContext,
        op: Op,
    ) -> Result<op_result::Kind, StoreError> {
        self.peer.pipe(context).await.call(op).await
    }

    /// Publishes scripts of the players.
    pub async fn publish(&mut self, texts: &[&str]) -> Result<PublishScriptsResponse, StoreError> {
        let scripts = (1..).zip(texts);
        let scripts = scripts.map(|(number, text)| script(NAMESPACE, number, text));
        self.publish_all(scripts.collect()).await
    }

    /// Publishes scripts.
    pub async fn publish_all(
        &mut self,
        scripts: Vec<MigrationScript>,
    ) -> Result<PublishScriptsResponse, StoreError> {
        let request = PublishScriptsRequest {
            scripts,
            actor: "ann".into(),
        };
        let published = self.admin.publish_scripts(request).await;
        Ok(published.map_err(stored_error)?.into_inner())
    }

    /// Begins to apply.
    pub async fn begin(
        &mut self,
        request: ApplyMigrationsRequest,
    ) -> Result<Streaming<stillpoint_proto::v1::ApplyMigrationsResponse>, StoreError> {
        let begun = self.admin.apply_migrations(request).await;
        Ok(begun.map_err(stored_error)?.into_inner())
    }

    /// Applies, which waits for nobody.
    pub async fn apply(
        &mut self,
        request: ApplyMigrationsRequest,
    ) -> Result<Vec<MigrationStatus>, StoreError> {
        let mut told = self.begin(request).await?;
        applied(&mut told).await
    }

    /// Publishes scripts of the players, applies them, and waits for the job.
    pub async fn migrate(&mut self, texts: &[&str]) -> MigrationStatus {
        self.publish(texts).await.expect("they are right");
        self.apply(all()).await.expect("nobody is in the way");
        self.through().await
    }

    /// Rolls back.
    pub async fn roll_back(
        &mut self,
        request: RollBackMigrationRequest,
    ) -> Result<Vec<MigrationStatus>, StoreError> {
        let begun = self.admin.roll_back_migration(request).await;
        let mut told = begun.map_err(stored_error)?.into_inner();
        loop {
            let message = soon("the rollback", told.message()).await;
            let kind = message.map_err(stored_error)?.expect("it ends with a word");
            if let Some(roll_back_migration_response::Kind::Applied(applied)) = kind.kind {
                return Ok(applied.migrations);
            }
        }
    }

    /// Follows the job of the players until it rests.
    pub async fn through(&mut self) -> MigrationStatus {
        self.through_of(NAMESPACE).await
    }

    /// The same in another namespace.
    pub async fn through_of(&mut self, namespace: &str) -> MigrationStatus {
        let request = FollowMigrationRequest {
            collection: Some(players(namespace)),
        };
        let followed = self.admin.follow_migration(request).await;
        let mut told = followed.expect("there is one").into_inner();
        let mut last = None;
        while let Some(message) = soon("the job", told.message()).await.expect("it goes on") {
            last = message.status;
        }
        let status = last.expect("it tells something");
        assert_ne!(status.phase(), MigrationPhase::Rewriting, "{status:?}");
        status
    }

    /// How the migration of the players is going.
    pub async fn status(&mut self) -> MigrationStatus {
        let migrations = self
            .admin
            .get_migrations(stillpoint_proto::v1::GetMigrationsRequest {});
        let migrations = migrations.await.unwrap().into_inner().migrations;
        let ours = |status: &MigrationStatus| status.collection == Some(players(NAMESPACE));
        migrations.into_iter().find(ours).expect("there is one")
    }

    /// Holds the job of the players up.
    pub async fn pause(&mut self) -> Result<MigrationStatus, StoreError> {
        let request = PauseMigrationRequest {
            collection: Some(players(NAMESPACE)),
            actor: "ann".into(),
        };
        let paused = self.admin.pause_migration(request).await;
        Ok(paused.map_err(stored_error)?.into_inner().status.unwrap())
    }

    /// Lets it go on.
    pub async fn resume(&mut self, failed_max: u64) -> Result<MigrationStatus, StoreError> {
        let request = ResumeMigrationRequest {
            collection: Some(players(NAMESPACE)),
            rate: 1_000_000,
            failed_max,
            actor: "ann".into(),
        };
        let resumed = self.admin.resume_migration(request).await;
        Ok(resumed.map_err(stored_error)?.into_inner().status.unwrap())
    }

    /// Declares that nobody goes back.
    pub async fn finish(&mut self) -> Result<MigrationStatus, StoreError> {
        let request = FinishMigrationRequest {
            collection: Some(players(NAMESPACE)),
            actor: "ann".into(),
        };
        let finished = self.admin.finish_migration(request).await;
        Ok(finished.map_err(stored_error)?.into_inner().status.unwrap())
    }

    /// The records in quarantine.
    pub async fn quarantine(&mut self) -> Vec<QuarantinedRecord> {
        let request = ListQuarantineRequest {
            collection: Some(players(NAMESPACE)),
        };
        let mut told = self
            .admin
            .list_quarantine(request)
            .await
            .unwrap()
            .into_inner();
        let mut all = Vec::new();
        while let Some(message) = told.message().await.unwrap() {
            all.extend(message.records);
        }
        all
    }
}

/// Applies everything that is new.
pub fn all() -> ApplyMigrationsRequest {
    ApplyMigrationsRequest {
        rate: 1_000_000,
        actor: "ann".into(),
        ..ApplyMigrationsRequest::default()
    }
}

/// Takes the players to a version.
pub fn to(version: u32) -> ApplyMigrationsRequest {
    ApplyMigrationsRequest {
        collections: vec![players(NAMESPACE)],
        to_version: version,
        ..all()
    }
}

/// Takes the players back to a version.
pub fn back_to(version: u32, from_history: bool) -> RollBackMigrationRequest {
    RollBackMigrationRequest {
        collection: Some(players(NAMESPACE)),
        to_version: Some(version),
        from_history,
        rate: 1_000_000,
        actor: "ann".into(),
        ..RollBackMigrationRequest::default()
    }
}

/// The end of an apply.
pub async fn applied(
    told: &mut Streaming<stillpoint_proto::v1::ApplyMigrationsResponse>,
) -> Result<Vec<MigrationStatus>, StoreError> {
    loop {
        let message = soon("the end of the apply", told.message()).await;
        let kind = message
            .map_err(stored_error)?
            .expect("it ends with a word")
            .kind;
        if let Some(apply_migrations_response::Kind::Applied(applied)) = kind {
            return Ok(applied.migrations);
        }
    }
}

/// The next that is told of an apply, which is whom it waits for.
pub async fn waits(
    told: &mut Streaming<stillpoint_proto::v1::ApplyMigrationsResponse>,
) -> WaitingForSessions {
    let message = soon("a word of the apply", told.message()).await;
    match message.expect("it waits").expect("it waits").kind {
        Some(apply_migrations_response::Kind::Waiting(waiting)) => waiting,
        other => panic!("it does not wait: {other:?}"),
    }
}

/// A script of the players.
pub fn script(namespace: &str, number: u32, text: &str) -> MigrationScript {
    MigrationScript {
        namespace: namespace.into(),
        collection: "player".into(),
        number,
        name: "step".into(),
        text: text.into(),
        ..MigrationScript::default()
    }
}

/// The players of a namespace.
pub fn players(namespace: &str) -> CollectionName {
    CollectionName {
        namespace: namespace.into(),
        collection: "player".into(),
    }
}

/// The key of a player.
pub fn player(n: u64) -> String {
    format!("p{n:05}")
}

/// A player's name.
pub fn key(name: &str) -> Option<RecordKey> {
    Some(RecordKey {
        collection: "player".into(),
        key: Bytes::copy_from_slice(name.as_bytes()),
    })
}

/// Reads a player.
pub fn get(name: &str, raw: bool) -> Op {
    op(Kind::Get(GetOp {
        key: key(name),
        raw,
        ..GetOp::default()
    }))
}

/// Writes a player, in the notation of values.
pub fn put(name: &str, text: &str) -> Op {
    op(Kind::Put(PutOp {
        key: key(name),
        value: value(text),
        ..PutOp::default()
    }))
}

/// A value from its notation.
pub fn value(text: &str) -> Bytes {
    let parsed = notation::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    notation::encode(&parsed).into()
}

/// The record in the answer to a get.
pub fn record(answer: op_result::Kind) -> Option<Record> {
    match answer {
        op_result::Kind::Get(found) => found.record,
        other => panic!("not the answer to a get: {other:?}"),
    }
}

/// Checks a record's version and value.
#[track_caller]
pub fn is(record: Option<Record>, schema: u32, text: &str) {
    let record = record.expect("there is one");
    let found = notation::decode(&record.value);
    assert_eq!(
        (record.schema, found),
        (schema, notation::parse(text).unwrap())
    );
}

/// The store's error in a status.
pub fn stored_error(status: Status) -> StoreError {
    StoreError::from_status(&status)
}
