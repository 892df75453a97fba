//! Every bound of the server has its own clear error, which names the setting. Spoken in plain gRPC, since our own client
//! keeps the bounds by itself.

use std::os::unix::fs::PermissionsExt;

use stillpoint_client::v1::{
    BatchGetOp, BatchGetRequest, GetRequest, Op, PatchRequest, PipelineItem, PutRequest, Reason,
    RequestContext, ScanOp, ScanRequest, StoreError, TxnOp, TxnRequest, op, op_result,
};
use stillpoint_tests::{
    op::{add, get, key, put},
    raw::{answers, channel, context, error_of, pipeline, put_bytes, state},
    server::{Server, Setup},
};
use tonic::{Code, Status};

fn start(flags: &[&str]) -> Server {
    let setup = flags
        .iter()
        .fold(Setup::new(), |setup, flag| setup.flag(*flag));
    setup.start()
}

fn items(ops: impl IntoIterator<Item = Op>, lane: u64) -> Vec<PipelineItem> {
    let numbered = ops.into_iter().enumerate();
    numbered
        .map(|(i, op)| PipelineItem {
            id: i as u64 + 1,
            lane,
            op: Some(op),
            ..Default::default()
        })
        .collect()
}

#[track_caller]
fn assert_refused(status: &Status, reason: Reason, setting: &str) {
    let error = StoreError::from_status(status);
    assert_eq!(error.reason(), reason, "{error}");
    assert!(error.message.contains(setting), "{error}");
}

#[tokio::test]
async fn a_connection_over_the_limit_is_told_so() {
    let server = start(&["--max-connections=2"]);
    let request = || GetRequest {
        context: Some(context("w")),
        op: None,
    };
    let mut first = state(&server).await;
    let mut second = state(&server).await;
    // A connection counts from its first byte on: make sure that both are there.
    let _ = (first.get(request()).await, second.get(request()).await);
    let mut third = state(&server).await;
    let refused = third.get(request()).await.expect_err("over the limit");
    assert_refused(&refused, Reason::Unavailable, "limits.connections");
    let admitted = first
        .get(request())
        .await
        .expect_err("the request is empty");
    assert_refused(&admitted, Reason::Invalid, "the operation is empty");
}

#[tokio::test]
async fn operations_over_the_credits_are_refused_and_the_others_done() {
    let server = start(&["--max-in-flight=4"]);
    let frame = items((0..6).map(|i| put(&format!("k{i}"), "x")), 0);
    let results = answers(pipeline(&server, "w", frame).await.expect("opened")).await;
    let (done, refused): (Vec<_>, Vec<_>) = results.iter().partition(|(id, _)| *id <= 4);
    assert_eq!((done.len(), refused.len()), (4, 2));
    for (_, result) in done {
        assert!(
            matches!(result.kind, Some(op_result::Kind::Put(_))),
            "{result:?}"
        );
    }
    for (_, result) in refused {
        let error = error_of(result);
        assert_eq!(error.reason(), Reason::RateLimited);
        assert!(error.retryable);
        assert!(error.message.contains("limits.in_flight"), "{error}");
    }
}

#[tokio::test]
async fn sizes_and_counts_over_their_limits_are_refused_by_name() {
    let server = start(&[
        "--max-message-bytes=64KiB",
        "--max-value-bytes=1KiB",
        "--max-nesting=4",
        "--max-batch-ops=3",
    ]);
    let mut client = state(&server).await;
    let mut refused = async |value: Vec<u8>| {
        let op = Some(put_bytes("k", value));
        let request = PutRequest {
            context: Some(context("w")),
            op,
        };
        client.put(request).await.expect_err("over a limit")
    };

    let text = |bytes: usize| {
        [
            vec![0xda, (bytes >> 8) as u8, bytes as u8],
            vec![b'x'; bytes],
        ]
        .concat()
    };
    assert_refused(
        &refused(text(1100)).await,
        Reason::TooLarge,
        "limits.value_bytes",
    );
    assert_refused(
        &refused([vec![0x91; 5], vec![0x01]].concat()).await,
        Reason::TooLarge,
        "limits.nesting",
    );
    assert_refused(&refused(vec![0x01, 0x02]).await, Reason::Invalid, "");
    assert_refused(&refused(vec![0xa1, 0xff]).await, Reason::Invalid, "UTF-8");
    let whole_message = refused(vec![0; 70_000]).await;
    assert_eq!(whole_message.code(), Code::OutOfRange, "{whole_message}");
    assert!(whole_message.message().contains("65536"), "{whole_message}");

    let keys = (0..4).map(|i| key(&format!("k{i}"))).collect();
    let op = Some(BatchGetOp {
        keys,
        ..BatchGetOp::default()
    });
    let request = BatchGetRequest {
        context: Some(context("w")),
        op,
    };
    assert_refused(
        &client.batch_get(request).await.expect_err("too many"),
        Reason::TooManyOps,
        "limits.batch_ops",
    );

    let then = (0..4).map(|i| get(&format!("k{i}"))).collect();
    let op = Some(TxnOp {
        then,
        ..Default::default()
    });
    let request = TxnRequest {
        context: Some(context("w")),
        op,
    };
    assert_refused(
        &client.txn(request).await.expect_err("too many"),
        Reason::TooManyOps,
        "limits.batch_ops",
    );

    let Some(op::Kind::Patch(mut patch)) = add("k", 1).kind else {
        panic!("an addition is a patch");
    };
    patch.steps = vec![patch.steps[0].clone(); 4];
    let request = PatchRequest {
        context: Some(context("w")),
        op: Some(patch),
    };
    assert_refused(
        &client.patch(request).await.expect_err("too many"),
        Reason::TooManyOps,
        "limits.batch_ops",
    );
}

