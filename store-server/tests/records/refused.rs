//! What is not done, and why.

use stillpoint_proto::v1::{
    HistoryOp, Reason, RestorePoint, RestoreRecordsRequest, op::Kind, op_result,
    restore_point::Point,
};
use stillpoint_store_server::store::{repair, server_time_ms};

use crate::{
    operator::{World, all, label, name_of, one, put, revision},
    peer::op,
};

fn point(point: Point) -> Option<RestorePoint> {
    Some(RestorePoint { point: Some(point) })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_that_is_meant_has_to_be_named_and_the_moment_too() {
    let mut world = World::new().await;
    world.does(put("42", "1")).await;
    world.mark("then").await;
    world.does(put("42", "2")).await;
    for confirm in ["", "12345", "00000000"] {
        let request = RestoreRecordsRequest {
            confirm: confirm.into(),
            ..one("42", label("then"))
        };
        let error = world.restore_unconfirmed(request).await.unwrap_err();
        assert_eq!(error.reason(), Reason::Invalid);
        assert!(error.message.contains(&world.store_id), "{error}");
    }
    let later = server_time_ms() + 60_000;
    for (point, reason, words) in [
        (None, Reason::Invalid, "name a moment"),
        (
            label("never"),
            Reason::NotFound,
            "no moment is labelled never",
        ),
        (revision(9999), Reason::NotFound, "there is no 9999"),
        (
            point(Point::Seq(9999)),
            Reason::NotFound,
            "there is no 9999",
        ),
        (
            point(Point::TimeMs(later)),
            Reason::Invalid,
            "still to come",
        ),
    ] {
        let error = world.restore(one("42", point)).await.unwrap_err();
        assert_eq!(error.reason(), reason);
        assert!(error.message.contains(words), "{error}");
    }
    assert_eq!(world.records("doc").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_log_does_not_have_any_more_is_refused_with_the_remedy_and_a_backup_has_it() {
    let mut world = World::with(|config| {
        config.log.retention_bytes = 128 << 10;
        config.log.checkpoint_bytes = 64 << 10;
        config.log.dedup_window_secs = 0;
    })
    .await;
    world.does(put("42", "1")).await;
    world.does(put("quiet", "1")).await;
    world.back_up(false).await;
    world.mark("then").await;
    world.back_up(true).await;
    let first_seq = world.first_seq().await;
    for n in 2.. {
        world.does(put("42", &format!("\"{n:04096}\""))).await;
        if world.first_seq().await > first_seq + 2 {
            break;
        }
    }
    world.mark("since").await;
    world.does(put("42", "-1")).await;
    world.does(put("quiet", "-1")).await;
    world.does(put("new", "-1")).await;

    let error = world.restore(all(label("then"))).await.unwrap_err();
    assert_eq!(error.reason(), Reason::Compacted);
    assert!(error.message.contains("--from URL"), "{error}");
    // The log has the moment, but not what `quiet` was then.
    let error = world
        .restore(one("quiet", label("since")))
        .await
        .unwrap_err();
    assert_eq!(error.reason(), Reason::Compacted);
    assert!(error.message.contains("what doc/quiet was"), "{error}");
    // It has what the others were: one was written shortly before, the other was made since.
    let restored = world.restore(one("42", label("since"))).await.unwrap();
    assert_eq!(restored.end.changed, 1);
    let restored = world.restore(one("new", label("since"))).await.unwrap();
    assert!(restored.changes[0].then.is_none());

    let from_backup = RestoreRecordsRequest {
        target: world.target(),
        ..all(label("then"))
    };
    let restored = world.restore(from_backup).await.unwrap();
    assert_eq!(restored.end.changed, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_of_another_store_are_not_brought_into_this_one() {
    let mut other = World::new().await;
    other.does(put("42", "1")).await;
    other.back_up(false).await;
    let mut world = World::new().await;
    world.does(put("42", "2")).await;
    let request = RestoreRecordsRequest {
        target: other.target(),
        ..one("42", None)
    };
    let error = world.restore(request).await.unwrap_err();
    assert_eq!(error.reason(), Reason::Invalid);
    assert!(error.message.contains(&other.store_id), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_has_no_commit_yet_is_not_taken_for_one_that_has_everything() {
    let mut world = World::with(|config| {
        config.log.retention_bytes = 128 << 10;
        config.log.checkpoint_bytes = 64 << 10;
        config.log.dedup_window_secs = 0;
    })
    .await;
    for n in 0.. {
        world.does(put("42", &format!("\"{n:04096}\""))).await;
        if world.first_seq().await > 1 {
            break;
        }
    }
    // The state stays, and the log begins behind it.
    let moved = world.server.restart_with(|config| {
        for segment in std::fs::read_dir(config.data_dir.join("log")).unwrap() {
            std::fs::remove_file(segment.unwrap().path()).unwrap();
        }
        let report = repair::repair(config, repair::RepairOptions::default()).unwrap();
        assert!(report.saved_seq > 1, "{report:?}");
    });
    moved.await;
    world.restart().await;
    let an_hour_ago = point(Point::TimeMs(server_time_ms() - 3_600_000));
    let error = world.restore(one("42", an_hour_ago)).await.unwrap_err();
    assert_eq!(error.reason(), Reason::Compacted);
    let history = op(Kind::History(HistoryOp {
        key: Some(name_of("doc", "42")),
        ..HistoryOp::default()
    }));
    let op_result::Kind::History(history) = world.does(history).await else {
        panic!("not the answer to a history");
    };
    assert!(history.changes.is_empty() && history.log_first_seq > 1);
    assert!(history.log_first_ms > 0);
}
