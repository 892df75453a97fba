//! A server in this process, on a thread of its own, that can be stopped and started again on its data.

use std::{
    future::Future,
    path::Path,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use stillpoint_store_server::{
    config::{Config, EngineKind},
    serve,
};
use tempfile::TempDir;
use tokio::{runtime::Runtime, sync::oneshot, time::timeout};
use tonic::transport::{Channel, Endpoint};

/// A running server.
pub struct Server {
    config: Config,
    directory: TempDir,
    running: Option<Running>,
}

struct Running {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

/// A test that waits longer for anything has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for something that must come.
pub async fn soon<T>(what: &str, coming: impl Future<Output = T>) -> T {
    let came = timeout(PATIENCE, coming).await;
    came.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// Settings for a store in this directory.
pub fn settings(directory: &Path) -> Config {
    let mut config = Config {
        data_dir: directory.to_owned(),
        ..Config::default()
    };
    config.log.disk_reserve_bytes = 0;
    config.view.engine = EngineKind::Memory;
    config
}

impl Server {
    /// Starts one that has nothing yet.
    pub async fn start() -> Server {
        Server::start_with(|_| {}).await
    }

    /// The same with other settings.
    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Server {
        let directory = tempfile::tempdir().unwrap();
        let mut config = settings(directory.path());
        change(&mut config);
        let mut server = Server {
            config,
            directory,
            running: None,
        };
        server.run().await;
        server
    }

    async fn run(&mut self) {
        let (stop, stopped) = oneshot::channel::<()>();
        let config = self.config.clone();
        let thread = std::thread::spawn(move || {
            let runtime = Runtime::new().unwrap();
            let shutdown = async { drop(stopped.await) };
            runtime.block_on(serve::run(config, shutdown)).unwrap();
        });
        self.running = Some(Running { stop, thread });
        self.channel("stillpoint.sock").await;
    }

    /// Stops it and starts it again on its data.
    pub async fn restart(&mut self) {
        self.restart_with(|_| {}).await;
    }

    /// The same; between the two, something is done to its settings or its data.
    pub async fn restart_with(&mut self, between: impl FnOnce(&mut Config)) {
        let running = self.running.take().expect("it runs");
        running.stop.send(()).expect("it runs");
        let joined = tokio::task::spawn_blocking(|| running.thread.join());
        soon("the server to stop", joined).await.unwrap().unwrap();
        between(&mut self.config);
        self.run().await;
    }

    /// A connection of its own to one of its sockets; waits until it listens.
    pub async fn channel(&self, socket: &str) -> Channel {
        let path = self.directory.path().join(socket);
        let endpoint = Endpoint::from_shared(format!("unix:{}", path.display())).unwrap();
        let connected = async {
            loop {
                match endpoint.connect().await {
                    Ok(channel) => return channel,
                    Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
                }
            }
        };
        soon("the server to listen", connected).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its directory must not vanish under a database that is being closed; a test that failed does not wait for that.
        if let Some(running) = self.running.take() {
            let _ = running.stop.send(());
            let patience = Instant::now() + PATIENCE;
            let on_disk = self.config.view.engine != EngineKind::Memory && !thread::panicking();
            while on_disk && !running.thread.is_finished() && Instant::now() < patience {
                thread::sleep(Duration::from_millis(1));
            }
        }
    }
}
