//! The operator's port.

use std::{pin::Pin, sync::mpsc, time::Duration};

use stillpoint_client::{
    AdminClient,
    v1::{self, Reason, manage_response::Kind},
};
use stillpoint_proto::v1::{
    admin_service_server::{AdminService, AdminServiceServer},
    management_service_server::{ManagementService, ManagementServiceServer},
};
use tempfile::TempDir;
use tokio::{net::UnixListener, runtime::Runtime};
use tokio_stream::{Stream, StreamExt, wrappers::UnixListenerStream};
use tonic::{Request, Response, Status};

/// Processes of a fleet whose list is longer than a message may be by default, which is 4 MiB.
const LARGE: usize = 500_000;

struct Admin;

#[tonic::async_trait]
impl AdminService for Admin {
    async fn get_status(
        &self,
        _: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::GetStatusResponse>, Status> {
        Ok(Response::new(v1::GetStatusResponse {
            server_version: "test".into(),
            ..Default::default()
        }))
    }

    async fn list_sessions(
        &self,
        request: Request<v1::ListSessionsRequest>,
    ) -> Result<Response<v1::ListSessionsResponse>, Status> {
        let request = request.into_inner();
        Ok(Response::new(v1::ListSessionsResponse {
            sessions: vec![
                v1::SessionStatus {
                    namespace: request.namespace,
                    service: request.service.clone(),
                    ..Default::default()
                };
                if request.service == "large" { LARGE } else { 1 }
            ],
            ..Default::default()
        }))
    }
}

/// Begins; then ends, breaks, or goes on for ever, as `actor` says; and tells when the caller is gone.
struct Management {
    left: mpsc::Sender<()>,
}

struct Leaves(mpsc::Sender<()>);

impl Drop for Leaves {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

fn message(kind: Kind) -> Result<v1::ManageResponse, Status> {
    Ok(v1::ManageResponse {
        header: None,
        kind: Some(kind),
    })
}

#[tonic::async_trait]
impl ManagementService for Management {
    type ManageStream = Pin<Box<dyn Stream<Item = Result<v1::ManageResponse, Status>> + Send>>;

    async fn manage(
        &self,
        request: Request<v1::ManageRequest>,
    ) -> Result<Response<Self::ManageStream>, Status> {
        let begun = message(Kind::Begun(v1::ActionBegun::default()));
        let update = message(Kind::Update(v1::ProcessUpdate::default()));
        let summary = message(Kind::Summary(v1::ActionSummary::default()));
        let leaves = Leaves(self.left.clone());
        let first = tokio_stream::iter([begun, update]).map(move |message| {
            let _until_the_stream_is_dropped = &leaves;
            message
        });
        let last = tokio_stream::iter(match &*request.into_inner().actor {
            "nobody" => {
                let refusal = v1::StoreError::new(Reason::Invalid, "select some, or `all`");
                return Err(refusal.to_status());
            }
            "stays" => {
                let stream: Self::ManageStream = Box::pin(first.chain(tokio_stream::pending()));
                return Ok(Response::new(stream));
            }
            "large" => vec![message(Kind::Summary(v1::ActionSummary {
                processes: vec![
                    v1::ProcessUpdate {
                        message: "it was so".into(),
                        ..Default::default()
                    };
                    LARGE
                ],
                ..Default::default()
            }))],
            "breaks" => vec![Err(Status::unavailable("broken on purpose"))],
            _ => vec![summary],
        });
        let stream: Self::ManageStream = Box::pin(first.chain(last));
        Ok(Response::new(stream))
    }

    async fn list_actions(
        &self,
        request: Request<v1::ListActionsRequest>,
    ) -> Result<Response<v1::ListActionsResponse>, Status> {
        Ok(Response::new(v1::ListActionsResponse {
            actions: vec![v1::ActionRecord {
                action: request.into_inner().namespace,
                ..Default::default()
            }],
            ..Default::default()
        }))
    }
}

/// A server, its directory and runtime, where it is, and the word that a caller of `manage` is gone.
struct Server {
    _dir: TempDir,
    _runtime: Runtime,
    endpoint: String,
    left: mpsc::Receiver<()>,
}

impl Server {
    fn start() -> Server {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(async { UnixListener::bind(&path).unwrap() });
        let (told, left) = mpsc::channel();
        runtime.spawn(
            tonic::transport::Server::builder()
                .add_service(AdminServiceServer::new(Admin))
                .add_service(ManagementServiceServer::new(Management { left: told }))
                .serve_with_incoming(UnixListenerStream::new(listener)),
        );
        Server {
            endpoint: format!("unix:{}", path.display()),
            _dir: dir,
            _runtime: runtime,
            left,
        }
    }

