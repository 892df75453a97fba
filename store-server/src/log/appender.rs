//! The writing end of the log.
//!
//! After a failed write or fsync nothing more may be written: the kernel may have dropped the dirty pages and reported
//! it only once, so a second fsync that succeeds proves nothing. The caller stops writing for good; a restart finds out
//! what is on disk.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::{
    frame::{self, FrameBuilder},
    segment::{LOG_MAGIC, SegmentHeader, SegmentInfo, Segments, create, file_name},
};

/// The writing end of the log. One per store, owned by the writer.
#[derive(Debug)]
pub struct Appender {
    dir: PathBuf,
    store_id: [u8; 16],
    segment_bytes: u64,
    segments: Segments,
    file: File,
    bytes: u64,
    crc: u32,
    next_seq: u64,
    synced_seq: u64,
    syncs: u64,
}

impl Appender {
    /// Begins a new segment after everything that is there; `previous_crc` is the checksum of the segment before.
    pub fn create(
        dir: &Path,
        store_id: [u8; 16],
        segment_bytes: u64,
        next_seq: u64,
        previous_crc: u32,
        segments: Segments,
    ) -> io::Result<Appender> {
        let (file, crc) = begin_segment(dir, store_id, next_seq, previous_crc, &segments)?;
        Ok(Appender {
            dir: dir.to_owned(),
            store_id,
            segment_bytes,
            segments,
            file,
            bytes: super::segment::SEGMENT_HEADER_BYTES as u64,
            crc,
            next_seq,
            synced_seq: next_seq - 1,
            syncs: 0,
        })
    }

    /// Sequence number that the next entry gets.
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Sequence number of the newest entry known to be on disk.
    pub fn synced_seq(&self) -> u64 {
        self.synced_seq
    }

    /// Syncs so far.
    pub fn syncs(&self) -> u64 {
        self.syncs
    }

    /// The list of segments.
    pub fn segments(&self) -> &Segments {
        &self.segments
    }

    /// Appends a frame, which must have begun at [`Self::next_seq`]; `now_ms` is the time of its newest entry. Not yet
    /// on disk.
    pub fn append(&mut self, frame: &mut FrameBuilder, now_ms: u64) -> io::Result<()> {
        if self.bytes >= self.segment_bytes {
            self.rotate()?;
        }
        let count = u64::from(frame.count());
        let bytes = frame.finish(self.synced_seq, self.bytes);
        self.file.write_all(bytes)?;
        self.crc = crc32c::crc32c_append(self.crc, bytes);
        self.bytes += bytes.len() as u64;
        self.next_seq += count;
        let (last_seq, bytes) = (self.next_seq - 1, self.bytes);
        self.segments.update_last(|info| {
            info.last_seq = last_seq;
            info.bytes = bytes;
            info.newest_ms = now_ms;
        });
        Ok(())
    }

    /// Makes everything appended durable.
    pub fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        self.syncs += 1;
        self.synced_seq = self.next_seq - 1;
        Ok(())
    }

    /// Ends the log for a clean stop, so that the next start knows that nothing is missing.
    pub fn close(mut self) -> io::Result<()> {
        self.seal().map(drop)
    }

    fn seal(&mut self) -> io::Result<u32> {
        let crc = self.crc;
        self.sync()?;
        (self.file).write_all(&frame::seal(
            self.next_seq,
            self.synced_seq,
            self.bytes,
            crc,
        ))?;
        self.file.sync_all()?;
        self.segments
            .update_last(|info| info.bytes += frame::SEAL_BYTES as u64);
        Ok(crc)
    }

    fn rotate(&mut self) -> io::Result<()> {
        let previous_crc = self.seal()?;
        let (file, crc) = begin_segment(
            &self.dir,
            self.store_id,
            self.next_seq,
            previous_crc,
            &self.segments,
        )?;
        self.file = file;
        self.crc = crc;
        self.bytes = super::segment::SEGMENT_HEADER_BYTES as u64;
        Ok(())
    }
}

fn begin_segment(
    dir: &Path,
    store_id: [u8; 16],
    first_seq: u64,
    previous_crc: u32,
    segments: &Segments,
) -> io::Result<(File, u32)> {
    let header = SegmentHeader {
        magic: LOG_MAGIC,
        previous_crc,
        store_id,
        first_seq,
    }
    .encode();
    let path = dir.join(file_name(first_seq));
    let file = create(&path, &header)?;
    segments.push(SegmentInfo {
        path,
        first_seq,
        last_seq: first_seq - 1,
        bytes: header.len() as u64,
        newest_ms: 0,
    });
    Ok((file, crc32c::crc32c(&header)))
}
