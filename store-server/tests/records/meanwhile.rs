//! Records that are written while they are restored.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::{
    operator::{World, all, label, put, texts},
    peer::{context, refused},
};
use stillpoint_proto::v1::Reason;

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_of_records_that_are_always_written_says_so_and_others_are_brought_back() {
    let mut world = World::with(|config| config.limits.batch_ops = 16).await;
    for n in 0..64 {
        world.does(put(&format!("{n:02}"), "1")).await;
    }
    world.mark("then").await;
    for n in 0..64 {
        world.does(put(&format!("{n:02}"), "2")).await;
    }
    // It stands in the last commit.
    let stop = Arc::new(AtomicBool::new(false));
    let mut program = world.peer.pipe(context("", 0)).await;
    let told = stop.clone();
    let writing = tokio::spawn(async move {
        for n in 0.. {
            if told.load(Ordering::Relaxed) {
                return n;
            }
            program.call(put("63", &n.to_string())).await.unwrap();
        }
        0
    });
    let restored = world.restore(all(label("then"))).await;
    stop.store(true, Ordering::Relaxed);
    assert!(writing.await.unwrap() > 0);
    let first: Vec<_> = texts(&world.records("doc").await)
        .into_iter()
        .take(48)
        .collect();
    assert!(first.iter().all(|(_, text)| text == "1"), "{first:?}");
    match restored {
        // It found the moment between two writes.
        Ok(restored) => assert_eq!(restored.end.commits, 4),
        Err(_) => {
            let error = refused(restored, Reason::VersionConflict);
            assert!(
                error.message.contains("stop those who write them"),
                "{error}"
            );
            assert!(
                error
                    .message
                    .contains("48 records were brought back before"),
                "{error}"
            );
        }
    }
}
