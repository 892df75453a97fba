//! The one who brings records back, and a program that writes them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use stillpoint_proto::v1::{
    CreateBackupRequest, DeleteOp, GetStatusRequest, MarkLabelRequest, NamespaceRevision, Op,
    PutOp, Record, RecordKey, RestoreChange, RestorePoint, RestoreRecordsEnd,
    RestoreRecordsRequest, ScanOp, StoreError, TxnOp, admin_service_client::AdminServiceClient,
    backup_service_client::BackupServiceClient, create_backup_response, op::Kind, op_result,
    restore_point::Point, restore_records_response,
};
use stillpoint_store_server::config::Config;
use tempfile::TempDir;
use tonic::transport::Channel;

use crate::{
    notation,
    peer::{NAMESPACE, Peer, Pipe, context, op},
    server::{Server, soon},
};

/// A server, its operator, and a program without a session.
pub struct World {
    pub server: Server,
    pub peer: Peer,
    pub program: Pipe,
    backups: BackupServiceClient<Channel>,
    admin: AdminServiceClient<Channel>,
    /// The identity of the store.
    pub store_id: String,
    /// Has the data directory, and the backups.
    dir: TempDir,
}

/// What came of a restore.
#[derive(Debug)]
pub struct Restored {
    pub changes: Vec<RestoreChange>,
    pub end: RestoreRecordsEnd,
}

/// The records of a collection, by key.
pub type Records = BTreeMap<Bytes, Record>;

impl World {
    /// An empty store, with small segments.
    pub async fn new() -> World {
        World::with(|_| {}).await
    }

    /// The same with other settings.
    pub async fn with(change: impl FnOnce(&mut Config)) -> World {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start_with(|config| {
            config.log.segment_bytes = 64 << 10;
            config.backup.scratch = Some(dir.path().join("scratch"));
            change(config);
        });
        let server = server.await;
        let channel = server.channel("admin.sock").await;
        let mut admin = AdminServiceClient::new(channel.clone());
        let status = admin.get_status(GetStatusRequest {}).await.unwrap();
        let header = status.into_inner().header.unwrap();
        let peer = Peer::connect(&server).await;
        World {
            program: peer.pipe(context("", 0)).await,
            peer,
            backups: BackupServiceClient::new(channel),
            admin,
            store_id: header.store_id.iter().map(|b| format!("{b:02x}")).collect(),
            server,
            dir,
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn target(&self) -> String {
        self.path("backups").display().to_string()
    }

    /// Does an operation, which must succeed.
    pub async fn does(&mut self, op: Op) -> op_result::Kind {
        self.program.call(op).await.unwrap()
    }

    /// Restarts the server, and connects again.
    pub async fn restart(&mut self) {
        self.server.restart().await;
        let channel = self.server.channel("admin.sock").await;
        self.admin = AdminServiceClient::new(channel.clone());
        self.backups = BackupServiceClient::new(channel);
        self.peer = Peer::connect(&self.server).await;
        self.program = self.peer.pipe(context("", 0)).await;
    }

    /// The oldest commit in the log.
    pub async fn first_seq(&mut self) -> u64 {
        let status = self.admin.get_status(GetStatusRequest {}).await.unwrap();
        status.into_inner().log.unwrap().first_seq
    }

    /// Takes a backup.
    pub async fn back_up(&mut self, incremental: bool) {
        let request = CreateBackupRequest {
            target: self.target(),
            incremental,
            ..CreateBackupRequest::default()
        };
        let mut told = self
            .backups
            .create_backup(request)
            .await
            .unwrap()
            .into_inner();
        while let Some(message) = soon("the backup", told.message()).await.unwrap() {
            if let Some(create_backup_response::Kind::Done(_)) = message.kind {
                return;
            }
        }
        panic!("the backup has no end");
    }

    /// Labels the moment.
    pub async fn mark(&mut self, label: &str) {
        let request = MarkLabelRequest {
            namespace: NAMESPACE.into(),
            label: label.into(),
            ..MarkLabelRequest::default()
        };
        self.backups.mark_label(request).await.unwrap();
    }

    /// Brings records back, of this store.
    pub async fn restore(
        &mut self,
        request: RestoreRecordsRequest,
    ) -> Result<Restored, StoreError> {
        let request = RestoreRecordsRequest {
            confirm: self.store_id[..8].into(),
            ..request
        };
        self.restore_unconfirmed(request).await
    }

    /// The same as the request says it.
    pub async fn restore_unconfirmed(
        &mut self,
        request: RestoreRecordsRequest,
    ) -> Result<Restored, StoreError> {
        let failed = |status| StoreError::from_status(&status);
        let told = self.backups.restore_records(request).await;
        let mut told = told.map_err(failed)?.into_inner();
        let mut changes = Vec::new();
        loop {
            let message = soon("the restore", told.message()).await.map_err(failed)?;
            let message = message.expect("it has an end");
            match message.kind.expect("something is told") {
                restore_records_response::Kind::Progress(_) => {}
                restore_records_response::Kind::Change(change) => changes.push(change),
                restore_records_response::Kind::End(end) => {
                    let is_unreadable = |change: &&RestoreChange| {
                        change
                            .then
                            .as_ref()
                            .is_some_and(|then| !then.unreadable.is_empty())
                    };
                    let unreadable = changes.iter().filter(is_unreadable).count();
                    assert_eq!(end.unreadable, unreadable as u64);
                    assert_eq!(end.changed + end.unreadable, changes.len() as u64);
                    let owned = changes.iter().filter(|change| change.owner.is_some());
                    assert_eq!(end.owned, owned.count() as u64);
                    assert!(is_empty(&self.path("scratch")), "nothing is left");
                    return Ok(Restored { changes, end });
                }
            }
        }
    }

    /// All records of a collection.
    pub async fn records(&mut self, collection: &str) -> Records {
        let mut records = Records::new();
        let mut start = Bytes::new();
        loop {
            let scan = op(Kind::Scan(ScanOp {
                collection: collection.into(),
                start,
                ..ScanOp::default()
            }));
            let op_result::Kind::Scan(page) = self.does(scan).await else {
                panic!("not the answer to a scan");
            };
            let entries = page.entries.into_iter();
            records.extend(entries.map(|entry| (entry.key, entry.record.unwrap())));
            start = page.next_key;
            if !page.more {
                return records;
            }
        }
    }
}

fn is_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir).map_or(true, |mut items| items.next().is_none())
}

