//! The work on one store: its two ports, from the first request to the drain.

use std::{
    convert::Infallible,
    fs, future,
    net::SocketAddr,
    panic,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::stream;
use stillpoint_proto::{
    FILE_DESCRIPTOR_SET,
    v1::{
        admin_service_server::AdminServiceServer, backup_service_server::BackupServiceServer,
        management_service_server::ManagementServiceServer,
        migration_service_server::MigrationServiceServer,
        session_service_server::SessionServiceServer, state_service_server::StateServiceServer,
        watch_service_server::WatchServiceServer,
    },
};
use tokio::{
    net::UnixListener,
    sync::{mpsc, oneshot, watch},
    task::{JoinError, JoinSet},
};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{service::InterceptorLayer, transport::Server};

use super::{
    ServeError,
    socket::{bind_tcp, bind_unix},
};
use crate::{
    config::Config,
    service::{
        Gauges,
        admin::AdminApi,
        backup::{Backups, Replacement, api::BackupApi, schedule},
        connection::{Listeners, admit},
        history::Histories,
        management::api::ManagementApi,
        migration::{Migrations, api::MigrationApi, job},
        session::{api::SessionApi, hub::Hub},
        state::StateApi,
        watch::WatchApi,
    },
    store::Store,
};

/// HTTP/2 windows: large, since the credits of a Pipeline are the bound.
const WINDOW_BYTES: u32 = 16 << 20;

/// How the work on a store ended.
#[derive(Debug, Default)]
pub struct Ended {
    /// What is to take the store's place; nothing if the server stops.
    pub replacement: Option<Replacement>,
    /// The TCP address, with the port that it had.
    pub listen: Option<SocketAddr>,
}

/// Serves until it is told to stop, or the store is to be replaced. Then takes nothing new, and answers what was begun.
pub async fn serve(
    config: &Config,
    store: &Store,
    shutdown: oneshot::Receiver<()>,
) -> Result<Ended, ServeError> {
    let gauges = Arc::new(Gauges::default());
    let hub = Hub::new(store.clone());
    let (stop, stopping) = watch::channel(false);
    let (socket, admin_socket) = (config.socket_path(), config.admin_socket_path());
    let unix = bind_unix(&socket, None)?;
    let admin = bind_unix(&admin_socket, Some(0o600))?;
    let tcp = match config.listen {
        Some(address) => Some(bind_tcp(address).await?),
        None => None,
    };
    let address = tcp.as_ref().and_then(|listener| listener.local_addr().ok());
    let listeners = Listeners {
        unix,
        tcp,
        limit: config.limits.connections as u64,
        gauges: gauges.clone(),
    };
    let data = serve_data(config, store, listeners, &gauges, &hub, stopping.clone());
    let (replacements, mut replaced) = mpsc::channel(1);
    let backups = Backups::new(store.clone(), stopping.clone(), replacements);
    let migrations = Migrations::new(store.clone(), stopping.clone(), backups.clone());
    let admin = serve_admin(store, admin, &gauges, &hub, &backups, &migrations, stopping);
    tracing::info!(
        data_dir = %config.data_dir.display(),
        socket = %socket.display(),
        admin = %admin_socket.display(),
        tcp = address.map(tracing::field::display),
        "serving"
    );
    // Tasks of their own: what they do at a stretch must hold up neither who connects nor sessions. They end with this round.
    let mut background = JoinSet::new();
    background.spawn(schedule::run(backups.clone()));
    background.spawn(job::run(migrations.clone()));
    let both = async {
        tokio::select! {
            served = async { tokio::try_join!(data, admin).map(drop) } => served,
            never = hub.run() => match never {},
            panicked = background.join_next() => end_of_background(panicked).await,
        }
    };
    tokio::pin!(both);
    let asked = async {
        tokio::select! {
            // A sender that is gone wants an end as well.
            _ = shutdown => None,
            replacement = replaced.recv() => replacement,
        }
    };
    let ended = tokio::select! {
        served = &mut both => served.map(|()| None),
        replacement = asked => {
            match &replacement {
                Some(_) => tracing::info!("what was restored is complete: answering what was begun"),
                None => tracing::info!("stopping: answering what was begun"),
            }
            hub.stop();
            stop.send_replace(true);
            let grace = Duration::from_secs(config.shutdown_grace_secs);
            let served = tokio::select! {
                served = &mut both => served,
                () = quiet(store, &gauges) => Ok(()),
                // Connections that are still busy after the grace are cut; their writes were never answered.
                () = tokio::time::sleep(grace) => Ok(()),
            };
            served.map(|()| replacement)
        }
    };
    for path in [socket, admin_socket] {
        // Left behind, it is replaced by the next start.
        let _ = fs::remove_file(path);
    }
    Ok(Ended {
        // One that was decided while the server drained is carried out all the same: the next start would do it.
        replacement: ended?.or_else(|| replaced.try_recv().ok()),
        listen: address,
    })
}

/// What is done in the background has no end of its own: if it panicked, so does who serves.
async fn end_of_background(joined: Option<Result<Infallible, JoinError>>) -> ! {
    match joined {
        Some(Err(error)) if error.is_panic() => panic::resume_unwind(error.into_panic()),
        _ => future::pending().await,
    }
}

async fn serve_data(
    config: &Config,
    store: &Store,
    listeners: Listeners,
    gauges: &Arc<Gauges>,
    hub: &Arc<Hub>,
    stopping: watch::Receiver<bool>,
) -> Result<(), ServeError> {
    let (health_reporter, health) = tonic_health::server::health_reporter();
    let api = StateApi {
        store: store.clone(),
        stopping: stopping.clone(),
        gauges: gauges.clone(),
        hub: hub.clone(),
        histories: Histories::new(store.clone()),
    };
    let sessions = SessionServiceServer::new(SessionApi {
        hub: hub.clone(),
        stopping: stopping.clone(),
    })
    .max_decoding_message_size(config.limits.message_bytes);
    let watches = WatchApi::new(store.clone(), stopping.clone(), gauges.clone());
    let bytes = config.limits.message_bytes;
    // A frame is closed when it has half a message's bytes, with whatever result exceeded that.
    let state = StateServiceServer::new(api)
        .max_decoding_message_size(bytes)
        .max_encoding_message_size(2 * bytes);
    let watches = WatchServiceServer::new(watches).max_encoding_message_size(2 * bytes);
    health_reporter
        .set_serving::<StateServiceServer<StateApi>>()
        .await;
    health_reporter
        .set_serving::<SessionServiceServer<SessionApi>>()
        .await;
    health_reporter
        .set_serving::<WatchServiceServer<WatchApi>>()
        .await;
    let incoming = stream::unfold(listeners, |listeners| async {
        Some((listeners.accept().await, listeners))
    });
    let stop = stopped(stopping);
    let stop = async move {
        stop.await;
        health_reporter
            .set_not_serving::<StateServiceServer<StateApi>>()
            .await;
        health_reporter
            .set_not_serving::<SessionServiceServer<SessionApi>>()
            .await;
        health_reporter
            .set_not_serving::<WatchServiceServer<WatchApi>>()
            .await;
    };
    let served = Server::builder()
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .layer(InterceptorLayer::new(admit))
        .add_service(health)
        .add_service(reflection())
        .add_service(state)
        .add_service(sessions)
        .add_service(watches)
        .serve_with_incoming_shutdown(incoming, stop)
        .await;
    served.map_err(|source| ServeError::Transport {
        port: "data",
        source,
    })
}

async fn serve_admin(
    store: &Store,
    listener: UnixListener,
    gauges: &Arc<Gauges>,
    hub: &Arc<Hub>,
    backups: &Arc<Backups>,
    migrations: &Arc<Migrations>,
    stopping: watch::Receiver<bool>,
) -> Result<(), ServeError> {
    let (health_reporter, health) = tonic_health::server::health_reporter();
    let api = AdminApi {
        store: store.clone(),
        gauges: gauges.clone(),
        hub: hub.clone(),
        backups: backups.clone(),
        since: Instant::now(),
    };
    health_reporter
        .set_serving::<AdminServiceServer<AdminApi>>()
        .await;
    health_reporter
        .set_serving::<ManagementServiceServer<ManagementApi>>()
        .await;
    let management = ManagementApi::new(hub.clone(), backups.journal().clone());
    let management = ManagementServiceServer::new(management)
        .max_decoding_message_size(store.config().limits.message_bytes);
    // A message of a history has one record.
    let backups = BackupServiceServer::new(BackupApi::new(backups.clone()))
        .max_encoding_message_size(2 * store.config().limits.message_bytes);
    health_reporter
        .set_serving::<BackupServiceServer<BackupApi>>()
        .await;
    let bytes = store.config().limits.message_bytes;
    let migrations = MigrationServiceServer::new(MigrationApi::new(migrations.clone()))
        .max_decoding_message_size(bytes)
        .max_encoding_message_size(2 * bytes);
    health_reporter
        .set_serving::<MigrationServiceServer<MigrationApi>>()
        .await;
    let served = Server::builder()
        .add_service(health)
        .add_service(reflection())
        .add_service(AdminServiceServer::new(api))
        .add_service(management)
        .add_service(backups)
        .add_service(migrations)
        .serve_with_incoming_shutdown(UnixListenerStream::new(listener), stopped(stopping))
        .await;
    served.map_err(|source| ServeError::Transport {
        port: "admin",
        source,
    })
}

fn reflection() -> tonic_reflection::server::v1::ServerReflectionServer<
    impl tonic_reflection::server::v1::ServerReflection,
> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .expect("the descriptors were compiled with this program")
}

/// Completes when nothing has been under way for [`QUIET`]. The connections that are left then belong to clients that do
/// not listen at the moment, such as a Lua process busy with itself, and so cannot learn that the server would like them to
/// go.
async fn quiet(store: &Store, gauges: &Gauges) {
    let mut since = Instant::now();
    while since.elapsed() < QUIET {
        tokio::time::sleep(QUIET / 10).await;
        if Gauges::load(&gauges.in_flight) > 0 || store.status().queued > 0 {
            since = Instant::now();
        }
    }
}

/// How long a stopping server waits for connections on which nothing is under way.
const QUIET: Duration = Duration::from_millis(500);

async fn stopped(mut stopping: watch::Receiver<bool>) {
    // An error means that the sender is gone, so the server is too.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}
