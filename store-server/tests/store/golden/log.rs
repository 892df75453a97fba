//! The log without a store above it: what its files are like, and what recovery makes of them.
//!
//! ```text
//! > segment_bytes N                 size after which a segment is sealed; before the first open
//! > open                            recovers the log and begins a segment; says what was found
//! > at MS                           time of the commits from here on
//! > append TEXT...                  one frame with these commits
//! > sync
//! > close                           ends the log as a clean stop does
//! > crash                           ends it as the death of the process does
//! > files                           what is in the directory, frame by frame
//! > replay [SEQ]                    the commits from SEQ on
//! > trim bytes=N older_than=MS keep_since=MS checkpoint=SEQ
//! > cut FILE BYTES                  cuts bytes off a file's end
//! > flip FILE OFFSET                flips a bit
//! > remove FILE
//! > rename FILE FILE
//! ```

use std::{error::Error, fmt::Write, fs, path::PathBuf};

use goldenscript::{Command, Context};
use stillpoint_store_server::log::{
    Appender, Change, Entry, FrameBuilder, LogError, Origin, Segments, Written,
    frame::Kind,
    recovery::{self, Expected, OnTornTail},
    retention::{Retention, trim},
    segment::{LOG_MAGIC, SegmentFile, SegmentHeader},
};
use tempfile::TempDir;

macro_rules! scripts {
    ($($name:ident)*) => {
        mod scripts {
            $(#[test]
            fn $name() {
                let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/store/scripts/log/", stringify!($name));
                goldenscript::run(&mut super::Script::default(), path).unwrap();
            })*
        }
    };
}

scripts! { append rotate seal torn damage retention }

const STORE_ID: [u8; 16] = *b"a store's own id";

struct Script {
    dir: TempDir,
    segment_bytes: u64,
    now_ms: u64,
    log: Option<Appender>,
    segments: Segments,
}

impl Default for Script {
    fn default() -> Self {
        Script {
            dir: tempfile::tempdir().unwrap(),
            segment_bytes: 1 << 20,
            now_ms: 1000,
            log: None,
            segments: Segments::default(),
        }
    }
}

impl goldenscript::Runner for Script {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Result<String, Box<dyn Error>> {
        let words: Vec<&str> = command.name.split_whitespace().collect();
        match words[..] {
            ["segment_bytes", n] => self.segment_bytes = n.parse()?,
            ["open"] => return self.open(),
            ["at", ms] => self.now_ms = ms.parse()?,
            ["append", ref texts @ ..] => return self.append(texts),
            ["sync"] => self.log()?.sync()?,
            ["close"] => self.log.take().ok_or("not open")?.close()?,
            ["crash"] => drop(self.log.take()),
            ["files"] => return self.files(),
            ["replay"] => return self.replay(1),
            ["replay", seq] => return self.replay(seq.parse()?),
            ["trim", bytes, older, keep, checkpoint, ref watched @ ..] => {
                let n = |text: &str| text.split_once('=').unwrap_or_default().1.parse();
                let retention = Retention {
                    bytes: n(bytes)?,
                    older_than_ms: n(older)?,
                    keep_since_ms: n(keep)?,
                    checkpoint_seq: n(checkpoint)?,
                    watched_seq: watched.first().map_or(Ok(u64::MAX), |text| n(text))?,
                };
                return Ok(format!("removed {}", trim(&self.segments, &retention)?));
            }
            ["cut", file, bytes] => {
                let file = fs::OpenOptions::new().write(true).open(self.path(file))?;
                file.set_len(file.metadata()?.len() - bytes.parse::<u64>()?)?;
            }
            ["flip", file, offset] => {
                let path = self.path(file);
                let mut bytes = fs::read(&path)?;
                bytes[offset.parse::<usize>()?] ^= 1;
                fs::write(path, bytes)?;
            }
            ["remove", file] => fs::remove_file(self.path(file))?,
            ["rename", from, to] => fs::rename(self.path(from), self.path(to))?,
            _ => return Err(format!("unknown command {}", command.name).into()),
        }
        Ok(String::new())
    }
}

