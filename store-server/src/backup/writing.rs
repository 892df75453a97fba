//! The writing side of a backup: from portions to files in the target, and to the manifest.

use super::{
    BackupError, File, FileKind, Kind, Manifest, Phase, Progress, Target, catalog, portion::Portion,
};
use crate::{
    archive::names,
    store::copying::{Outline, Reached},
};

/// A backup that is being written.
#[derive(Debug)]
pub struct Writing<'a> {
    target: &'a Target,
    /// What it is.
    pub outline: Outline,
    /// The files that are stored.
    pub files: Vec<File>,
    /// How often it was gone on with. Who goes on does not know the names of files that were stored last.
    pub round: u32,
    progress: Progress,
    /// Bytes of `progress` that are records.
    record_bytes: u64,
    /// About how many bytes of log there are.
    log_bytes: u64,
}

impl<'a> Writing<'a> {
    /// A backup that begins.
    pub fn new(target: &'a Target, outline: Outline) -> Writing<'a> {
        Writing::resume(target, outline, Vec::new(), 0)
    }

    /// A backup that is gone on with, for the `round`-th time, and has these files.
    pub fn resume(
        target: &'a Target,
        outline: Outline,
        files: Vec<File>,
        round: u32,
    ) -> Writing<'a> {
        let mut writing = Writing {
            target,
            outline,
            files: Vec::new(),
            round,
            progress: Progress {
                phase: Phase::Records,
                records: 0,
                records_total: 0,
                bytes: 0,
                bytes_total: 0,
                stored_bytes: 0,
            },
            record_bytes: 0,
            log_bytes: 0,
        };
        for file in files {
            writing.count(file);
        }
        writing
    }

    /// Tells about how much there is: records, and bytes of log.
    pub fn expect(&mut self, records_total: u64, log_bytes: u64) {
        let log_done = self.progress.bytes - self.record_bytes;
        (self.progress.records_total, self.log_bytes) = (records_total, log_done + log_bytes);
    }

    /// Whether all records are stored: the log comes after them.
    pub fn has_log(&self) -> bool {
        self.progress.phase == Phase::Log
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        Progress {
            bytes_total: self.bytes_total(),
            ..self.progress
        }
    }

    /// Stores a portion.
    pub async fn store(&mut self, mut portion: Portion) -> Result<(), BackupError> {
        portion.file.path = self.next_path(portion.file.kind);
        let portion = self.target.seal(portion)?;
        (self.target)
            .put_new(&portion.file.path, portion.bytes)
            .await?;
        self.count(portion.file);
        Ok(())
    }

    /// Writes the manifest, which makes it a backup that ends there.
    pub async fn complete(self, end: Reached) -> Result<Manifest, BackupError> {
        let manifest = self.outline.complete(end, self.files);
        catalog::write(self.target, &manifest).await?;
        Ok(manifest)
    }

    fn next_path(&self, kind: FileKind) -> String {
        let path = names::data_path(&self.outline.id, kind, &self.files);
        let round = match self.round {
            0 => String::new(),
            round => format!(".{round}"),
        };
        let encrypted = match self.outline.encryption {
            None => "",
            Some(_) => ".aes",
        };
        format!("{path}{round}{encrypted}")
    }

    fn count(&mut self, file: File) {
        self.progress.bytes += file.raw_bytes;
        self.progress.stored_bytes += file.bytes;
        match file.kind {
            FileKind::Records => {
                self.progress.records += file.entries;
                self.record_bytes += file.raw_bytes;
            }
            FileKind::Log => self.progress.phase = Phase::Log,
        }
        self.files.push(file);
    }

    /// About how many bytes it is going to have; 0: not known yet. Records that come are taken to be as large as those before.
    fn bytes_total(&self) -> u64 {
        let Progress {
            phase,
            records,
            records_total,
            bytes,
            ..
        } = self.progress;
        let records_left = match phase {
            Phase::Records if self.outline.kind == Kind::Full => {
                records_total.saturating_sub(records)
            }
            _ => 0,
        };
        let bytes_left = match (records_left, records) {
            (0, _) => 0,
            (_, 0) => return 0,
            (left, _) => left.saturating_mul(self.record_bytes / records),
        };
        bytes.max(self.record_bytes + bytes_left + self.log_bytes)
    }
}
