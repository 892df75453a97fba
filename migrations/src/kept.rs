//! Whether an older form of a document carries all that the newer one has.
//!
//! A program of an older version writes what it knows. Where the newer form says more than `up` makes of the older one, such
//! a write would lose it; so who stores documents asks here first.

use std::fmt;

use bytes::Bytes;

use crate::{Chain, Difference, StepError};

/// What an older form does not carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The script whose `down` leaves it out: `game/player/0003_level.lua`.
    pub script: String,
    /// The first place, in the newer form: what it has, and what `up` makes of the older form there.
    pub difference: Difference,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference {
            path,
            before,
            after,
        } = &self.difference;
        let place = if path.is_empty() {
            "the document"
        } else {
            path
        };
        let before = before.as_deref().unwrap_or("not there");
        let after = after.as_deref().unwrap_or("gone");
        write!(
            f,
            "{place}, which is {before} and would then be {after} ({})",
            self.script
        )
    }
}

impl Chain {
    /// What would be lost of a document of version `from` if it went down to version `to` and up again; `None`: nothing, in
    /// the canonical form. `below` is what it is in version `to`, where that is known already.
    ///
    /// # Errors
    ///
    /// As for [`down`](Chain::down) and [`up`](Chain::up): it has no older form, or that has no newer one.
    pub fn lost_below(
        &mut self,
        from: u32,
        to: u32,
        key: &[u8],
        value: &[u8],
        below: Option<&Bytes>,
    ) -> Result<Option<Lost>, StepError> {
        let below = match below {
            Some(below) => below.clone(),
            None => self.down(from, to, key, value)?,
        };
        let back = self.up(to, from, key, &below)?;
        if back == value {
            return Ok(None);
        }
        let original = self.rewritten(key, value)?;
        let Some(difference) = Difference::between(&original, &back) else {
            return Ok(None);
        };
        let script = self.loses(from, to, key, original)?;
        Ok(Some(Lost { script, difference }))
    }

    /// The newest script that does not come back to this document on its way down. If each did, all together would.
    fn loses(
        &mut self,
        from: u32,
        to: u32,
        key: &[u8],
        mut newer: Bytes,
    ) -> Result<String, StepError> {
        let mut script = String::new();
        for version in (to + 1..=from).rev() {
            let older = self.down(version, version - 1, key, &newer)?;
            let back = self.up(version - 1, version, key, &older)?;
            script = self.steps()[(version - 1 - self.first()) as usize]
                .source()
                .path();
            if back != newer {
                break;
            }
            newer = older;
        }
        Ok(script)
    }
}
