//! The check at the door: is this exactly one well-formed value, and within the limits?
//!
//! Any bytes at all may come in. So the check never recurses, allocates no more than a small multiple of the bytes it
//! has really seen (never by a length they announce), and its time grows with the input's length, not its square.

use std::cmp::Ordering;

use stillpoint_proto::v1::{Reason, StoreError};

use crate::value::{
    canonical,
    name::{PlaceName, quoted},
    number::Number,
    walk::{Cursor, Malformed, Token},
};

/// Levels of nesting that no setting of `limits.nesting` goes beyond: the stack of the canonical form bears these.
pub const NESTING_MAX: usize = 512;

/// The bounds on one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueLimits {
    /// Its length in bytes: `limits.value_bytes`.
    pub bytes: usize,
    /// How many arrays and maps may stand one within the other: `limits.nesting`. A scalar has 0 levels, an array of
    /// scalars 1. Above [`NESTING_MAX`] it counts as that.
    pub nesting: usize,
}

impl ValueLimits {
    /// Refuses a length over the limit.
    pub fn check_bytes(&self, bytes: usize) -> Result<(), StoreError> {
        if bytes <= self.bytes {
            return Ok(());
        }
        let message = format!(
            "the value has {bytes} bytes, the limit is {} (limits.value_bytes)",
            self.bytes
        );
        Err(StoreError::new(Reason::TooLarge, message))
    }

    /// Refuses more levels of nesting than the limit.
    pub fn check_nesting(&self, levels: usize) -> Result<(), StoreError> {
        if levels <= self.levels() {
            return Ok(());
        }
        let message = format!(
            "the value is nested deeper than the limit of {} levels (limits.nesting)",
            self.levels()
        );
        Err(StoreError::new(Reason::TooLarge, message))
    }

    fn levels(&self) -> usize {
        self.nesting.min(NESTING_MAX)
    }
}

/// Checks that the bytes are exactly one well-formed MessagePack value: strings are UTF-8, no map has a key twice or
/// NaN as a key, nothing follows. Numbers that are equal by value are the same key.
///
/// # Errors
///
/// `INVALID` and `TOO_LARGE`; the message names the place, with positions in arrays counted from 0.
pub fn check(value: &[u8], limits: &ValueLimits) -> Result<(), StoreError> {
    check_part(value, limits, 0).map(drop)
}

/// Like [`check`], for messages that count positions from `index_base`. Answers how many levels of nesting it has.
pub fn check_part(
    value: &[u8],
    limits: &ValueLimits,
    index_base: u32,
) -> Result<usize, StoreError> {
    limits.check_bytes(value.len())?;
    let mut checker = Checker {
        value,
        limits,
        index_base,
        cursor: Cursor::new(value),
        open: Vec::new(),
        keys: Vec::new(),
        levels: 0,
    };
    checker.run().map_err(|mut error| {
        let place = checker.place();
        if !place.is_root() {
            error.message = format!("{} (at {place})", error.message);
        }
        error
    })?;
    match checker.cursor.remaining() {
        0 => Ok(checker.levels),
        n => Err(invalid(format!(
            "{n} bytes follow the value: send exactly one MessagePack value"
        ))),
    }
}

struct Checker<'a> {
    value: &'a [u8],
    limits: &'a ValueLimits,
    index_base: u32,
    cursor: Cursor<'a>,
    /// The containers the cursor is in, the outermost first.
    open: Vec<Frame>,
    /// The keys of all maps among them, the outermost's first.
    keys: Vec<Key>,
    /// The most containers open at a time.
    levels: usize,
}

/// A container the cursor is in.
struct Frame {
    is_map: bool,
    /// How many values it has directly in it.
    children: u64,
    /// How many of those are begun.
    begun: u64,
    /// How many of [`Checker::keys`] are of maps around it.
    keys_before: usize,
}

impl Frame {
    fn at_key(&self) -> bool {
        self.is_map && self.begun % 2 == 1
    }
}

/// A map's key.
#[derive(Clone, Copy)]
struct Key {
    /// See [`fingerprint`].
    fingerprint: u32,
    /// Where it begins.
    start: usize,
}

impl<'a> Checker<'a> {
    fn run(&mut self) -> Result<(), StoreError> {
        self.value_begins()?;
        while let Some(frame) = self.open.last_mut() {
            if frame.begun == frame.children {
                self.container_ends()?;
            } else {
                frame.begun += 1;
                self.value_begins()?;
            }
        }
        Ok(())
    }

    fn value_begins(&mut self) -> Result<(), StoreError> {
        let at_key = self.open.last().is_some_and(Frame::at_key);
        let start = self.cursor.position();
        let token = self
            .cursor
            .read()
            .map_err(|malformed| self.malformed(malformed))?;
        if let Token::Str(text) = token
            && std::str::from_utf8(text).is_err()
        {
            return Err(invalid(format!(
                "invalid UTF-8 in a {}: send such bytes as binary data",
                if at_key { "map's key" } else { "string" }
            )));
        }
        if at_key {
            self.key_begins(&token, start)?;
        }
        if let Token::Array(_) | Token::Map(_) = token {
            self.container_begins(&token)?;
        }
        Ok(())
    }

    fn key_begins(&mut self, token: &Token<'_>, start: usize) -> Result<(), StoreError> {
        if matches!(token, Token::Number(number) if number.is_nan()) {
            return Err(invalid("NaN cannot be a map's key"));
        }
        self.keys.push(Key {
            fingerprint: fingerprint(self.value, start, token),
            start,
        });
        Ok(())
    }

