//! Backups that are pulled from a server, and cut off at any place.

use std::{fs, path::Path, process::Command};

use stillpoint_proto::v1::{
    DeleteOp, DeleteRequest, GetStateHashRequest, PullBackupResponse, PutOp, PutRequest, Reason,
    RequestContext, StoreError, backup_service_client::BackupServiceClient,
    state_service_client::StateServiceClient,
};
use stillpoint_store_server::{
    backup::{
        BackupError, Found, Keep, Key, Kind, Manifest, PullOptions, Receiving, Taken, Target, To,
        expire, list, restore,
    },
    config::{Config, EngineKind},
    store::Store,
};
use tempfile::TempDir;
use tonic::{Streaming, transport::Channel};

use crate::{
    common::{NAMESPACE, key, put, value},
    server::Server,
    world::{options, silent},
};

/// Records of the store, some hundred KB each, so that they come in several files.
const BOOKS: usize = 25;

/// Puts the books into the data directory of a server that does not run.
fn fill(config: &mut Config) {
    config.view.engine = EngineKind::Sled;
    config.backup.bytes_per_second = 0;
    let store = Store::open(config.clone()).unwrap();
    let mut noise = 1_u64;
    for n in 0..BOOKS {
        let mut text = String::new();
        while text.len() < 800_000 {
            noise = noise
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            text += &format!("{noise:016x}");
        }
        let book = put(&format!("book{n:02}"), &format!("{text:?}"));
        store.execute(NAMESPACE, book).unwrap();
    }
    store.close();
}

/// A server, and room for what is pulled from it.
struct Pulling {
    server: Server,
    backup: BackupServiceClient<Channel>,
    state: StateServiceClient<Channel>,
    dir: TempDir,
    target: Target,
}

impl Pulling {
    async fn new() -> Pulling {
        let server = Server::start_with(fill).await;
        let dir = tempfile::tempdir().unwrap();
        let target = Target::open(dir.path().join("pulled").to_str().unwrap()).unwrap();
        Pulling {
            backup: BackupServiceClient::new(server.channel("admin.sock").await),
            state: StateServiceClient::new(server.channel("stillpoint.sock").await),
            server,
            dir,
            target,
        }
    }

    /// Restarts the server; between the two, something is done to its data.
    async fn restart_with(&mut self, between: impl FnOnce(&Path)) {
        (self.server)
            .restart_with(|config| between(&config.data_dir))
            .await;
        self.backup = BackupServiceClient::new(self.server.channel("admin.sock").await);
        self.state = StateServiceClient::new(self.server.channel("stillpoint.sock").await);
    }

    async fn write(&mut self, name: &str, text: &str) {
        let put = PutOp {
            key: key("c", name.to_owned()),
            value: value(text),
            ..PutOp::default()
        };
        let request = PutRequest {
            context: context(),
            op: Some(put),
        };
        self.state.put(request).await.unwrap();
    }

    async fn delete(&mut self, name: &str) {
        let delete = DeleteOp {
            key: key("c", name.to_owned()),
            ..DeleteOp::default()
        };
        let request = DeleteRequest {
            context: context(),
            op: Some(delete),
        };
        self.state.delete(request).await.unwrap();
    }

