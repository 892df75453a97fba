//! A log that was cut or damaged, at every byte. What may have been a torn write is cut off; what had been acknowledged and
//! cannot be read makes the store refuse, naming file, offset and the command that repairs it. Nothing panics, and a store
//! that opens has a prefix of whole commits.

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use stillpoint_store_server::{
    config::{Config, EngineKind},
    log::{
        frame::SEAL_BYTES,
        segment::{SEGMENT_HEADER_BYTES, SegmentFile},
    },
    store::{OpenError, Store, repair},
};
use tempfile::TempDir;

use crate::common::{Content, NAMESPACE, add, config, copy_dir, delete, put, segments, txn};

/// A store as a crash or a clean stop leaves it, and what it had after each commit.
struct Image {
    dir: TempDir,
    engine: EngineKind,
    history: Vec<Content>,
}

impl Image {
    /// As the death of the process leaves it: the last segment is not sealed.
    fn crashed(engine: EngineKind) -> Image {
        let (image, store) = Image::filled(engine);
        let dir = tempfile::tempdir().unwrap();
        copy_dir(image.dir.path(), dir.path());
        store.close();
        Image { dir, ..image }
    }

    /// As a clean stop leaves it.
    fn stopped(engine: EngineKind) -> Image {
        let (image, store) = Image::filled(engine);
        store.close();
        image
    }

