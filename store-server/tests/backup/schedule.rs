//! What the server does by itself, by a clock that the tests set: nobody waits.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use stillpoint_proto::v1::{BackupJob, BackupStatus};
use stillpoint_store_server::{
    backup::{Kind, list},
    config::{BackupConfig, Config},
    service::backup::{Backups, Replacement, schedule},
};
use tokio::sync::{mpsc, watch};

use crate::{common::put, world::World};

/// 2026-11-23T14:00:00Z, a Monday.
const BEGIN_MS: u64 = 1_795_442_400_000;

const MINUTE_MS: u64 = 60_000;

const HOUR_MS: u64 = 60 * MINUTE_MS;

/// A store with the jobs of its server.
struct Server {
    world: World,
    backups: Arc<Backups>,
    now: Arc<AtomicU64>,
    stopping: watch::Sender<bool>,
    /// Nobody restores.
    _replaced: mpsc::Receiver<Replacement>,
}

impl Server {
    fn start() -> Server {
        Server::with(|_| {})
    }

    /// A full backup each night, an incremental one each hour, a verification half an hour later.
    fn with(change: impl FnOnce(&mut Config)) -> Server {
        let world = World::with(|config| {
            let target = config.data_dir.with_file_name("backups");
            config.backup = BackupConfig {
                target: target.to_str().unwrap().into(),
                full: "0 3 * * *".into(),
                incremental: "0 * * * *".into(),
                verify: "30 * * * *".into(),
                ..BackupConfig::default()
            };
            change(config);
        });
        world.execute(put("gold", "100"));
        let (stopping, backups, _replaced) = backups(&world);
        let now = Arc::new(AtomicU64::new(BEGIN_MS));
        Server {
            world,
            backups,
            now,
            stopping,
            _replaced,
        }
    }

    /// Ends it, and begins anew with what is kept.
    fn restart(&mut self) {
        (self.stopping, self.backups, self._replaced) = backups(&self.world);
    }

    /// Does what is due so long after the beginning.
    async fn at(&self, ms: u64) -> BackupStatus {
        self.now.store(BEGIN_MS + ms, Ordering::Relaxed);
        let now = self.now.clone();
        schedule::tick(&self.backups, &move || now.load(Ordering::Relaxed)).await;
        schedule::status_at(&self.backups, BEGIN_MS + ms)
    }

    /// The kinds of the backups, oldest first.
    async fn kinds(&self) -> Vec<Kind> {
        let listing = list(&self.world.target).await.unwrap();
        listing.backups.iter().map(|backup| backup.kind).collect()
    }

    /// The files of backups with this in their path.
    fn files(&self, part: &str) -> Vec<PathBuf> {
        let files = self.world.files().into_iter();
        let found = files.filter(|file| file.contains(part));
        found
            .map(|file| self.world.path("backups").join(file))
            .collect()
    }
}

fn backups(
    world: &World,
) -> (
    watch::Sender<bool>,
    Arc<Backups>,
    mpsc::Receiver<Replacement>,
) {
    let (stopping, stop) = watch::channel(false);
    let (replace, replaced) = mpsc::channel(1);
    let backups = Backups::new(world.store.clone(), stop, replace);
    (stopping, backups, replaced)
}

fn alarms(status: &BackupStatus) -> Vec<&str> {
    status.alarms.iter().map(|alarm| &*alarm.name).collect()
}

/// What an alarm says.
fn words<'a>(status: &'a BackupStatus, name: &str) -> &'a str {
    let alarm = status.alarms.iter().find(|alarm| alarm.name == name);
    &alarm.expect(name).message
}

