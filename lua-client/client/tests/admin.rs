//! The operator's port.

use std::time::Duration;

use stillpoint_client::{AdminClient, v1};
use stillpoint_proto::v1::admin_service_server::{AdminService, AdminServiceServer};
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status};

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
            sessions: vec![v1::SessionStatus {
                namespace: request.namespace,
                service: request.service,
                ..Default::default()
            }],
            ..Default::default()
        }))
    }
}

#[test]
fn the_status_is_had_with_and_without_another_runtime() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin.sock");
    let server = tokio::runtime::Runtime::new().unwrap();
    let listener = server.block_on(async { UnixListener::bind(&path).unwrap() });
    server.spawn(
        tonic::transport::Server::builder()
            .add_service(AdminServiceServer::new(Admin))
            .serve_with_incoming(UnixListenerStream::new(listener)),
    );
    let status = || {
        let endpoint = format!("unix:{}", path.display());
        let mut admin = AdminClient::connect(&endpoint, Duration::from_secs(20)).unwrap();
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