/// A revision of the namespace.
pub fn revision(revision: u64) -> Option<RestorePoint> {
    Some(RestorePoint {
        point: Some(Point::Revision(NamespaceRevision {
            namespace: NAMESPACE.into(),
            revision,
        })),
    })
}

/// A labelled moment.
pub fn label(label: &str) -> Option<RestorePoint> {
    Some(RestorePoint {
        point: Some(Point::Label(label.into())),
    })
}

/// All records of `doc`, from the log.
pub fn all(point: Option<RestorePoint>) -> RestoreRecordsRequest {
    RestoreRecordsRequest {
        namespace: NAMESPACE.into(),
        collection: "doc".into(),
        point,
        actor: "ann".into(),
        ..RestoreRecordsRequest::default()
    }
}

/// One record of `doc`, from the log.
pub fn one(key: &str, point: Option<RestorePoint>) -> RestoreRecordsRequest {
    RestoreRecordsRequest {
        keys: vec![Bytes::copy_from_slice(key.as_bytes())],
        ..all(point)
    }
}

/// Puts a value, in its notation, to `doc/NAME`.
pub fn put(name: &str, text: &str) -> Op {
    put_for(name, text, 0)
}

/// The same with a lifetime.
pub fn put_for(name: &str, text: &str, ttl_ms: u64) -> Op {
    op(Kind::Put(PutOp {
        key: Some(name_of("doc", name)),
        value: value(text),
        ttl_ms,
        ..PutOp::default()
    }))
}

/// Deletes `doc/NAME`.
pub fn delete(name: &str) -> Op {
    op(Kind::Delete(DeleteOp {
        key: Some(name_of("doc", name)),
        ..DeleteOp::default()
    }))
}

/// Does all of these as one commit.
pub fn txn(then: Vec<Op>) -> Op {
    op(Kind::Txn(TxnOp {
        then,
        ..TxnOp::default()
    }))
}

/// A record's name.
pub fn name_of(collection: &str, key: &str) -> RecordKey {
    RecordKey {
        collection: collection.into(),
        key: Bytes::copy_from_slice(key.as_bytes()),
    }
}

/// A value from its notation.
pub fn value(text: &str) -> Bytes {
    notation::encode(&notation::parse(text).unwrap()).into()
}

/// The keys of records with the texts of their values.
pub fn texts(records: &Records) -> Vec<(String, String)> {
    let text = |(key, record): (&Bytes, &Record)| {
        let key = String::from_utf8(key.to_vec()).unwrap();
        (key, notation::decode(&record.value).to_string())
    };
    records.iter().map(text).collect()
}
