//! A collection, page by page.

use stillpoint_client::Client;
use stillpoint_proto::v1::{ScanEntry, ScanOp, op, op_result};

use crate::{
    failure::Failure,
    port::{call, unexpected},
};

/// The pages of a scan. Each is as of one revision; two may be as of different ones.
pub struct Pages<'a> {
    client: &'a Client,
    op: ScanOp,
    /// Records still wanted; `None`: all.
    left: Option<u64>,
    ended: bool,
}

impl<'a> Pages<'a> {
    /// Scans what `op` says; at most `limit` records.
    pub fn new(client: &'a Client, op: ScanOp, limit: Option<u64>) -> Self {
        Pages {
            client,
            op,
            left: limit,
            ended: false,
        }
    }

    /// The next records; empty at the end.
    pub fn next_page(&mut self) -> Result<Vec<ScanEntry>, Failure> {
        while !self.ended && self.left != Some(0) {
            // 0 is as many as the server puts into a page.
            self.op.limit = (self.left).map_or(0, |left| u32::try_from(left).unwrap_or(u32::MAX));
            let answer = call(self.client, op::Kind::Scan(self.op.clone()))?;
            let op_result::Kind::Scan(page) = answer else {
                return Err(unexpected(&answer));
            };
            self.ended = !page.more;
            if self.op.reverse {
                self.op.end = page.next_key;
            } else {
                self.op.start = page.next_key;
            }
            if let Some(left) = &mut self.left {
                *left = left.saturating_sub(page.entries.len() as u64);
            }
            if !page.entries.is_empty() {
                return Ok(page.entries);
            }
        }
        Ok(Vec::new())
    }

    /// Whether the collection may have more than was wanted.
    pub fn has_more(&self) -> bool {
        !self.ended
    }
}
