//! Records whose time is limited, or up.

use bytes::Bytes;
use stillpoint_proto::v1::RestoreRecordsRequest;
use stillpoint_store_server::store::server_time_ms;

use crate::operator::{World, all, delete, label, put, put_for, texts};

#[tokio::test(flavor = "multi_thread")]
async fn a_record_expires_when_it_would_have_and_one_whose_time_is_up_is_not_brought_back() {
    let mut world = World::new().await;
    world.does(put_for("long", "1", 3_600_000)).await;
    world.does(put_for("short", "1", 1000)).await;
    let then = world.records("doc").await;
    world.back_up(false).await;
    world.mark("then").await;
    world.back_up(true).await;
    world.does(put("short", "2")).await;
    world.does(delete("long")).await;
    let up = then[&Bytes::from_static(b"short")].expires_at_ms;
    while server_time_ms() <= up {
        tokio::task::yield_now().await;
    }
    for target in [String::new(), world.target()] {
        let rehearsal = RestoreRecordsRequest {
            dry_run: true,
            target,
            ..all(label("then"))
        };
        let would = world.restore(rehearsal).await.unwrap();
        assert_eq!((would.end.changed, would.end.expired), (2, 1));
        let expired: Vec<_> = would.changes.iter().map(|c| c.has_expired).collect();
        assert_eq!(expired, [false, true]);
        assert!(would.changes[1].then.is_none());
    }
    world.restore(all(label("then"))).await.unwrap();
    let records = world.records("doc").await;
    assert_eq!(texts(&records), [("long".to_owned(), "1".to_owned())]);
    let long = Bytes::from_static(b"long");
    assert_eq!(records[&long].expires_at_ms, then[&long].expires_at_ms);
}