    /// What the server says to what is asked; the turn of one that was cut off ends a little later.
    async fn ask(
        &mut self,
        receiving: &Receiving<'_>,
    ) -> Result<Streaming<PullBackupResponse>, StoreError> {
        loop {
            match self.backup.pull_backup(receiving.request()).await {
                Ok(told) => return Ok(told.into_inner()),
                Err(status) => {
                    let error = StoreError::from_status(&status);
                    if error.reason() != Reason::RateLimited {
                        return Err(error);
                    }
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    /// Pulls so many messages at most, and gives the backup if that is all of it.
    async fn pull(
        &mut self,
        receiving: &mut Receiving<'_>,
        messages_max: usize,
    ) -> Result<Option<Manifest>, StoreError> {
        let mut told = self.ask(receiving).await?;
        for _ in 0..messages_max {
            let message = told.message().await;
            let message = message.map_err(|status| StoreError::from_status(&status))?;
            let message = message.expect("an answer ends with the end");
            let incarnation = message.header.unwrap().incarnation;
            match receiving
                .take(message.kind.unwrap(), incarnation)
                .await
                .unwrap()
            {
                Taken::More => {}
                Taken::Again(why) => panic!("{why}"),
                Taken::Complete(manifest) => return Ok(Some(*manifest)),
            }
        }
        Ok(None)
    }

    /// It is the state that the live store had.
    async fn see_that_it_is_of_the_store(&mut self, manifest: &Manifest) {
        let seq = manifest.last_seq;
        let told = self.backup.get_state_hash(GetStateHashRequest { seq });
        let state_hash = told.await.unwrap().into_inner().state_hash;
        assert_eq!(manifest.state_hash, Some(state_hash));
    }

    /// It is restored to the state that it says, and is the only one there.
    async fn see_that_it_is_whole(&self, manifest: &Manifest, name: &str) {
        let into = self.dir.path().join(name);
        let what = options(To::Latest, into.clone());
        let report = restore(&self.target, &what, &silent).await.unwrap();
        assert_eq!(report.seq, manifest.last_seq);
        assert_eq!(report.state_hash, manifest.state_hash);
        assert_eq!(report.namespaces, manifest.namespaces);
        fs::remove_dir_all(into).unwrap();
    }
}

fn context() -> Option<RequestContext> {
    Some(RequestContext {
        namespace: NAMESPACE.into(),
        ..RequestContext::default()
    })
}

async fn open<'a>(target: &'a Target, options: &PullOptions) -> (Receiving<'a>, Found) {
    let opened = Receiving::open(target, options.clone(), &silent).await;
    opened.unwrap()
}

const ALL: usize = usize::MAX;

/// Messages that have a whole file among them: its parts, and what comes first.
const MESSAGES_OF_A_FILE: usize = 7;

/// Messages of two files, of three that there are; the last gets small, as books are deleted.
const MESSAGES: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pulled_is_a_state_of_the_store() {
    let mut pulling = Pulling::new().await;
    Key::generate(&pulling.dir.path().join("key")).unwrap();
    let key = Key::read(&pulling.dir.path().join("key")).unwrap();
    pulling.target = pulling.target.clone().with_key(Some(key));
    let target = pulling.target.clone();
    let what = PullOptions {
        label: "first".into(),
        ..PullOptions::default()
    };
    let (mut receiving, found) = open(&target, &what).await;
    assert_eq!(found, Found::Nothing);
    let another = Receiving::open(&target, what.clone(), &silent).await;
    assert!(matches!(another, Err(BackupError::Pulling { .. })));
    let pulled = pulling.pull(&mut receiving, ALL).await.unwrap().unwrap();
    drop(receiving);
    assert!(pulled.encryption.is_some());
    assert_eq!((pulled.kind, &*pulled.label), (Kind::Full, "first"));
    pulling.see_that_it_is_of_the_store(&pulled).await;
    pulling.see_that_it_is_whole(&pulled, "full").await;

    pulling.write("book03", "1").await;
    pulling.delete("book04").await;
    let what = PullOptions {
        incremental: true,
        ..PullOptions::default()
    };
    let (mut receiving, _) = open(&target, &what).await;
    let next = pulling.pull(&mut receiving, ALL).await.unwrap().unwrap();
    assert_eq!((next.kind, &next.parent), (Kind::Incremental, &pulled.id));
    assert_eq!(next.base_seq, pulled.last_seq);
    pulling.see_that_it_is_of_the_store(&next).await;
    pulling.see_that_it_is_whole(&next, "next").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_is_cut_off_after_any_message_is_gone_on_with() {
    let mut pulling = Pulling::new().await;
    let target = pulling.target.clone();
    let what = PullOptions::default();
    let note = pulling.dir.path().join("pulled/partial.json");
    for messages in (0..=MESSAGES).step_by(2) {
        let (mut receiving, found) = open(&target, &what).await;
        assert_eq!(found, Found::Nothing);
        let cut = pulling.pull(&mut receiving, messages).await.unwrap();
        assert!(cut.is_none(), "{messages}");
        drop(receiving);

        // A second one stores a file at least, and is killed before it has noted that.
        let (mut receiving, _) = open(&target, &what).await;
        let noted = fs::read(&note).ok();
        let cut = pulling.pull(&mut receiving, MESSAGES_OF_A_FILE).await;
        let whole = cut.unwrap();
        drop(receiving);
        if let (None, Some(noted)) = (&whole, noted) {
            fs::write(&note, noted).unwrap();
        }

        // Records that came already change, and those that did not.
        pulling.write("book00", &messages.to_string()).await;
        pulling.write("book24", &messages.to_string()).await;
        pulling
            .delete(&format!("book{:02}", 1 + messages % 23))
            .await;
        let whole = match whole {
            Some(whole) => whole,
            None => {
                let (mut receiving, found) = open(&target, &what).await;
                assert!(matches!(found, Found::Files { .. }), "{found:?}");
                pulling.pull(&mut receiving, ALL).await.unwrap().unwrap()
            }
        };
        assert!(!note.exists());
        assert_eq!(list(&target).await.unwrap().backups.last(), Some(&whole));
        pulling.see_that_it_is_of_the_store(&whole).await;
        pulling.see_that_it_is_whole(&whole, "whole").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_gone_on_with_is_begun_anew() {
    let mut pulling = Pulling::new().await;
    let target = pulling.target.clone();
    let what = PullOptions::default();
    let cut = async |pulling: &mut Pulling| {
        let (mut receiving, _) = open(&target, &what).await;
        assert!(pulling.pull(&mut receiving, 9).await.unwrap().is_none());
    };
    cut(&mut pulling).await;
    // It may be gone on with at any later time, so none of its files is a leftover.
    let data = pulling.dir.path().join("pulled/data");
    let folder = fs::read_dir(&data).unwrap().next().unwrap().unwrap().path();
    for file in fs::read_dir(&folder).unwrap() {
        let file = fs::File::open(file.unwrap().path()).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
    }
    let expired = expire(&target, &Keep::default(), false).await.unwrap();
    assert_eq!(expired.leftovers, [""; 0]);
    let other_kind = PullOptions {
        incremental: true,
        ..PullOptions::default()
    };
    let error = Receiving::open(&target, other_kind, &silent)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("--restart"), "{error}");

    // A file of it is damaged.
    let file = fs::read_dir(folder)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    fs::write(&file, "damaged").unwrap();
    let (mut receiving, found) = open(&target, &what).await;
    let name = file.file_name().unwrap().to_str().unwrap();
    assert!(
        matches!(&found, Found::Unusable(why) if why.contains(name)),
        "{found:?}"
    );
    let whole = pulling.pull(&mut receiving, ALL).await.unwrap().unwrap();
    drop(receiving);
    pulling.see_that_it_is_whole(&whole, "anew").await;

    // The store is brought back to that backup: another incarnation.
    cut(&mut pulling).await;
    let into = pulling.dir.path().join("back");
    let back = options(To::Latest, into.clone());
    let incarnation = restore(&target, &back, &silent).await.unwrap().incarnation;
    let put_back = |data: &Path| {
        fs::remove_dir_all(data).unwrap();
        fs::rename(&into, data).unwrap();
    };
    pulling.restart_with(put_back).await;
    let (mut receiving, found) = open(&target, &what).await;
    assert!(matches!(found, Found::Files { .. }), "{found:?}");
    let error = pulling.pull(&mut receiving, ALL).await.unwrap_err();
    let why = receiving.refused(&error).await.unwrap().unwrap();
    let told = format!("incarnation {incarnation}");
    assert!(why.contains(&told), "{why}");
    let whole = pulling.pull(&mut receiving, ALL).await.unwrap().unwrap();
    assert_eq!(whole.incarnation, incarnation);
    pulling.see_that_it_is_whole(&whole, "second").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_a_history_that_was_given_up_are_not_gone_on_with() {
    let mut pulling = Pulling::new().await;
    let target = pulling.target.clone();
    let what = PullOptions::default();
    let snapshot = pulling.dir.path().join("snapshot");
    let take = |data: &Path| copy(data, &snapshot);
    pulling.restart_with(take).await;
    let put_back = |data: &Path| {
        fs::remove_dir_all(data).unwrap();
        copy(&snapshot, data);
    };
    for is_forked in [false, true] {
        pulling.restart_with(put_back).await;
        // The next file is read behind a commit that the first one is without, and the log from there on would mend it.
        let (mut receiving, _) = open(&target, &what).await;
        let cut = pulling.pull(&mut receiving, MESSAGES_OF_A_FILE).await;
        assert!(cut.unwrap().is_none());
        drop(receiving);
        pulling.write("book00", "1").await;
        let (mut receiving, _) = open(&target, &what).await;
        let cut = pulling.pull(&mut receiving, MESSAGES_OF_A_FILE).await;
        assert!(cut.unwrap().is_none());
        drop(receiving);

        // Somebody puts a copy of the data directory back that is older than this commit, and newer than the first file.
        pulling.restart_with(put_back).await;
        if is_forked {
            // More commits than there were, with those that tell of pulls.
            for text in 2..12 {
                pulling.write("book00", &text.to_string()).await;
            }
        }
        let (mut receiving, found) = open(&target, &what).await;
        assert!(matches!(found, Found::Files { .. }), "{found:?}");
        let why = match is_forked {
            true => {
                let mut told = pulling.ask(&receiving).await.unwrap();
                let begun = told.message().await.unwrap().unwrap();
                let incarnation = begun.header.unwrap().incarnation;
                let taken = receiving.take(begun.kind.unwrap(), incarnation).await;
                match taken.unwrap() {
                    Taken::Again(why) => why,
                    other => panic!("{other:?}"),
                }
            }
            false => {
                let error = pulling.pull(&mut receiving, ALL).await.unwrap_err();
                receiving.refused(&error).await.unwrap().unwrap()
            }
        };
        assert!(why.contains("a copy of the store"), "{why}");
        let whole = pulling.pull(&mut receiving, ALL).await.unwrap().unwrap();
        drop(receiving);
        pulling.see_that_it_is_whole(&whole, "whole").await;
    }
}

fn copy(from: &Path, into: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, into]).status();
    assert!(copied.unwrap().success());
}
