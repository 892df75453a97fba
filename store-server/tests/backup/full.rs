//! Full backups of small and of large stores.

use stillpoint_store_server::backup::{CreateOptions, Kind, Phase, Progress, To, create};

use crate::{
    common::{Content, put},
    world::{World, content_of},
};

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_store_can_be_backed_up_and_comes_back_empty() {
    let world = World::new();
    let manifest = world.full().await;
    assert_eq!((manifest.kind, manifest.last_seq), (Kind::Full, 0));
    let report = world.restore(To::Latest, "restored").await.unwrap();
    assert_eq!(content_of(&report), Content::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_store_is_copied_in_portions_and_no_faster_than_it_may_be() {
    let world = World::new();
    // Hard to compress, so that the size of what is stored means something.
    let mut noise = 1_u64;
    for n in 0..30 {
        let mut text = String::new();
        while text.len() < 700_000 {
            noise = noise
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            text += &format!("{noise:016x}");
        }
        world.execute(put(&format!("book{n}"), &format!("{text:?}")));
    }
    let told = std::sync::Mutex::new(Vec::<Progress>::new());
    let options = CreateOptions {
        bytes_per_second: 40 << 20,
        label: "large".into(),
        ..CreateOptions::default()
    };
    let begun = std::time::Instant::now();
    let manifest = create(&world.store, &world.target, &options, &|p| {
        told.lock().unwrap().push(p)
    })
    .await
    .unwrap();
    let least = manifest.raw_bytes() as f64 / f64::from(40 << 20);
    assert!(begun.elapsed().as_secs_f64() >= least * 0.9);
    let told = told.into_inner().unwrap();
    assert_eq!(told.len(), manifest.files.len());
    assert!(told.iter().filter(|p| p.phase == Phase::Records).count() >= 2);
    let last = told.last().unwrap();
    assert_eq!(last.stored_bytes, manifest.stored_bytes());
    assert_eq!(last.bytes, manifest.raw_bytes());
    assert_eq!(last.records_total, 30);
    let report = world
        .restore(To::Label("large".into()), "restored")
        .await
        .unwrap();
    assert_eq!(content_of(&report), Content::of(&world.store));
}
