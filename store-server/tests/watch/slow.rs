//! One that falls behind: from the commits in memory to the log to the state itself.

use std::{thread, time::Instant};

use stillpoint_proto::v1::{WatchRequest, watch_request::Start};
use stillpoint_store_server::config::{Config, EngineKind};

use crate::common::{ENGINES, Server, all, put_large};

/// Bytes of the larger records here; 16 MiB of commits are kept in memory.
const LARGE: u32 = 1_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_falls_out_of_memory_reads_the_log() {
    for engine in ENGINES {
        let server = Server::with(engine, |config| config.log.segment_bytes = 5_000_000);
        let mut listener = server.listen(all()).await;
        for n in 0..40 {
            server.execute(put_large(&format!("{}", n % 7), n, LARGE));
        }
        listener.until(40).await;
        assert_eq!(listener.revisions(), (1..=40).collect::<Vec<_>>());
        // And comes back to what is in memory.
        server.put("a", 1);
        listener.until(41).await;
        assert!(listener.resyncs.is_empty());
        assert_eq!(listener.state, server.state(&["c"]));
    }
}

/// Keeps as little of the log as there may be.
fn forgetful(config: &mut Config) {
    config.log.segment_bytes = 1 << 20;
    config.log.retention_bytes = 4 << 20;
    config.log.checkpoint_bytes = 2 << 20;
    config.log.dedup_window_secs = 0;
}

/// Writes until the log begins behind this commit.
fn write_until_removed(server: &Server, seq: u64) {
    let since = Instant::now();
    while server.store.status().log.first_seq <= seq {
        assert!(since.elapsed().as_secs() < 60, "the log is never trimmed");
        for n in 0..4 {
            server.execute(put_large(&format!("{n}"), n, LARGE));
        }
        thread::yield_now();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_whose_place_was_removed_gets_the_state_and_goes_on() {
    let server = Server::with(EngineKind::Memory, forgetful);
    server.put("first", 1);
    let mut listener = server.listen(all()).await;
    server.put("second", 1);
    write_until_removed(&server, 2);
    let end = server.revision();
    listener.until(end).await;
    assert_eq!(listener.resyncs.len(), 1, "{:?}", listener.resyncs);
    assert_eq!(listener.state, server.state(&["c"]));
    server.put("last", 1);
    listener.until(end + 1).await;
    assert_eq!(listener.revisions().last(), Some(&(end + 1)));
    assert_eq!(listener.state, server.state(&["c"]));

    let mut from_old = server
        .listen(WatchRequest {
            start: Some(Start::AfterRevision(1)),
            ..all()
        })
        .await;
    from_old.until(end + 1).await;
    assert_eq!(from_old.resyncs.len(), 1);
    assert_eq!(from_old.state, server.state(&["c"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_watch_holds_the_log_up_to_twice_its_size() {
    let server = Server::with(EngineKind::Memory, forgetful);
    let listener = server.listen(all()).await;
    let since = Instant::now();
    // More than is kept without a watch, less than is kept with one.
    for n in 0..6 {
        server.execute(put_large(&format!("{n}"), n, LARGE));
    }
    while server.store.status().log.checkpoint_seq < 6 {
        assert!(since.elapsed().as_secs() < 60, "there is no checkpoint");
        server.execute(put_large("same", 1, 10));
        thread::yield_now();
    }
    let bytes = server.store.status().log.bytes;
    assert!(bytes > server.config.log.retention_bytes, "{bytes} bytes");
    assert_eq!(server.store.status().log.first_seq, 1);
    drop(listener);
    while server.store.status().log.first_seq == 1 {
        assert!(since.elapsed().as_secs() < 60, "it is held for nobody");
        thread::yield_now();
    }
}
