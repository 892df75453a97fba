//! A running store is to be replaced, and something comes in between once that is decided.

use std::{
    fs::{self, File},
    future::Future,
    path::{Path, PathBuf},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::fs::{FlockOperation, flock};
use stillpoint_migrations::format::Identity;
use stillpoint_proto::v1::{
    ActionOutcome, ActionRecord, CreateBackupRequest, GetOp, GetRequest, GetStatusRequest,
    ListActionsRequest, PutOp, PutRequest, RequestContext, RestoreStoreRequest,
    admin_service_client::AdminServiceClient, backup_service_client::BackupServiceClient,
    management_service_client::ManagementServiceClient, state_service_client::StateServiceClient,
};
use stillpoint_store_server::{
    config::{Config, EngineKind},
    serve,
};
use tempfile::TempDir;
use tokio::{runtime::Runtime, sync::oneshot, task};
use tonic::transport::{Channel, Endpoint};

use crate::{
    common::{NAMESPACE, key, value},
    server::{PATIENCE, settings, soon},
};

/// A server whose data directory has something beside it.
struct Live {
    dir: TempDir,
    config: Config,
}

impl Live {
    fn new() -> Live {
        let dir = tempfile::tempdir().unwrap();
        let mut config = settings(&dir.path().join("data"));
        config.view.engine = EngineKind::Sled;
        Live { dir, config }
    }

    /// Serves until `shutdown` completes.
    fn serve(&self, shutdown: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        let config = self.config.clone();
        thread::spawn(move || {
            let runtime = Runtime::new().unwrap();
            runtime.block_on(serve::run(config, shutdown)).unwrap();
        })
    }

    async fn channel(&self, socket: &str) -> Channel {
        let path = self.config.data_dir.join(socket);
        let endpoint = Endpoint::from_shared(format!("unix:{}", path.display())).unwrap();
        let connected = async {
            loop {
                match endpoint.connect().await {
                    Ok(channel) => return channel,
                    Err(_) => task::yield_now().await,
                }
            }
        };
        soon("the server to listen", connected).await
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    async fn put(&self, text: &str) {
        let put = PutOp {
            key: key("c", "k".to_owned()),
            value: value(text),
            ..PutOp::default()
        };
        let request = PutRequest {
            context: context(),
            op: Some(put),
        };
        let mut state = StateServiceClient::new(self.channel("stillpoint.sock").await);
        state.put(request).await.unwrap();
    }

    async fn see_that_it_has(&self, text: &str) {
        let get = GetOp {
            key: key("c", "k".to_owned()),
            ..GetOp::default()
        };
        let request = GetRequest {
            context: context(),
            op: Some(get),
        };
        let mut state = StateServiceClient::new(self.channel("stillpoint.sock").await);
        let got = state.get(request).await.unwrap().into_inner().result;
        assert_eq!(got.unwrap().record.unwrap().value, value(text));
    }

    async fn back_up(&self) {
        let request = CreateBackupRequest {
            target: self.beside("backups").display().to_string(),
            ..CreateBackupRequest::default()
        };
        let mut backups = BackupServiceClient::new(self.channel("admin.sock").await);
        let mut told = backups.create_backup(request).await.unwrap().into_inner();
        while soon("the backup", told.message()).await.unwrap().is_some() {}
    }

    /// Has the store brought back to the newest backup, until it is decided.
    async fn restore(&self) {
        let channel = self.channel("admin.sock").await;
        let mut admin = AdminServiceClient::new(channel.clone());
        let status = admin.get_status(GetStatusRequest {}).await.unwrap();
        let store_id = status.into_inner().header.unwrap().store_id;
        let request = RestoreStoreRequest {
            target: self.beside("backups").display().to_string(),
            confirm: store_id.iter().map(|b| format!("{b:02x}")).collect(),
            actor: "ann".into(),
            ..RestoreStoreRequest::default()
        };
        let mut backups = BackupServiceClient::new(channel);
        let mut told = backups.restore_store(request).await.unwrap().into_inner();
        while soon("the restore", told.message()).await.unwrap().is_some() {}
    }

    /// What is written down of restores, the last first, once there is something.
    async fn restores(&self) -> Vec<ActionRecord> {
        let request = ListActionsRequest {
            namespace: NAMESPACE.into(),
            ..ListActionsRequest::default()
        };
        let listed = async {
            loop {
                // A server that drains may cut it off.
                let channel = self.channel("admin.sock").await;
                let mut management = ManagementServiceClient::new(channel);
                let Ok(listed) = management.list_actions(request.clone()).await else {
                    continue;
                };
                let mut actions = listed.into_inner().actions;
                actions.retain(|a| a.action == "restore --live" && a.ended_ms > 0);
                if !actions.is_empty() {
                    return actions;
                }
            }
        };
        soon("the end of the restore to be written down", listed).await
    }

    /// Of what is there now. It is nothing in the middle of a swap.
    fn incarnation(&self) -> Option<u64> {
        let text = fs::read_to_string(self.config.data_dir.join("store.toml")).ok()?;
        Some(Identity::parse(&text).unwrap().incarnation)
    }
}

fn context() -> Option<RequestContext> {
    Some(RequestContext {
        namespace: NAMESPACE.into(),
        ..RequestContext::default()
    })
}

async fn joined(server: JoinHandle<()>) {
    let joined = task::spawn_blocking(|| server.join());
    soon("the server to stop", joined).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_decided_while_the_server_stops_is_carried_out_by_it() {
    let live = Live::new();
    let (asked, is_asked) = oneshot::channel();
    let swap = [".data.swap.new", ".data.swap"].map(|name| live.beside(name));
    let server = live.serve(async move {
        is_asked.await.unwrap();
        // As soon as it is being decided.
        while !swap.iter().any(|path| path.exists()) {
            task::yield_now().await;
        }
    });
    live.put("1").await;
    live.back_up().await;
    live.put("2").await;
    asked.send(()).unwrap();
    live.restore().await;
    joined(server).await;
    // Nobody has opened it since, who would do what is left to be done.
    assert_eq!(live.incarnation(), Some(2));
    assert!(!live.beside(".data.swap").exists());

    let (stop, stopped) = oneshot::channel();
    let server = live.serve(async { drop(stopped.await) });
    live.see_that_it_has("1").await;
    let restores = live.restores().await;
    assert_eq!(restores.len(), 1, "{restores:?}");
    assert_eq!(restores[0].outcome(), ActionOutcome::Ok);
    assert_eq!(restores[0].actor, "ann");
    stop.send(()).unwrap();
    joined(server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swap_that_fails_is_written_down_as_that_and_the_store_goes_on_as_it_was() {
    let live = Live::new();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = live.serve(async { drop(stopped.await) });
    live.put("1").await;
    live.back_up().await;
    live.put("2").await;
    // Somebody has locked what was restored, when it is to be moved.
    let path = live.beside(".data.restored.restoring/lock");
    let locking = task::spawn_blocking(move || lock(&path));
    live.restore().await;
    let locked = soon("the lock", locking).await.unwrap();
    let restores = live.restores().await;
    assert_eq!(restores.len(), 1, "{restores:?}");
    assert_eq!(restores[0].outcome(), ActionOutcome::Failed);
    let message = &restores[0].message;
    assert!(message.contains("nothing was changed"), "{message}");
    assert_eq!(live.incarnation(), Some(1));
    live.see_that_it_has("2").await;

    drop(locked);
    live.restore().await;
    let restored = async {
        while live.incarnation() != Some(2) {
            task::yield_now().await;
        }
    };
    soon("the swap", restored).await;
    live.see_that_it_has("1").await;
    stop.send(()).unwrap();
    joined(server).await;
}

/// Locks a file as soon as it is there and nobody else has it locked.
fn lock(path: &Path) -> File {
    let begun = Instant::now();
    let file = loop {
        match File::open(path) {
            Ok(file) => break file,
            Err(error) if begun.elapsed() > PATIENCE => panic!("{}: {error}", path.display()),
            Err(_) => thread::sleep(Duration::from_micros(100)),
        }
    };
    flock(&file, FlockOperation::LockExclusive).unwrap();
    file
}
