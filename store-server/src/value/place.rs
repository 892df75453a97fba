//! Finds the bytes a path leads to.

use std::ops::Range;

use stillpoint_proto::v1::{Path, PathSegment, Reason, StoreError, path_segment::Segment};

use crate::value::{
    encode,
    name::PlaceName,
    number::Number,
    walk::{Cursor, Malformed, Token},
};

/// A path as a request gives it, with the number of an array's first element.
#[derive(Clone, Copy, Debug)]
pub struct Route<'p> {
    /// All of them select something: see [`Route::new`].
    segments: &'p [PathSegment],
    index_base: u32,
}

/// What a path leads to.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// A value.
    Found(Found),
    /// Nothing, but it could be made.
    Missing(Missing),
}

/// Why a path leads nowhere.
#[derive(Clone, Debug, PartialEq)]
pub enum NoPlace {
    /// What stands on the way has no such place in it.
    Blocked(Blocked),
    /// The document is damaged.
    Malformed(Malformed),
}

/// A value in a document.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Its bytes.
    pub value: Range<usize>,
    /// What it stands in. None: it is the document itself.
    pub slot: Option<Slot>,
}

/// An array's element or a map's entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    /// The array or map.
    pub container: Container,
    /// Where the element begins, or the entry's key.
    pub start: usize,
}

/// An array or a map.
#[derive(Clone, Debug, PartialEq)]
pub struct Container {
    /// The bytes of its head, which hold the count.
    pub head: Range<usize>,
    /// A map, not an array.
    pub is_map: bool,
    /// How many elements or entries it has.
    pub count: u32,
}

/// A place that does not exist yet: a map's missing entry, or an array's position after the last.
#[derive(Clone, Debug, PartialEq)]
pub struct Missing {
    /// What it would stand in.
    pub container: Container,
    /// Where its bytes would begin: the container's end.
    pub at: usize,
    /// How many segments of the path lead to the container.
    pub depth: usize,
}

/// An obstacle on a path; [`Route::explain`] says it in words.
#[derive(Clone, Debug, PartialEq)]
pub struct Blocked {
    /// How many segments of the path could be followed.
    depth: usize,
    obstacle: Obstacle,
}

#[derive(Clone, Debug, PartialEq)]
enum Obstacle {
    /// A value of this kind, which has no such places in it.
    Kind(&'static str),
    /// An array of this length, which has no such position.
    Position { number: i64, count: u32 },
}

impl From<Blocked> for NoPlace {
    fn from(blocked: Blocked) -> Self {
        NoPlace::Blocked(blocked)
    }
}

impl From<Malformed> for NoPlace {
    fn from(malformed: Malformed) -> Self {
        NoPlace::Malformed(malformed)
    }
}

impl<'p> Route<'p> {
    /// Takes the path from a request; none is the document itself.
    pub fn new(path: Option<&'p Path>, index_base: u32) -> Result<Self, StoreError> {
        if index_base > 1 {
            let message = format!("index_base is {index_base}: use 0 or 1");
            return Err(StoreError::new(Reason::Invalid, message));
        }
        let segments = path.map_or(&[][..], |path| &path.segments);
        if let Some(i) = segments
            .iter()
            .position(|segment| segment.segment.is_none())
        {
            let message = format!(
                "segment {} of the path selects nothing: set its field or number",
                i + 1
            );
            return Err(StoreError::new(Reason::Invalid, message));
        }
        Ok(Route {
            segments,
            index_base,
        })
    }

    /// How many segments it has: how many containers its place stands in.
    pub fn depth(&self) -> usize {
        self.segments.len()
    }

    /// The position that a number selects in an array of `count` elements; it may be the one after the last. Negative
    /// numbers count from the end. None: there is no such position.
    pub fn position(&self, number: i64, count: u32) -> Option<u32> {
        let first = if number < 0 {
            i128::from(count)
        } else {
            -i128::from(self.index_base)
        };
        let position = u32::try_from(first + i128::from(number)).ok()?;
        (position <= count).then_some(position)
    }