    fn filled(engine: EngineKind) -> (Image, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(config(dir.path(), engine)).unwrap();
        let mut history = vec![Content::of(&store)];
        for n in 0..COMMITS {
            let name = format!("k{}", n % 5);
            let op = match n % 4 {
                0 => put(&name, &format!(r#"{{"n": {n}, "text": "some more text"}}"#)),
                1 => add("count", n),
                2 => txn(vec![add("from", -1), add("to", 1)]),
                _ => txn(vec![
                    delete(&format!("k{}", (n + 1) % 5)),
                    put(&name, r#"{"n": 1}"#),
                ]),
            };
            store.execute(NAMESPACE, op).unwrap();
            history.push(Content::of(&store));
        }
        let image = Image {
            dir,
            engine,
            history,
        };
        (image, store)
    }

    fn segments(&self) -> Vec<PathBuf> {
        segments(self.dir.path())
    }

    /// Its last segment.
    fn last(&self) -> PathBuf {
        self.segments().pop().unwrap()
    }

    /// A copy of it, in which one file was changed.
    fn with(&self, file: &Path, change: impl FnOnce(&mut Vec<u8>)) -> TempDir {
        let copy = tempfile::tempdir().unwrap();
        copy_dir(self.dir.path(), copy.path());
        let file = copy
            .path()
            .join(file.strip_prefix(self.dir.path()).unwrap());
        let mut bytes = fs::read(&file).unwrap();
        change(&mut bytes);
        fs::write(&file, bytes).unwrap();
        copy
    }

    fn open(&self, dir: &Path) -> Result<Content, OpenError> {
        open(config(dir, self.engine))
    }

    /// The copy must open with exactly this many commits, and take new ones.
    fn assert_opens(&self, dir: &Path, commits: u64, what: &str) {
        let content = self.open(dir).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(content, self.history[commits as usize], "{what}");
        let store = Store::open(config(dir, self.engine)).unwrap();
        store.execute(NAMESPACE, put("new", "1")).unwrap();
        store.close();
    }

    /// The copy must be refused, and the message must name the file and the offset.
    fn assert_refused(&self, dir: &Path, file: &Path, offset: usize, what: &str) {
        let Err(error) = self.open(dir) else {
            panic!("{what}: it opened")
        };
        let OpenError::Damaged { damage, .. } = &error else {
            panic!("{what}: {error}")
        };
        assert_eq!(damage.path.file_name(), file.file_name(), "{what}: {error}");
        assert_eq!(damage.offset, offset as u64, "{what}: {error}");
        assert_names_repair(&error, dir, what);
    }
}

const COMMITS: i64 = 22;

fn open(config: Config) -> Result<Content, OpenError> {
    let store = Store::open(config)?;
    let content = Content::of(&store);
    store.close();
    Ok(content)
}

fn assert_names_repair(error: &OpenError, dir: &Path, what: &str) {
    let command = format!("stillpoint repair --data-dir {}", dir.display());
    assert!(error.to_string().contains(&command), "{what}: {error}");
}

/// Where the frames of a segment are, and the sequence number of the first commit of each.
fn frames(file: &Path) -> Vec<(Range<usize>, u64)> {
    let file = SegmentFile::read(file).unwrap();
    let frames = file.frames();
    frames
        .map(|(at, frame)| (at..at + frame.len_bytes(), frame.first_seq))
        .collect()
}

fn flip(at: usize) -> impl FnOnce(&mut Vec<u8>) {
    // Another bit in each byte.
    move |bytes| bytes[at] ^= 1 << (at % 8)
}

#[test]
fn a_log_cut_at_any_byte_of_its_last_segment_opens_with_the_commits_before() {
    let image = Image::crashed(EngineKind::Memory);
    let last = image.last();
    let frames = frames(&last);
    assert!(frames.len() > 2, "the last segment has several frames");
    for at in SEGMENT_HEADER_BYTES..fs::metadata(&last).unwrap().len() as usize {
        let cut = image.with(&last, |bytes| bytes.truncate(at));
        let first_cut = frames.iter().find(|(range, _)| range.end > at).unwrap();
        let what = format!("cut at {at}");
        image.assert_opens(cut.path(), first_cut.1 - 1, &what);
    }
}

#[test]
fn bytes_cut_off_are_kept_beside_the_log() {
    let image = Image::crashed(EngineKind::Memory);
    let last = image.last();
    let (range, _) = frames(&last).pop().unwrap();
    let torn = image.with(&last, |bytes| bytes.truncate(range.end - 1));
    let written = fs::read(&last).unwrap()[range.start..range.end - 1].to_owned();
    image.open(torn.path()).unwrap();
    let name = last.with_extension("torn");
    let kept = fs::read(torn.path().join("log").join(name.file_name().unwrap())).unwrap();
    assert_eq!(kept, written);
}

#[test]
fn a_bit_flipped_in_an_open_segment_is_refused_unless_it_may_be_a_torn_write() {
    let image = Image::crashed(EngineKind::Memory);
    let last = image.last();
    let frames = frames(&last);
    let (torn, acknowledged) = frames.split_last().unwrap();
    for at in 0..SEGMENT_HEADER_BYTES {
        let flipped = image.with(&last, flip(at));
        image.assert_refused(
            flipped.path(),
            &last,
            0,
            &format!("bit flipped in byte {at}"),
        );
    }
    for (range, _) in acknowledged {
        for at in range.clone() {
            let flipped = image.with(&last, flip(at));
            let what = format!("bit flipped in byte {at}");
            image.assert_refused(flipped.path(), &last, range.start, &what);
        }
    }
    // Nothing behind the last frame says that it had been on disk.
    for at in torn.0.clone() {
        let flipped = image.with(&last, flip(at));
        image.assert_opens(
            flipped.path(),
            torn.1 - 1,
            &format!("bit flipped in byte {at}"),
        );
    }
}

#[test]
fn a_lost_end_of_the_log_is_refused_where_the_view_has_what_was_in_it() {
    let image = Image::stopped(EngineKind::Sled);
    let last = image.last();
    let bytes = fs::read(&last).unwrap();
    let (range, _) = frames(&last).into_iter().rev().nth(1).unwrap();
    // Without its seal the segment looks as if the server had been killed.
    for at in range.clone() {
        let damaged = image.with(&last, |all| {
            all.truncate(range.end);
            flip(at)(all);
        });
        assert_log_too_short(&image, damaged.path(), &format!("bit flipped in byte {at}"));
    }
    for at in [SEGMENT_HEADER_BYTES, range.start, range.end - 1] {
        let damaged = image.with(&last, |all| all.truncate(at));
        assert_log_too_short(
            &image,
            damaged.path(),
            &format!("cut at {at} of {}", bytes.len()),
        );
    }
    let missing = image.with(&last, |_| {});
    fs::remove_file(segments(missing.path()).pop().unwrap()).unwrap();
    assert_log_too_short(&image, missing.path(), "the last segment is missing");
}

fn assert_log_too_short(image: &Image, dir: &Path, what: &str) {
    // Refused again and again, not only while the torn tail is there.
    for _ in 0..2 {
        let Err(error) = image.open(dir) else {
            panic!("{what}: it opened")
        };
        let is_expected =
            matches!(error, OpenError::LogTooShort { applied, .. } if applied == COMMITS as u64);
        assert!(is_expected, "{what}: {error}");
        assert_names_repair(&error, dir, what);
    }
}

#[test]
fn a_bit_flipped_in_a_sealed_segment_is_refused() {
    for image in [
        Image::crashed(EngineKind::Memory),
        Image::stopped(EngineKind::Memory),
    ] {
        let files = image.segments();
        for file in [&files[0], &files[1]] {
            let frames = frames(file);
            for at in 0..SEGMENT_HEADER_BYTES {
                let flipped = image.with(file, flip(at));
                image.assert_refused(
                    flipped.path(),
                    file,
                    0,
                    &format!("bit flipped in byte {at}"),
                );
            }
            for (range, _) in frames {
                for at in range.clone().step_by(3) {
                    let flipped = image.with(file, flip(at));
                    let what = format!("{}: bit flipped in byte {at}", file.display());
                    image.assert_refused(flipped.path(), file, range.start, &what);
                }
            }
        }
    }
}

#[test]
fn of_a_log_that_was_stopped_cleanly_no_commit_is_ever_cut_silently_by_a_flipped_bit() {
    let image = Image::stopped(EngineKind::Memory);
    let last = image.last();
    let mut frames = frames(&last);
    let (seal, _) = frames.pop().unwrap();
    for (range, _) in frames {
        for at in range.clone() {
            let flipped = image.with(&last, flip(at));
            let what = format!("bit flipped in byte {at}");
            image.assert_refused(flipped.path(), &last, range.start, &what);
        }
    }
    // A damaged seal is like none: the commits before it are whole.
    for at in seal {
        let flipped = image.with(&last, flip(at));
        image.assert_opens(
            flipped.path(),
            COMMITS as u64,
            &format!("bit flipped in byte {at}"),
        );
    }
}

#[test]
fn damage_in_a_sealed_segment_is_found_in_replay_even_if_it_is_not_looked_for() {
    let image = Image::stopped(EngineKind::Memory);
    let file = &image.segments()[1];
    for (range, _) in frames(file) {
        for at in range.clone().step_by(5) {
            let flipped = image.with(file, flip(at));
            let mut config = config(flipped.path(), image.engine);
            config.log.verify_at_start = false;
            let Err(error) = open(config) else {
                panic!("bit flipped in byte {at}: it opened")
            };
            let OpenError::Damaged { damage, .. } = &error else {
                panic!("{error}")
            };
            assert_eq!(damage.path.file_name(), file.file_name(), "{error}");
            assert_eq!(damage.offset, range.start as u64, "{error}");
        }
    }
}

#[test]
fn a_sealed_segment_cut_anywhere_is_refused() {
    let image = Image::crashed(EngineKind::Memory);
    let file = &image.segments()[1];
    let frames = frames(file);
    for at in 0..fs::metadata(file).unwrap().len() as usize {
        let cut = image.with(file, |bytes| bytes.truncate(at));
        let offset = match frames.iter().find(|(range, _)| range.end > at) {
            Some((range, _)) if at >= SEGMENT_HEADER_BYTES => range.start,
            _ => 0,
        };
        image.assert_refused(cut.path(), file, offset, &format!("cut at {at}"));
    }
}

#[test]
fn a_missing_segment_is_refused_with_what_is_missing() {
    let image = Image::crashed(EngineKind::Memory);
    let files = image.segments();
    for missing in 1..files.len() - 1 {
        let copy = image.with(&files[missing], |_| {});
        fs::remove_file(&segments(copy.path())[missing]).unwrap();
        image.assert_refused(copy.path(), &files[missing + 1], 32, "a segment is missing");
        let error = image.open(copy.path()).unwrap_err().to_string();
        let first = frames(&files[missing])[0].1;
        let last = frames(&files[missing + 1])[0].1 - 1;
        let said = format!("commits {first} to {last} are missing before it");
        assert!(error.contains(&said), "{error}");
    }
    // Without the first one there is nothing to begin from.
    let copy = image.with(&files[0], |_| {});
    fs::remove_file(&segments(copy.path())[0]).unwrap();
    assert!(matches!(
        image.open(copy.path()),
        Err(OpenError::NoBase { .. })
    ));
}

#[test]
fn two_segments_exchanged_are_refused() {
    let image = Image::crashed(EngineKind::Memory);
    let files = image.segments();
    let copy = image.with(&files[1], |_| {});
    let copied = segments(copy.path());
    let aside = copied[1].with_extension("aside");
    fs::rename(&copied[1], &aside).unwrap();
    fs::rename(&copied[2], &copied[1]).unwrap();
    fs::rename(&aside, &copied[2]).unwrap();
    image.assert_refused(copy.path(), &files[1], 32, "two segments exchanged");
}

#[test]
fn a_segment_of_another_store_is_refused() {
    let (image, other) = (
        Image::crashed(EngineKind::Memory),
        Image::crashed(EngineKind::Memory),
    );
    let files = image.segments();
    for (file, foreign) in files.iter().zip(other.segments()) {
        let foreign = fs::read(foreign).unwrap();
        let copy = image.with(file, |bytes| *bytes = foreign);
        image.assert_refused(copy.path(), file, 16, "a segment of another store");
    }
}

#[test]
fn a_segment_of_another_history_of_the_same_store_is_refused() {
    let image = Image::stopped(EngineKind::Memory);
    // From here on the store has two histories of equal length, in segments of equal names.
    let other = image.with(&image.last(), |_| {});
    for (dir, name) in [(image.dir.path(), "one"), (other.path(), "two")] {
        let store = Store::open(config(dir, image.engine)).unwrap();
        for _ in 0..20 {
            store
                .execute(NAMESPACE, put(name, r#""some more text""#))
                .unwrap();
        }
        store.close();
    }
    let (files, others) = (image.segments(), segments(other.path()));
    assert_eq!(files.len(), others.len());
    let at = files.len() - 2;
    let foreign = fs::read(&others[at]).unwrap();
    let copy = image.with(&files[at], |bytes| *bytes = foreign);
    // It follows a segment that is not the one it was written behind.
    image.assert_refused(copy.path(), &files[at], 12, "a segment of another history");
}

#[test]
fn repair_saves_the_commits_before_the_damage_and_the_store_goes_on() {
    let image = Image::crashed(EngineKind::Memory);
    for file in image.segments() {
        for (range, first_seq) in frames(&file) {
            let flipped = image.with(&file, flip(range.start + 9));
            let damaged = image.open(flipped.path()).is_err();
            let options = repair::RepairOptions::default();
            let report = repair::repair(&config(flipped.path(), image.engine), options).unwrap();
            assert_eq!(report.changed, damaged, "{report:?}");
            // Where only a seal is damaged, no commit is.
            let commits = if range.len() == SEAL_BYTES {
                COMMITS as u64
            } else {
                first_seq - 1
            };
            let what = format!("{}, frame at {}", file.display(), range.start);
            let content = image
                .open(flipped.path())
                .unwrap_or_else(|e| panic!("{what}: {e}"));
            assert_eq!(
                content.records, image.history[commits as usize].records,
                "{what}"
            );
            let store = Store::open(config(flipped.path(), image.engine)).unwrap();
            store.execute(NAMESPACE, put("new", "1")).unwrap();
            store.close();
        }
    }
}