    fn connect(&self) -> AdminClient {
        AdminClient::connect(&self.endpoint, Duration::from_secs(20)).unwrap()
    }
}

fn actor(actor: &str) -> v1::ManageRequest {
    v1::ManageRequest {
        actor: actor.into(),
        ..Default::default()
    }
}

#[test]
fn the_status_is_had_with_and_without_another_runtime() {
    let server = Server::start();
    let status = || {
        let mut admin = server.connect();
        let sessions = admin.sessions("world1", "battle").unwrap().sessions;
        assert_eq!(sessions[0].namespace, "world1");
        assert_eq!(sessions[0].service, "battle");
        admin.status().unwrap().server_version
    };
    assert_eq!(status(), "test");
    let other = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    assert_eq!(other.block_on(async { status() }), "test");
    other.block_on(async {
        let error = AdminClient::connect("unix:./nothing", Duration::from_secs(1)).unwrap_err();
        assert!(error.message.starts_with("no server at unix:./nothing: "));
    });
}

#[test]
fn an_action_is_told_message_by_message_up_to_its_end() {
    let server = Server::start();
    let mut admin = server.connect();
    let told: Vec<_> = admin.manage(actor("ends")).unwrap().collect();
    let kinds: Vec<_> = told.into_iter().map(|m| m.unwrap().kind.unwrap()).collect();
    assert!(
        matches!(
            kinds[..],
            [Kind::Begun(_), Kind::Update(_), Kind::Summary(_)]
        ),
        "{kinds:?}"
    );
    let error = admin.manage(actor("nobody")).unwrap_err();
    assert_eq!(error.reason(), Reason::Invalid);
    let actions = admin.actions(v1::ListActionsRequest {
        namespace: "world1".into(),
        ..Default::default()
    });
    assert_eq!(actions.unwrap().actions[0].action, "world1");
}

#[test]
fn an_action_whose_connection_breaks_ends_with_an_error_once() {
    let server = Server::start();
    let mut admin = server.connect();
    let mut told = admin.manage(actor("breaks")).unwrap();
    assert!(told.next().unwrap().is_ok());
    assert!(told.next().unwrap().is_ok());
    let error = told.next().unwrap().unwrap_err();
    assert_eq!(error.reason(), Reason::Unavailable);
    assert!(error.message.contains("broken on purpose"), "{error:?}");
    assert!(told.next().is_none());
}

#[test]
fn who_drops_an_action_has_left_it_though_the_connection_stands() {
    let server = Server::start();
    let mut admin = server.connect();
    let mut told = admin.manage(actor("stays")).unwrap();
    assert!(told.next().unwrap().is_ok());
    drop(told);
    let left = server.left.recv_timeout(Duration::from_secs(30));
    assert!(left.is_ok(), "the server does not know");
    assert_eq!(admin.status().unwrap().server_version, "test");
}

#[test]
fn a_large_fleet_is_listed_and_summed_up_whole() {
    let server = Server::start();
    let mut admin = server.connect();
    let sessions = admin.sessions("", "large").unwrap().sessions;
    assert_eq!(sessions.len(), LARGE);
    match admin.manage(actor("large")).unwrap().last() {
        Some(Ok(v1::ManageResponse {
            kind: Some(Kind::Summary(summary)),
            ..
        })) => assert_eq!(summary.processes.len(), LARGE),
        other => panic!("it ended with {other:?}"),
    }
}

#[test]
fn a_request_that_is_too_large_for_the_server_is_refused_in_words() {
    let server = Server::start();
    let error = server
        .connect()
        .manage(actor(&"x".repeat(5 << 20)))
        .unwrap_err();
    assert_eq!(error.reason(), Reason::TooLarge);
    assert!(error.message.contains("limits.message_bytes"), "{error}");
}
