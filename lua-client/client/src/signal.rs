//! A file descriptor that is readable while completions are untold.
//!
//! A pair of sockets works with every event loop and on every Unix. At most one byte is ever in it.

use std::{
    io::{self, Read, Write},
    os::{
        fd::{AsRawFd, RawFd},
        unix::net::UnixStream,
    },
};

/// The two ends.
#[derive(Debug)]
pub(crate) struct Signal {
    reader: UnixStream,
    writer: UnixStream,
}

impl Signal {
    /// A signal that is not raised.
    pub fn new() -> io::Result<Self> {
        let (reader, writer) = UnixStream::pair()?;
        reader.set_nonblocking(true)?;
        writer.set_nonblocking(true)?;
        Ok(Signal { reader, writer })
    }

    /// What an event loop watches.
    pub fn fd(&self) -> RawFd {
        self.reader.as_raw_fd()
    }

    /// Makes it readable.
    pub fn raise(&self) {
        // A full buffer means that it is readable already.
        let _ = (&self.writer).write(&[1]);
    }

    /// Makes it unreadable. An event loop that reads by itself may have done so before.
    pub fn lower(&self) {
        let mut byte = [0; 8];
        let _ = (&self.reader).read(&mut byte);
    }
}
