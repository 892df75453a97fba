//! The contract without our client: plain gRPC, as any other program would speak it.

use std::path::PathBuf;

use hyper_util::rt::TokioIo;
use stillpoint_client::v1::{
    OpResult, PipelineItem, PipelineOpen, PipelineRequest, PipelineResponse, PutOp, RequestContext,
    StoreError, op_result::Kind, state_service_client::StateServiceClient,
};
use tokio::net::UnixStream;
use tonic::{
    Status, Streaming,
    transport::{Channel, Endpoint},
};
use tower::service_fn;

use crate::server::Server;

/// A gRPC channel to a Unix socket in the server's directory.
///
/// # Panics
///
/// If nobody listens.
pub async fn channel(server: &Server, socket: &str) -> Channel {
    let path: PathBuf = server.directory().join(socket);
    let connect = service_fn(move |_| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    let endpoint = Endpoint::from_static("http://stillpoint.invalid");
    let connected = endpoint.connect_with_connector(connect).await;
    connected.expect("the server listens")
}

/// The data port.
///
/// # Panics
///
/// If nobody listens.
pub async fn state(server: &Server) -> StateServiceClient<Channel> {
    StateServiceClient::new(channel(server, "stillpoint.sock").await)
        .max_decoding_message_size(64 << 20)
        .max_encoding_message_size(64 << 20)
}

/// A request's context.
pub fn context(namespace: &str) -> RequestContext {
    RequestContext {
        namespace: namespace.into(),
        ..Default::default()
    }
}

/// Sends one frame on a Pipeline of its own.
///
/// # Errors
///
/// If the server refuses the Pipeline.
pub async fn pipeline(
    server: &Server,
    namespace: &str,
    items: Vec<PipelineItem>,
) -> Result<Streaming<PipelineResponse>, Status> {
    let open = PipelineOpen {
        context: Some(context(namespace)),
        client_name: "test".into(),
    };
    let frame = PipelineRequest {
        open: Some(open),
        items,
    };
    let answered = state(server)
        .await
        .pipeline(tokio_stream::once(frame))
        .await?;
    Ok(answered.into_inner())
}

/// All answers of a Pipeline, in the order in which they came: id and result.
///
/// # Panics
///
/// If the Pipeline breaks.
pub async fn answers(mut stream: Streaming<PipelineResponse>) -> Vec<(u64, OpResult)> {
    let mut answers = Vec::new();
    while let Some(frame) = stream.message().await.expect("the pipeline ends well") {
        for result in frame.results {
            answers.push((result.id, result.result.expect("an answer has a result")));
        }
    }
    answers
}

/// The error of a result.
///
/// # Panics
///
/// If it is none.
pub fn error_of(result: &OpResult) -> &StoreError {
    match &result.kind {
        Some(Kind::Error(error)) => error,
        other => panic!("expected an error, got {other:?}"),
    }
}

/// A put of these bytes, whatever they are.
pub fn put_bytes(name: &str, value: Vec<u8>) -> PutOp {
    PutOp {
        key: Some(crate::op::key(name)),
        value: value.into(),
        ..Default::default()
    }
}