#[tokio::test]
async fn a_scan_goes_page_by_page_and_keeps_its_own_limit() {
    let server = start(&["--max-scan-page=3"]);
    let frame = items((0..8).map(|i| put(&format!("k{i}"), "x")), 0);
    answers(pipeline(&server, "w", frame).await.expect("opened")).await;
    let mut pages = Vec::new();
    let scan = ScanOp {
        collection: "test".into(),
        limit: 7,
        reverse: true,
        ..Default::default()
    };
    let request = ScanRequest {
        context: Some(context("w")),
        op: Some(scan),
    };
    let mut stream = state(&server)
        .await
        .scan(request)
        .await
        .expect("begun")
        .into_inner();
    while let Some(page) = stream.message().await.expect("goes on") {
        let entries = page.result.expect("a page").entries;
        pages.push(
            entries
                .iter()
                .map(|e| String::from_utf8_lossy(&e.key).into_owned())
                .collect::<Vec<_>>()
                .join(" "),
        );
    }
    assert_eq!(pages, ["k7 k6 k5", "k4 k3 k2", "k1"]);
}

#[tokio::test]
async fn operations_of_one_lane_see_what_came_before_them() {
    let server = start(&[]);
    let ops = (0..50).flat_map(|i| [put("k", &i.to_string()), get("k")]);
    let results = answers(pipeline(&server, "w", items(ops, 9)).await.expect("opened")).await;
    let ids: Vec<_> = results.iter().map(|(id, _)| *id).collect();
    assert_eq!(
        ids,
        (1..=100).collect::<Vec<_>>(),
        "answered in the order sent"
    );
    for (read, (_, result)) in results.iter().filter(|(id, _)| id % 2 == 0).enumerate() {
        let Some(op_result::Kind::Get(found)) = &result.kind else {
            panic!("expected a record, got {result:?}");
        };
        let record = found.record.as_ref().expect("it was put before");
        assert_eq!(record.version, read as u64 + 1);
    }
}

#[tokio::test]
async fn knowledge_from_another_incarnation_is_refused() {
    let server = start(&[]);
    let context = RequestContext {
        expected_incarnation: 7,
        ..context("w")
    };
    let op = match get("k").kind {
        Some(op::Kind::Get(get)) => Some(get),
        _ => None,
    };
    let request = GetRequest {
        context: Some(context),
        op,
    };
    let refused = state(&server)
        .await
        .get(request)
        .await
        .expect_err("another incarnation");
    assert_refused(&refused, Reason::WrongIncarnation, "incarnation 1");
}

#[tokio::test]
async fn a_pipeline_must_be_opened_first() {
    let server = start(&[]);
    let frame = stillpoint_client::v1::PipelineRequest {
        open: None,
        items: items([get("k")], 0),
    };
    let mut client = state(&server).await;
    let mut stream = client
        .pipeline(tokio_stream::once(frame))
        .await
        .expect("begun")
        .into_inner();
    let refused = stream.message().await.expect_err("not opened");
    assert_refused(&refused, Reason::Invalid, "open");
}

#[tokio::test]
async fn both_ports_tell_their_health_and_their_services() {
    use tonic_health::pb::{
        HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
    };
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let server = start(&[]);
    for (socket, service) in [
        ("stillpoint.sock", "stillpoint.v1.StateService"),
        ("admin.sock", "stillpoint.v1.AdminService"),
    ] {
        let channel = channel(&server, socket).await;
        let request = HealthCheckRequest {
            service: service.into(),
        };
        let health = HealthClient::new(channel.clone())
            .check(request)
            .await
            .expect("healthy");
        assert_eq!(
            health.into_inner().status(),
            ServingStatus::Serving,
            "{service}"
        );

        let request = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::FileContainingSymbol(service.into())),
        };
        let mut reflection = ServerReflectionClient::new(channel);
        let answered = reflection
            .server_reflection_info(tokio_stream::once(request))
            .await
            .expect("reflects");
        let message = answered
            .into_inner()
            .message()
            .await
            .expect("answers")
            .expect("one message");
        let found = message.message_response;
        assert!(
            matches!(found, Some(MessageResponse::FileDescriptorResponse(_))),
            "{service}: {found:?}"
        );
    }
}

#[test]
fn the_operators_socket_is_for_its_owner_only() {
    let server = start(&[]);
    let socket = server.directory().join("admin.sock");
    let mode = socket.metadata().expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