    /// Follows the path from the document's root.
    pub fn find(&self, document: &[u8]) -> Result<Place, NoPlace> {
        let mut cursor = Cursor::new(document);
        let mut slot = None;
        for (depth, segment) in self.segments().enumerate() {
            let head_start = cursor.position();
            let token = cursor.read()?;
            let head = head_start..cursor.position();
            let (container, start) = match (segment, token) {
                (segment, Token::Map(count)) => {
                    let start = find_entry(&mut cursor, count, segment)?;
                    (
                        Container {
                            head,
                            is_map: true,
                            count,
                        },
                        start,
                    )
                }
                (Segment::Number(number), Token::Array(count)) => {
                    let obstacle = Obstacle::Position {
                        number: *number,
                        count,
                    };
                    let position = self
                        .position(*number, count)
                        .ok_or(Blocked { depth, obstacle })?;
                    cursor.skip_many(position.into())?;
                    let start = (position < count).then(|| cursor.position());
                    (
                        Container {
                            head,
                            is_map: false,
                            count,
                        },
                        start,
                    )
                }
                (_, token) => {
                    let obstacle = Obstacle::Kind(token.kind());
                    return Err(Blocked { depth, obstacle }.into());
                }
            };
            let Some(start) = start else {
                return Ok(Place::Missing(Missing {
                    container,
                    at: cursor.position(),
                    depth,
                }));
            };
            slot = Some(Slot { container, start });
        }
        let start = cursor.position();
        cursor.skip()?;
        Ok(Place::Found(Found {
            value: start..cursor.position(),
            slot,
        }))
    }

    /// What has to stand at a missing place so that the path leads to `value`: the key, and the maps on the way.
    pub fn build(&self, missing: &Missing, value: &[u8]) -> Vec<u8> {
        let mut entry = Vec::with_capacity(value.len() + 32);
        for (i, segment) in self.segments().skip(missing.depth).enumerate() {
            if i > 0 {
                encode::map(&mut entry, 1);
            } else if !missing.container.is_map {
                continue;
            }
            match segment {
                Segment::Field(field) => encode::string(&mut entry, field.as_bytes()),
                Segment::Number(number) => {
                    encode::number(&mut entry, Number::Int((*number).into()))
                }
            }
        }
        entry.extend_from_slice(value);
        entry
    }

    /// Says what is in the way.
    pub fn explain(&self, blocked: &Blocked) -> String {
        let place = self.name(blocked.depth);
        match blocked.obstacle {
            Obstacle::Position { number, count } => self.no_position(&place, number, count),
            Obstacle::Kind(kind) => match self.segments().nth(blocked.depth) {
                Some(Segment::Field(_)) => format!("{place} is {kind}; only a map has fields"),
                _ => format!("{place} is {kind}; only an array or a map has numbered places"),
            },
        }
    }

    /// Says what is not there.
    pub fn explain_missing(&self, missing: &Missing) -> String {
        match self.segments().nth(missing.depth) {
            Some(Segment::Number(number)) if !missing.container.is_map => {
                self.no_position(&self.name(missing.depth), *number, missing.container.count)
            }
            _ => format!("{} does not exist", self.name(missing.depth + 1)),
        }
    }

    /// Says that an array has no such position.
    pub fn no_position(&self, array: &PlaceName, number: i64, count: u32) -> String {
        let base = self.index_base;
        format!("{array} has no element {number}: it has {count}, numbered from {base}")
    }

    /// The name of the place that so many segments lead to.
    pub fn name(&self, depth: usize) -> PlaceName {
        let mut name = PlaceName::default();
        for segment in self.segments().take(depth) {
            match segment {
                Segment::Field(field) => name.field(field),
                Segment::Number(number) => name.number(number),
            }
        }
        name
    }

    fn segments(&self) -> impl Iterator<Item = &'p Segment> + use<'p> {
        self.segments.iter().flat_map(|segment| &segment.segment)
    }
}

/// Looks for a map's entry, of which the cursor has read the head. Answers where its key begins and leaves the cursor
/// at its value; if there is none, at the map's end.
fn find_entry(
    cursor: &mut Cursor<'_>,
    count: u32,
    segment: &Segment,
) -> Result<Option<usize>, Malformed> {
    for _ in 0..count {
        let start = cursor.position();
        let key = cursor.read()?;
        if selects(segment, &key) {
            return Ok(Some(start));
        }
        cursor.skip_many(key.children() + 1)?;
    }
    Ok(None)
}

fn selects(segment: &Segment, key: &Token<'_>) -> bool {
    match (segment, key) {
        (Segment::Field(field), Token::Str(key)) => field.as_bytes() == *key,
        (Segment::Number(number), Token::Number(key)) => {
            key.canonical() == Number::Int((*number).into())
        }
        _ => false,
    }
}
