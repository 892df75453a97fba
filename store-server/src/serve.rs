//! The server: opens the store, binds its sockets, serves until it is told to stop, then drains.
//!
//! It does so in rounds: a restore of the running store ends the work on one store and begins that on the next.
//!
//! - `ports`: the work on one store. `socket`: what it listens on.

mod ports;
mod socket;

use std::{
    io,
    path::{self, PathBuf},
    pin::pin,
    time::Duration,
};

use futures_util::{FutureExt, future::FusedFuture};
use rustix::process::{Resource, getrlimit, setrlimit};
use thiserror::Error;
use tokio::{
    runtime::{Builder, Runtime},
    sync::oneshot,
    task::{JoinError, JoinHandle},
};

use self::{
    ports::{Ended, serve},
    socket::anchored,
};
use crate::{
    config::{BackupConfig, Config},
    service::backup::Replacement,
    store::{OpenError, Store},
};

/// Why the server cannot serve.
#[derive(Debug, Error)]
pub enum ServeError {
    /// A setting is wrong.
    #[error("{0}")]
    Config(String),
    /// The store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A socket cannot be bound.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The path or address.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// A listener failed.
    #[error("the {port} port failed: {source}")]
    Transport {
        /// Which one.
        port: &'static str,
        /// What it said.
        source: tonic::transport::Error,
    },
    /// No threads can be started.
    #[error("cannot start the server's threads: {0}")]
    Runtime(io::Error),
    /// Something has the store open that was to be replaced.
    #[error(
        "the store that was to be replaced is still being read by something that does not end: start the server again, which \
         finishes the restore"
    )]
    Held,
    /// A thread of the server panicked.
    #[error("a thread of the server failed: {0}")]
    Thread(#[from] JoinError),
}

/// Serves until `shutdown` completes. Then takes nothing new, answers what was begun, and brings all to disk. A restore of the
/// store does the same, replaces the data directory, and goes on.
pub async fn run(
    mut config: Config,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    config.check().map_err(ServeError::Config)?;
    anchor(&mut config).map_err(|error| {
        ServeError::Config(format!("cannot tell the program's directory: {error}"))
    })?;
    allow_files();
    let mut shutdown = pin!(shutdown.fuse());
    let mut store = blocking({
        let config = config.clone();
        || Store::open(config)
    })
    .await??;
    loop {
        let round = Round::start(&config, &store)?;
        let ended = round.end(shutdown.as_mut()).await;
        let replacement = match ended {
            Ok(Ended {
                replacement: Some(replacement),
                listen,
            }) => {
                // A free port that was taken is kept.
                config.listen = listen;
                replacement
            }
            ended => {
                blocking(move || store.close()).await?;
                if ended.is_ok() {
                    tracing::info!("stopped; everything is on disk");
                }
                return ended.map(drop);
            }
        };
        store = replace(store, replacement, &config).await?;
        if shutdown.is_terminated() {
            blocking(move || store.close()).await?;
            tracing::info!("stopped; everything is on disk");
            return Ok(());
        }
    }
}

/// Puts what was restored in the store's place, and opens it. If it cannot be put there, the store is opened again as it was.
async fn replace(
    store: Store,
    replacement: Replacement,
    config: &Config,
) -> Result<Store, ServeError> {
    let Replacement { swap, mut carried } = replacement;
    let before = store.header().incarnation;
    let kept_in = swap.kept().to_owned();
    let config = config.clone();
    let store = blocking(move || {
        if !store.retire() {
            return Err(ServeError::Held);
        }
        let opened = match swap.finish() {
            Ok(dir) => Store::open_in(dir, config),
            Err(error) => {
                tracing::error!(%error, "what was restored cannot take the store's place: it goes on as it was");
                Store::open(config)
            }
        };
        Ok(opened?)
    })
    .await??;
    // The start that follows a swap that failed may have completed it.
    match store.header().incarnation {
        same if same == before => {
            tracing::error!("the restore failed: nothing was changed");
            if let Some(carried) = &mut carried {
                carried.fail(
                    "what was restored could not take the store's place; nothing was changed",
                );
            }
        }
        incarnation => tracing::warn!(
            incarnation,
            kept_in = %kept_in.display(),
            "the store is restored"
        ),
    }
    if let Some(carried) = carried {
        carried.write(&store).await;
    }
    Ok(store)
}