fn error_of(status: &BackupStatus, job: BackupJob) -> &str {
    let job = status.jobs.iter().find(|found| found.job() == job);
    &job.unwrap().last_error
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_done_when_its_time_has_come_and_once_for_all_that_were_missed() {
    use Kind::{Full, Incremental};
    let mut server = Server::start();
    for ms in [0, 59 * MINUTE_MS] {
        let status = server.at(ms).await;
        assert_eq!((status.last_backup, status.alarms), (None, vec![]));
    }
    // There is nothing to continue yet.
    let status = server.at(HOUR_MS).await;
    assert_eq!(server.kinds().await, [Full]);
    assert_eq!(alarms(&status), [""; 0]);
    let taken = status.last_backup.unwrap();
    assert_eq!(taken.time_ms, BEGIN_MS + HOUR_MS);

    let status = server.at(HOUR_MS + 31 * MINUTE_MS).await;
    assert_eq!(status.last_verified.unwrap().id, taken.id);
    let left = fs::read_dir(server.world.path("")).unwrap().count();
    assert_eq!(left, 2, "the store and its backups; the trial has gone");

    server.world.execute(put("gold", "101"));
    server.at(2 * HOUR_MS).await;
    assert_eq!(server.kinds().await, [Full, Incremental]);

    server.restart();
    let status = server.at(8 * HOUR_MS + 10 * MINUTE_MS).await;
    assert_eq!(server.kinds().await, [Full, Incremental, Incremental]);
    let next: Vec<_> = status.jobs.iter().map(|job| job.next_ms).collect();
    let [night, hour, half] = [13, 9, 8].map(|hours| BEGIN_MS + hours * HOUR_MS);
    assert_eq!(next, [night, hour, half + 30 * MINUTE_MS]);
    assert_eq!(alarms(&status), [""; 0]);

    // A full one has all that an incremental one would have.
    server.at(13 * HOUR_MS).await;
    assert_eq!(server.kinds().await, [Full, Incremental, Incremental, Full]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_back_does_not_put_off_what_is_to_be_done() {
    let server = Server::start();
    server.at(100 * 24 * HOUR_MS).await;
    assert_eq!(server.kinds().await.len(), 0, "its time counts from then");
    server.at(0).await;
    server.at(HOUR_MS).await;
    assert_eq!(server.kinds().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_backup_for_two_periods_there_is_an_alarm() {
    let server = Server::start();
    fs::write(server.world.path("backups"), "no directory").unwrap();
    server.at(0).await;
    let status = server.at(HOUR_MS).await;
    assert_eq!(alarms(&status), ["backup_target_unreachable"]);
    let said = words(&status, "backup_target_unreachable");
    assert!(said.contains("/backups"), "{said}");
    let status = server.at(2 * HOUR_MS).await;
    assert_eq!(
        alarms(&status),
        ["backup_overdue", "backup_target_unreachable"]
    );
    assert_eq!(status.alarms[0].since_ms, BEGIN_MS + 2 * HOUR_MS);
    assert_eq!(status.alarms[1].since_ms, BEGIN_MS + HOUR_MS);
    let said = words(&status, "backup_overdue");
    assert!(said.contains("there is no backup in"), "{said}");

    fs::remove_file(server.world.path("backups")).unwrap();
    let status = server.at(3 * HOUR_MS).await;
    assert_eq!(alarms(&status), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_gone_is_not_begun_anew() {
    let server = Server::start();
    server.at(0).await;
    server.at(HOUR_MS).await;
    let (target, away) = (server.world.path("backups"), server.world.path("away"));
    fs::rename(&target, &away).unwrap();
    let status = server.at(2 * HOUR_MS).await;
    assert_eq!(alarms(&status), ["backup_target_unreachable"]);
    let said = words(&status, "backup_target_unreachable");
    assert!(said.contains("is not mounted"), "{said}");
    assert!(!target.exists());
    fs::rename(&away, &target).unwrap();
    let status = server.at(3 * HOUR_MS).await;
    assert_eq!(alarms(&status), [""; 0]);
    assert_eq!(server.kinds().await, [Kind::Full, Kind::Incremental]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_an_alarm_until_a_verification_succeeds() {
    let mut server = Server::start();
    server.at(0).await;
    server.at(HOUR_MS).await;
    let file = server.files("data/").pop().unwrap();
    let sound = fs::read(&file).unwrap();
    let mut damaged = sound.clone();
    damaged[sound.len() / 2] ^= 1;
    fs::write(&file, damaged).unwrap();
    let status = server.at(HOUR_MS + 30 * MINUTE_MS).await;
    assert_eq!(alarms(&status), ["backup_verify_failed"]);
    let said = words(&status, "backup_verify_failed");
    assert!(said.contains(file.to_str().unwrap()), "{said}");
    assert!(error_of(&status, BackupJob::Verify).contains("is damaged"));

    server.restart();
    let status = server.at(2 * HOUR_MS).await;
    assert_eq!(alarms(&status), ["backup_verify_failed"], "it is kept");
    fs::write(&file, sound).unwrap();
    let status = server.at(2 * HOUR_MS + 30 * MINUTE_MS).await;
    assert_eq!(alarms(&status), [""; 0]);
    assert_eq!(error_of(&status, BackupJob::Verify), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_or_file_that_is_missing_makes_the_next_backup_a_full_one() {
    for part in ["manifest/", "data/"] {
        let server = Server::start();
        server.at(0).await;
        server.at(HOUR_MS).await;
        server.world.execute(put("gold", "101"));
        server.at(2 * HOUR_MS).await;
        assert_eq!(server.kinds().await, [Kind::Full, Kind::Incremental]);
        let lost = server.files(part).remove(0);
        fs::remove_file(&lost).unwrap();
        let status = server.at(3 * HOUR_MS).await;
        assert_eq!(alarms(&status), ["backup_chain_gap"], "{part}");
        let said = words(&status, "backup_chain_gap");
        assert!(
            said.contains(lost.to_str().unwrap()) && said.contains("A full backup was taken"),
            "{said}"
        );
        assert_eq!(server.kinds().await.last(), Some(&Kind::Full));
        let status = server.at(4 * HOUR_MS).await;
        assert_eq!(alarms(&status), [""; 0], "{part}");
        assert_eq!(server.kinds().await.last(), Some(&Kind::Incremental));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_log_is_gone_a_full_backup_is_taken_and_the_gap_is_told() {
    let server = Server::with(|config| {
        config.log.checkpoint_bytes = 1;
        config.log.segment_bytes = 1 << 10;
        config.log.retention_bytes = 0;
        config.log.retention_secs = 0;
        config.log.dedup_window_secs = 0;
    });
    server.at(0).await;
    let status = server.at(HOUR_MS).await;
    let first = status.last_backup.unwrap();
    let begun = Instant::now();
    while server.world.store.status().log.first_seq <= first.last_seq + 1 {
        assert!(begun.elapsed() < PATIENCE, "the log is not removed");
        server.world.execute(put("gold", &"1".repeat(15)));
    }
    let status = server.at(2 * HOUR_MS).await;
    assert_eq!(alarms(&status), ["backup_chain_gap"]);
    let said = words(&status, "backup_chain_gap");
    assert!(
        said.contains(&first.id) && said.contains("log.retention_secs"),
        "{said}"
    );
    assert_eq!(server.kinds().await, [Kind::Full, Kind::Full]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_waits_for_the_one_that_is_under_way_and_is_done_then() {
    let server = Server::start();
    server.at(0).await;
    let turn = (server.backups)
        .enter("a restore", "", "ann")
        .unwrap_or_else(|error| panic!("{error}"));
    // Two of its times come meanwhile.
    let waiting = async {
        server.at(HOUR_MS).await;
    };
    tokio::pin!(waiting);
    let cut = tokio::time::timeout(Duration::from_millis(50), &mut waiting).await;
    assert!(cut.is_err(), "it waits");
    assert_eq!(server.kinds().await.len(), 0);
    server.now.store(BEGIN_MS + 2 * HOUR_MS, Ordering::Relaxed);
    let under_way = schedule::status_at(&server.backups, BEGIN_MS).under_way;
    assert!(under_way.contains("asked for by ann"), "{under_way}");
    drop(turn);
    waiting.await;
    assert_eq!(server.kinds().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_record_of_what_was_done_is_begun_anew() {
    let mut server = Server::start();
    server.at(0).await;
    server.at(HOUR_MS).await;
    let file = server.world.path("store/backup-status.json");
    assert!(fs::read_to_string(&file).unwrap().contains("last_backup"));
    fs::write(&file, "{").unwrap();
    server.restart();
    let status = server.at(HOUR_MS + MINUTE_MS).await;
    assert_eq!(status.last_backup, None);
    server.at(2 * HOUR_MS).await;
    assert_eq!(server.kinds().await, [Kind::Full, Kind::Incremental]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_room_for_a_trial_the_verification_fails_and_says_so() {
    let server = Server::with(|config| config.backup.scratch = Some("/proc/stillpoint".into()));
    server.at(0).await;
    server.at(HOUR_MS).await;
    let status = server.at(HOUR_MS + 30 * MINUTE_MS).await;
    assert_eq!(alarms(&status), ["backup_verify_failed"]);
    let said = words(&status, "backup_verify_failed");
    assert!(said.contains("/proc/stillpoint"), "{said}");
}

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);
