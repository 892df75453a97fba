//! The state, page by page.
//!
//! Each page is read from one revision, and the next from a later one, so that no snapshot is held in between. What was
//! committed from the first page's revision on to the last page's is told behind them: the changes that a page had already
//! are left out, the others bring all of it to one revision.

use std::{collections::VecDeque, ops::Bound};

use bytes::Bytes;
use stillpoint_proto::v1::{StoreError, WatchEvent};

use super::Watch;
use crate::{engine::KeyRange, store::read};

/// The pages that are left, and what those told have.
#[derive(Debug)]
pub struct Pages {
    left: VecDeque<KeyRange>,
    /// Where each told page ends, the first key that is not in it, and its revision.
    told: Vec<(Bytes, u64)>,
}

/// A page.
#[derive(Debug)]
pub struct Page {
    /// The records, each as a PUT.
    pub events: Vec<WatchEvent>,
    /// Sequence number of the newest commit that it reflects.
    pub seq: u64,
    /// The namespace's revision then.
    pub revision: u64,
    /// Whether it is the last one.
    pub is_last: bool,
}

impl Pages {
    /// The pages of what lies in these ranges, which are in order.
    pub fn new(ranges: Vec<KeyRange>) -> Pages {
        Pages {
            left: ranges.into(),
            told: Vec::new(),
        }
    }

    /// Whether the pages told have what this revision did to this record.
    pub fn have(&self, view_key: &Bytes, revision: u64) -> bool {
        let page = self.told.partition_point(|(end, _)| end <= view_key);
        self.told.get(page).is_some_and(|(_, has)| revision <= *has)
    }

    fn ended(&mut self, end: Bytes, revision: u64) {
        match self.told.last_mut() {
            Some((last_end, last)) if *last == revision => *last_end = end,
            _ => self.told.push((end, revision)),
        }
    }
}

impl Watch {
    /// All the state that is watched.
    pub fn pages(&self) -> Pages {
        Pages::new(self.filter.ranges())
    }

    /// Reads the next page; it may have no records.
    pub fn page(&self, pages: &mut Pages) -> Result<Page, StoreError> {
        let limits = &self.shared.config.limits;
        let snapshot = self.shared.view.read();
        let mut page = Page {
            events: Vec::new(),
            seq: snapshot.last_seq(),
            revision: snapshot.namespace(&self.filter.namespace).revision,
            is_last: false,
        };
        if let Some(range) = pages.left.pop_front() {
            let mut bytes = 0;
            let mut end = None;
            for pair in snapshot.scan(range.clone(), false) {
                let (key, stored) = pair.map_err(read::engine_failed)?;
                if page.events.len() >= limits.scan_page || bytes >= limits.answer_bytes() {
                    pages
                        .left
                        .push_front((Bound::Included(key.clone()), range.1.clone()));
                    end = Some(key);
                    break;
                }
                let record = read::decode(&stored)?;
                bytes += key.len() + record.value.len();
                page.events.extend(self.filter.state(&key, &record));
            }
            let end = end.or_else(|| match range.1 {
                Bound::Included(key) | Bound::Excluded(key) => Some(key),
                Bound::Unbounded => None,
            });
            pages.ended(end.unwrap_or_default(), page.revision);
        }
        drop(snapshot);
        self.show(page.events.iter_mut());
        page.is_last = pages.left.is_empty();
        Ok(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_had_by_the_page_of_its_key_at_its_revision() {
        let mut pages = Pages::new(Vec::new());
        for (end, revision) in [("c", 5), ("f", 5), ("m", 9)] {
            pages.ended(end.into(), revision);
        }
        assert_eq!(pages.told.len(), 2, "pages of one revision are one");
        for (key, revision, had) in [
            ("a", 5, true),
            ("c", 6, false),
            ("f", 6, true),
            ("l", 9, true),
            ("l", 10, false),
            ("m", 1, false),
        ] {
            assert_eq!(pages.have(&key.into(), revision), had, "{key} {revision}");
        }
    }
}