/// Makes the paths absolute: a swap moves the data directory, and the program's own directory with it if that is within.
fn anchor(config: &mut Config) -> io::Result<()> {
    // Told by the data directory as it was given, since a socket's path is to be short.
    config.socket = Some(anchored(config.socket_path()));
    config.admin_socket = Some(anchored(config.admin_socket_path()));
    let BackupConfig {
        scratch, key_file, ..
    } = &mut config.backup;
    let paths: [Option<&mut PathBuf>; 3] = [
        Some(&mut config.data_dir),
        scratch.as_mut(),
        key_file.as_mut(),
    ];
    for path in paths.into_iter().flatten() {
        *path = path::absolute(&path)?;
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    tokio::task::spawn_blocking(work).await
}

/// The work on one store, on a runtime of its own: when that is shut down nothing is left that could go on with the store,
/// whatever connections clients still hold.
struct Round {
    runtime: Threads,
    serving: JoinHandle<Result<Ended, ServeError>>,
    stop: oneshot::Sender<()>,
}

/// A runtime that may be dropped within another one. Taken out only when it is shut down.
struct Threads(Option<Runtime>);

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// How long what a round left running may take to end. A task ends at its next pause, a blocking one when it is done.
const ROUND_ENDS: Duration = Duration::from_secs(30);

impl Round {
    fn start(config: &Config, store: &Store) -> Result<Round, ServeError> {
        let runtime = Builder::new_multi_thread()
            .enable_all()
            .thread_name("serve")
            .build()
            .map_err(ServeError::Runtime)?;
        let (stop, stopped) = oneshot::channel();
        let (config, store) = (config.clone(), store.clone());
        let serving = runtime.spawn(async move { serve(&config, &store, stopped).await });
        Ok(Round {
            runtime: Threads(Some(runtime)),
            serving,
            stop,
        })
    }

    /// Goes on until `shutdown` completes, or the store is to be replaced; nothing of it is left then.
    async fn end(self, shutdown: impl FusedFuture<Output = ()>) -> Result<Ended, ServeError> {
        let Round {
            mut runtime,
            mut serving,
            stop,
        } = self;
        let ended = tokio::select! {
            ended = &mut serving => ended?,
            () = shutdown => {
                // It may have ended in this moment.
                let _ = stop.send(());
                serving.await?
            }
        };
        if let Some(runtime) = runtime.0.take() {
            blocking(move || runtime.shutdown_timeout(ROUND_ENDS)).await?;
        }
        ended
    }
}

/// A connection is an open file, and so are segments: more of them are often allowed than a process gets unasked.
fn allow_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

#[cfg(test)]
mod tests {
    use std::env;

    use super::*;

    #[test]
    fn no_path_depends_on_where_the_program_is_moved_to() {
        let mut config = Config {
            data_dir: ".".into(),
            ..Config::default()
        };
        config.backup.key_file = Some("key".into());
        config.admin_socket = Some("/run/admin.sock".into());
        anchor(&mut config).unwrap();
        let here = env::current_dir().unwrap();
        assert_eq!(config.data_dir, here);
        assert_eq!(config.backup.key_file, Some(here.join("key")));
        assert_eq!(config.backup.scratch, None);
        assert_eq!(config.admin_socket_path(), PathBuf::from("/run/admin.sock"));
    }

    #[test]
    fn a_socket_that_would_be_too_far_away_stays_where_it_was() {
        let long = PathBuf::from("d".repeat(100));
        assert_eq!(anchored(long.clone()), long);
        assert!(anchored("s.sock".into()).ends_with("s.sock"));
    }
}
