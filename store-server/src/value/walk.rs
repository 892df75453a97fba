//! A cursor over MessagePack bytes.
//!
//! Containers carry the number of their values, not their length in bytes: where a value ends is known only after
//! stepping over all within it. The cursor does that with a counter, without recursion and without allocating.
//!
//! ```text
//! 82 a1 61 01 a1 62 92 02 03      {"a": 1, "b": [2, 3]}
//! │  │     │  │     │  └──┴─ read: Int(2), Int(3)
//! │  │     │  │     └─ read: Array(2), two values follow
//! └─ read: Map(2), four values follow
//! ```

use rmp::Marker;
use stillpoint_proto::v1::{Reason, StoreError};

use crate::value::number::Number;

/// What is wrong with bytes that are not a well-formed value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The bytes end before the value does.
    CutShort,
    /// The byte 0xc1, which MessagePack never uses.
    Reserved,
    /// More levels of nesting than [`super::NESTING_MAX`].
    TooDeep,
}

impl From<Malformed> for StoreError {
    /// For values that passed [`super::check()`] when they were written.
    fn from(malformed: Malformed) -> Self {
        let what = match malformed {
            Malformed::CutShort => "ends too early",
            Malformed::Reserved => "has a byte 0xc1 where a value should begin",
            Malformed::TooDeep => "is nested too deep",
        };
        let message = format!("the stored value is damaged: it {what}; run `stillpoint repair`");
        StoreError::new(Reason::Internal, message)
    }
}

/// One value's head, with its content unless it is a container.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Token<'a> {
    /// Nil.
    Nil,
    /// A boolean.
    Bool(bool),
    /// An integer or a float of any width.
    Number(Number),
    /// A string's bytes, which only [`super::check()`] has seen to be UTF-8.
    Str(&'a [u8]),
    /// Binary data.
    Bin(&'a [u8]),
    /// An extension: its type and data.
    Ext(i8, &'a [u8]),
    /// An array: as many values follow.
    Array(u32),
    /// A map: twice as many values follow, key and value in turn.
    Map(u32),
}

impl Token<'_> {
    /// The number of values that follow directly within this one.
    pub fn children(&self) -> u64 {
        match *self {
            Token::Array(count) => count.into(),
            Token::Map(count) => 2 * u64::from(count),
            _ => 0,
        }
    }

    /// What it is, for a message.
    pub fn kind(&self) -> &'static str {
        match self {
            Token::Nil => "nil",
            Token::Bool(_) => "a boolean",
            Token::Number(Number::Int(_)) => "an integer",
            Token::Number(Number::Float(_)) => "a float",
            Token::Str(_) => "a string",
            Token::Bin(_) => "binary data",
            Token::Ext(..) => "an extension",
            Token::Array(_) => "an array",
            Token::Map(_) => "a map",
        }
    }
}

/// A position between two values.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Cursor<'a> {
    /// At the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self::at(bytes, 0)
    }

    /// At a position where a value begins.
    pub fn at(bytes: &'a [u8], position: usize) -> Self {
        Cursor { bytes, position }
    }

    /// How many bytes are behind it.
    pub fn position(&self) -> usize {
        self.position
    }

    /// How many bytes are ahead.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// Steps over a value's head, and its content unless it is a container.
    #[inline]
    pub fn read(&mut self) -> Result<Token<'a>, Malformed> {
        Ok(match Marker::from_u8(self.u8()?) {
            Marker::Null => Token::Nil,
            Marker::Reserved => return Err(Malformed::Reserved),
            Marker::False => Token::Bool(false),
            Marker::True => Token::Bool(true),
            Marker::FixPos(n) => int(n),
            Marker::FixNeg(n) => int(n),
            Marker::U8 => int(self.u8()?),
            Marker::U16 => int(self.u16()?),
            Marker::U32 => int(self.u32()?),
            Marker::U64 => int(u64::from_be_bytes(self.fixed()?)),
            Marker::I8 => int(i8::from_be_bytes(self.fixed()?)),
            Marker::I16 => int(i16::from_be_bytes(self.fixed()?)),
            Marker::I32 => int(i32::from_be_bytes(self.fixed()?)),
            Marker::I64 => int(i64::from_be_bytes(self.fixed()?)),
            Marker::F32 => float(f32::from_be_bytes(self.fixed()?).into()),
            Marker::F64 => float(f64::from_be_bytes(self.fixed()?)),
            Marker::FixStr(len) => Token::Str(self.take(len.into())?),
            Marker::Str8 => Token::Str(self.take8()?),
            Marker::Str16 => Token::Str(self.take16()?),
            Marker::Str32 => Token::Str(self.take32()?),
            Marker::Bin8 => Token::Bin(self.take8()?),
            Marker::Bin16 => Token::Bin(self.take16()?),
            Marker::Bin32 => Token::Bin(self.take32()?),
            Marker::FixExt1 => self.ext(1)?,
            Marker::FixExt2 => self.ext(2)?,
            Marker::FixExt4 => self.ext(4)?,
            Marker::FixExt8 => self.ext(8)?,
            Marker::FixExt16 => self.ext(16)?,
            Marker::Ext8 => {
                let len = self.u8()?;
                self.ext(len.into())?
            }
            Marker::Ext16 => {
                let len = self.u16()?;
                self.ext(len.into())?
            }
            Marker::Ext32 => {
                let len = self.u32()?;
                self.ext(len)?
            }
            Marker::FixArray(count) => Token::Array(count.into()),
            Marker::Array16 => Token::Array(self.u16()?.into()),
            Marker::Array32 => Token::Array(self.u32()?),
            Marker::FixMap(count) => Token::Map(count.into()),
            Marker::Map16 => Token::Map(self.u16()?.into()),
            Marker::Map32 => Token::Map(self.u32()?),
        })
    }

    /// Steps over one whole value.
    #[inline]
    pub fn skip(&mut self) -> Result<(), Malformed> {
        self.skip_many(1)
    }

    /// Steps over as many whole values.
    pub fn skip_many(&mut self, mut values: u64) -> Result<(), Malformed> {
        while values > 0 {
            values -= 1;
            values += self.read()?.children();
        }
        Ok(())
    }

    #[inline]
    fn take(&mut self, len: u32) -> Result<&'a [u8], Malformed> {
        let rest = &self.bytes[self.position..];
        let taken = rest.get(..len as usize).ok_or(Malformed::CutShort)?;
        self.position += taken.len();
        Ok(taken)
    }

    fn take8(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.u8()?;
        self.take(len.into())
    }

    fn take16(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.u16()?;
        self.take(len.into())
    }

    fn take32(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.u32()?;
        self.take(len)
    }

    fn ext(&mut self, len: u32) -> Result<Token<'a>, Malformed> {
        let kind = i8::from_be_bytes(self.fixed()?);
        Ok(Token::Ext(kind, self.take(len)?))
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(u8::from_be_bytes(self.fixed()?))
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_be_bytes(self.fixed()?))
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_be_bytes(self.fixed()?))
    }

    #[inline]
    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let rest = &self.bytes[self.position..];
        let taken = rest.first_chunk::<N>().ok_or(Malformed::CutShort)?;
        self.position += N;
        Ok(*taken)
    }
}

fn int<'a>(n: impl Into<i128>) -> Token<'a> {
    Token::Number(Number::Int(n.into()))
}

fn float<'a>(n: f64) -> Token<'a> {
    Token::Number(Number::Float(n))
}
