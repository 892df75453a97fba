//! The canonical form: equal values have equal bytes, whatever order a table has its keys in.
//!
//! Lua walks a table in an order that depends on the state's seed and on the table's past. Here a map's entries are sorted
//! by the bytes of their keys, as the store's own canonical form has them. (That form also unites numbers of equal value;
//! this one keeps integers and floats apart, since Lua does.)

use std::os::raw::c_void;

/// What an encoder keeps to write the canonical form. It can be used again.
#[derive(Debug, Default)]
pub struct Canonical {
    /// The entries of the maps that are being written, the outermost's first.
    entries: Vec<Entry>,
    /// The sorted entries of one map.
    sorted: Vec<u8>,
    /// Identities of the tables that were written.
    tables: Vec<*const c_void>,
    marked: bool,
}

/// Where an entry stands in the buffer.
#[derive(Debug)]
struct Entry {
    start: usize,
    key_end: usize,
    end: usize,
}

impl Canonical {
    /// Begins another value.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.tables.clear();
        self.marked = false;
    }

    /// Whether decoding what was written gives a value that behaves like the one it was written from: no table was marked,
    /// since decoding sets only the marks that are needed, and none occurred twice, since decoding makes two of it.
    pub fn is_as_decoded(&mut self) -> bool {
        self.tables.sort_unstable();
        !self.marked && self.tables.windows(2).all(|pair| pair[0] != pair[1])
    }

    /// Notes a table that is about to be written.
    pub(crate) fn note(&mut self, table: *const c_void, marked: bool) {
        self.tables.push(table);
        self.marked |= marked;
    }

    /// Before a map's first entry; the answer is for [`close`](Canonical::close).
    pub(crate) fn open(&self) -> usize {
        self.entries.len()
    }

    /// Notes an entry of the innermost map: the key from `start` to `key_end`, and its value.
    pub(crate) fn entry(&mut self, start: usize, key_end: usize, end: usize) {
        self.entries.push(Entry {
            start,
            key_end,
            end,
        });
    }

    /// Sorts the entries of the map that was opened at `outer`; they are the end of the buffer.
    pub(crate) fn close(&mut self, outer: usize, buffer: &mut [u8]) {
        let entries = &mut self.entries[outer..];
        let Some(begin) = entries.first().map(|entry| entry.start) else {
            return;
        };
        if !entries.is_sorted_by_key(|entry| &buffer[entry.start..entry.key_end]) {
            entries.sort_unstable_by(|a, b| {
                buffer[a.start..a.key_end].cmp(&buffer[b.start..b.key_end])
            });
            self.sorted.clear();
            for entry in entries {
                self.sorted
                    .extend_from_slice(&buffer[entry.start..entry.end]);
            }
            buffer[begin..].copy_from_slice(&self.sorted);
        }
        self.entries.truncate(outer);
    }
}