    fn container_begins(&mut self, token: &Token<'_>) -> Result<(), StoreError> {
        let children = token.children();
        // Every child has at least one byte: with fewer, spare the way to the end.
        if children > self.cursor.remaining() as u64 {
            return Err(self.malformed(Malformed::CutShort));
        }
        self.limits.check_nesting(self.open.len() + 1)?;
        self.open.push(Frame {
            is_map: matches!(token, Token::Map(_)),
            children,
            begun: 0,
            keys_before: self.keys.len(),
        });
        self.levels = self.levels.max(self.open.len());
        Ok(())
    }

    fn container_ends(&mut self) -> Result<(), StoreError> {
        let Some(frame) = self.open.pop() else {
            return Ok(());
        };
        let twin = duplicate(self.value, &mut self.keys[frame.keys_before..]);
        self.keys.truncate(frame.keys_before);
        let Some(key) = twin else {
            return Ok(());
        };
        let key = match Cursor::at(self.value, key.start).read() {
            Ok(Token::Str(text)) => format!("key {}", quoted(&String::from_utf8_lossy(text))),
            Ok(Token::Number(number)) => format!("key {number}"),
            _ => "same key".into(),
        };
        Err(invalid(format!("the {key} stands twice in a map")))
    }

    fn malformed(&self, malformed: Malformed) -> StoreError {
        invalid(match malformed {
            Malformed::CutShort if self.value.is_empty() => {
                "the value is empty: send exactly one MessagePack value"
            }
            Malformed::CutShort => "the bytes end before the value does",
            Malformed::Reserved => "the byte 0xc1 is not MessagePack",
            Malformed::TooDeep => "the value is nested too deep",
        })
    }

    /// Where the cursor is.
    fn place(&self) -> PlaceName {
        let mut place = PlaceName::default();
        for (i, frame) in self.open.iter().enumerate() {
            if frame.begun == 0 || frame.at_key() {
                break;
            }
            if !frame.is_map {
                place.number(frame.begun - 1 + u64::from(self.index_base));
                continue;
            }
            let keys_end = self
                .open
                .get(i + 1)
                .map_or(self.keys.len(), |inner| inner.keys_before);
            if let Some(key) = self.keys[frame.keys_before..keys_end].last()
                && let Ok(token) = Cursor::at(self.value, key.start).read()
            {
                place.key(&token);
            }
        }
        place
    }
}

/// Finds a key that stands twice among those of one map; brings them out of order.
fn duplicate(value: &[u8], keys: &mut [Key]) -> Option<Key> {
    let compare = |a: &Key, b: &Key| {
        let order = a.fingerprint.cmp(&b.fingerprint);
        order.then_with(|| compare_keys(value, a, b))
    };
    keys.sort_unstable_by(compare);
    let twins = |pair: &&[Key]| compare(&pair[0], &pair[1]).is_eq();
    keys.windows(2).find(twins).map(|pair| pair[0])
}

/// A total order of keys, in which only equal ones are equal: by kind first, since a sort must not meet a circle.
fn compare_keys(value: &[u8], a: &Key, b: &Key) -> Ordering {
    let token = |key: &Key| Cursor::at(value, key.start).read();
    match (token(a), token(b)) {
        (Ok(Token::Str(a)), Ok(Token::Str(b))) => a.cmp(b),
        (Ok(Token::Number(a)), Ok(Token::Number(b))) => a.compare(b).unwrap_or(Ordering::Equal),
        (Ok(a_token), Ok(b_token)) if rank(&a_token) != rank(&b_token) => {
            rank(&a_token).cmp(&rank(&b_token))
        }
        _ => whole(value, a.start).cmp(&whole(value, b.start)),
    }
}

/// A kind's place in the order of keys.
fn rank(key: &Token<'_>) -> u8 {
    match key {
        Token::Nil => 0,
        Token::Bool(_) => 1,
        Token::Number(_) => 2,
        Token::Str(_) => 3,
        Token::Bin(_) => 4,
        Token::Ext(..) => 5,
        Token::Array(_) => 6,
        Token::Map(_) => 7,
    }
}

/// The canonical form of the key that begins there. One that is malformed, which the check is yet to find, has none.
fn whole(value: &[u8], start: usize) -> Vec<u8> {
    let mut out = Vec::new();
    match canonical::write(&mut out, &mut Cursor::at(value, start)) {
        Ok(()) => out,
        Err(_) => Vec::new(),
    }
}

/// A number that equal keys share, and others mostly do not.
fn fingerprint(value: &[u8], start: usize, key: &Token<'_>) -> u32 {
    let kind = rank(key).into();
    match key {
        Token::Number(number) => match number.canonical() {
            Number::Int(n) => mix(kind, n as u64),
            Number::Float(f) => mix(kind, f.to_bits()),
        },
        Token::Str(bytes) | Token::Bin(bytes) => mix_all(kind, bytes),
        _ => mix_all(kind, &whole(value, start)),
    }
}

/// Spreads the bytes over 32 bits; on keys of a few bytes in half the time of a checksum. Whoever makes keys of one
/// fingerprint on purpose makes the sort compare the keys themselves, no more.
fn mix_all(seed: u64, bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let seed = words.iter().fold(seed + bytes.len() as u64, |seed, word| {
        u64::from(mix(seed, u64::from_le_bytes(*word)))
    });
    mix(seed, u64::from_le_bytes(last))
}

fn mix(seed: u64, word: u64) -> u32 {
    // The constant is 2^64 divided by the golden ratio: its multiples are spread evenly.
    let product = (seed.rotate_left(32) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (product >> 32) as u32
}

fn invalid(message: impl Into<String>) -> StoreError {
    StoreError::new(Reason::Invalid, message)
}