impl Script {
    fn open(&mut self) -> Result<String, Box<dyn Error>> {
        let expected = Expected {
            store_id: STORE_ID,
            first_seq: 1,
            verify_all: true,
            torn: OnTornTail::Cut,
        };
        let found = match recovery::recover(self.dir.path(), &expected) {
            Ok(found) => found,
            Err(LogError::Damaged(damage)) => {
                return Ok(format!(
                    "refused: {}",
                    self.without_dir(&damage.to_string())
                ));
            }
            Err(error) => return Err(error.into()),
        };
        let mut said = match found.next_seq - found.first_seq {
            0 => "no commits".into(),
            _ => format!("commits {} to {}", found.first_seq, found.next_seq - 1),
        };
        if let Some(cut) = found.cut {
            let (file, saved) = (cut.path.display(), cut.saved_to.display());
            let text = format!(", cut {} bytes off {file}, kept in {saved}", cut.bytes);
            said += &self.without_dir(&text);
        }
        self.segments = found.segments.clone();
        self.log = Some(Appender::create(
            self.dir.path(),
            STORE_ID,
            self.segment_bytes,
            found.next_seq,
            found.previous_crc,
            found.segments,
        )?);
        Ok(said)
    }

    fn append(&mut self, texts: &[&str]) -> Result<String, Box<dyn Error>> {
        let now_ms = self.now_ms;
        let log = self.log()?;
        let first = log.next_seq();
        let mut frame = FrameBuilder::default();
        frame.begin(first);
        for (seq, text) in (first..).zip(texts) {
            let written = Written {
                create_rev: seq,
                version: 1,
                schema: 0,
                expires_at_ms: 0,
                value: b"\xc0",
            };
            let entry = Entry {
                namespace: "n",
                revision: seq,
                incarnation: 1,
                time_ms: now_ms,
                origin: Origin::Client,
                principal: "",
                session: "",
                writer: None,
                records_delta: 1,
                changes: vec![Change {
                    collection: "c",
                    key: text.as_bytes(),
                    written: Some(written),
                }],
                reply: &[],
                once: &[],
                state_hash: &[],
            };
            frame.push(|out| entry.encode(out));
        }
        log.append(&mut frame, now_ms)?;
        Ok(match log.next_seq() - first {
            1 => format!("commit {first}"),
            n => format!("commits {first} to {}", first + n - 1),
        })
    }

    fn files(&self) -> Result<String, Box<dyn Error>> {
        let mut names: Vec<String> = fs::read_dir(self.dir.path())?
            .map(|item| item.map(|item| item.file_name().to_string_lossy().into_owned()))
            .collect::<Result<_, _>>()?;
        names.sort();
        let mut text = String::new();
        for name in names {
            let file = SegmentFile::read(&self.path(&name))?;
            writeln!(text, "{name}: {} bytes", file.bytes().len())?;
            if !name.ends_with(".log") {
                continue;
            }
            match SegmentHeader::decode(file.bytes(), LOG_MAGIC) {
                Ok(header) => writeln!(
                    text,
                    "      0 header: from commit {} on, behind a segment with checksum {:08x}",
                    header.first_seq, header.previous_crc
                )?,
                Err(error) => writeln!(text, "      0 {error}")?,
            }
            let mut frames = file.frames();
            for (at, frame) in frames.by_ref() {
                let (first, last, synced) = (frame.first_seq, frame.last_seq(), frame.synced_seq);
                match frame.kind {
                    Kind::Entries => writeln!(
                        text,
                        "{at:>7} frame: commits {first} to {last}, synced {synced}"
                    )?,
                    Kind::Seal => writeln!(
                        text,
                        "{at:>7} seal: up to commit {last}, checksum {:08x}",
                        stillpoint_store_server::log::frame::sealed_crc(&frame).unwrap_or_default()
                    )?,
                }
            }
            let rest = file.bytes().len() - frames.offset();
            if rest > 0 {
                writeln!(
                    text,
                    "{:>7} {rest} bytes that are no frame",
                    frames.offset()
                )?;
            }
        }
        Ok(text)
    }

    fn replay(&self, from: u64) -> Result<String, Box<dyn Error>> {
        let mut text = String::new();
        recovery::replay(&self.segments, from, |seq, entry| {
            let key = entry.changes[0].key.escape_ascii();
            writeln!(text, "{seq}: {key} at {}", entry.time_ms).map_err(|_| ReplayError)
        })
        .map_err(|_| "the log cannot be replayed")?;
        Ok(text)
    }

    fn log(&mut self) -> Result<&mut Appender, Box<dyn Error>> {
        self.log.as_mut().ok_or_else(|| "not open".into())
    }

    /// Segments are named by their numbers alone.
    fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(match file.parse::<u64>() {
            Ok(number) => format!("{number:020}.log"),
            Err(_) => file.into(),
        })
    }

    fn without_dir(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.dir.path().display()), "")
    }
}

struct ReplayError;

impl From<LogError> for ReplayError {
    fn from(_: LogError) -> Self {
        ReplayError
    }
}
