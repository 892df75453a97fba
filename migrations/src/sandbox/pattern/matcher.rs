//! Lua's patterns, step by step as Lua's own matcher has them, but counted.
//!
//! A pattern of a few characters can take for ever on a subject of a few hundred (`.-.-.-.-b`), and Lua's matcher runs in C,
//! where nothing can stop it. This one does the same work and takes each step of it from a number that is given. The tests
//! compare both on random patterns.

use std::ffi::CStr;

use super::class::{ESCAPE, at, in_class, in_set};

/// Captures of one match.
const CAPTURES_MAX: usize = 32;

/// Matches within a match; as in Lua.
const DEPTH_MAX: u32 = 200;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The pattern is none.
    Malformed(&'static CStr),
    /// It names a capture (by this number) that there is not.
    NoCapture(usize),
    /// The steps are used up.
    Exhausted,
}

/// What a capture is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Capture {
    /// Begins here, and has not ended.
    Open(usize),
    /// From, to.
    Text(usize, usize),
    /// Nothing but a place.
    Position(usize),
}

/// One pattern on one subject.
pub(super) struct Matcher<'a> {
    subject: &'a [u8],
    pattern: &'a [u8],
    captures: [Capture; CAPTURES_MAX],
    level: usize,
    depth: u32,
    steps_left: u64,
}

type Matched = Result<Option<usize>, Fault>;

impl<'a> Matcher<'a> {
    pub(super) fn new(subject: &'a [u8], pattern: &'a [u8], steps: u64) -> Self {
        Matcher {
            subject,
            pattern,
            captures: [Capture::Position(0); CAPTURES_MAX],
            level: 0,
            depth: 0,
            steps_left: steps,
        }
    }

    /// Where the match that begins at `start` ends, if there is one.
    pub(super) fn match_at(&mut self, start: usize) -> Matched {
        self.level = 0;
        self.depth = 0;
        self.run(start, 0)
    }

    /// Gives new steps for what comes.
    pub(super) fn refill(&mut self, steps: u64) {
        self.steps_left = steps;
    }

    pub(super) fn steps_left(&self) -> u64 {
        self.steps_left
    }

    /// How many captures the last match has.
    pub(super) fn level(&self) -> usize {
        self.level
    }

    /// A capture of the last match, which went from `start` to `end`; without any, the first is all of it.
    pub(super) fn capture(&self, index: usize, start: usize, end: usize) -> Result<Capture, Fault> {
        match self.captures[..self.level].get(index) {
            Some(Capture::Open(_)) => Err(Fault::Malformed(c"unfinished capture")),
            Some(capture) => Ok(*capture),
            None if index == 0 => Ok(Capture::Text(start, end)),
            None => Err(Fault::NoCapture(index + 1)),
        }
    }

    /// Matches the pattern from `p` on at `s`.
    fn run(&mut self, s: usize, p: usize) -> Matched {
        if self.depth == DEPTH_MAX {
            return Err(Fault::Malformed(c"pattern too complex"));
        }
        self.depth += 1;
        let result = self.run_here(s, p);
        self.depth -= 1;
        result
    }

    fn run_here(&mut self, mut s: usize, mut p: usize) -> Matched {
        while let Some(&c) = self.pattern.get(p) {
            self.step()?;
            match (c, self.pattern_at(p + 1)) {
                (b'(', b')') => return self.start_capture(s, p + 2, Capture::Position(s)),
                (b'(', _) => return self.start_capture(s, p + 1, Capture::Open(s)),
                (b')', _) => return self.end_capture(s, p + 1),
                (b'$', _) if p + 1 == self.pattern.len() => {
                    return Ok((s == self.subject.len()).then_some(s));
                }
                (ESCAPE, b'b') => match self.balance(s, p + 2)? {
                    Some(end) => (s, p) = (end, p + 4),
                    None => return Ok(None),
                },
                (ESCAPE, b'f') => {
                    let set = p + 2;
                    if self.pattern_at(set) != b'[' {
                        return Err(Fault::Malformed(c"missing '[' after '%f' in pattern"));
                    }
                    let end = self.class_end(set)?;
                    let before = s.checked_sub(1).map_or(0, |before| self.subject_at(before));
                    if in_set(self.pattern, before, set, end - 1)
                        || !in_set(self.pattern, self.subject_at(s), set, end - 1)
                    {
                        return Ok(None);
                    }
                    p = end;
                }
                (ESCAPE, digit @ b'0'..=b'9') => match self.back_reference(s, digit)? {
                    Some(end) => (s, p) = (end, p + 2),
                    None => return Ok(None),
                },
                _ => {
                    let end = self.class_end(p)?;
                    match (self.pattern_at(end), self.single(s, p, end)) {
                        (b'?', true) => match self.run(s + 1, end + 1)? {
                            Some(matched) => return Ok(Some(matched)),
                            None => p = end + 1,
                        },
                        (b'+', true) => return self.max_expand(s + 1, p, end),
                        (b'*', true) => return self.max_expand(s, p, end),
                        (b'-', true) => return self.min_expand(s, p, end),
                        (_, true) => (s, p) = (s + 1, end),
                        (b'*' | b'?' | b'-', false) => p = end + 1,
                        (_, false) => return Ok(None),
                    }
                }
            }
        }
        Ok(Some(s))
    }

    /// Takes one step of work.
    fn step(&mut self) -> Result<(), Fault> {
        self.steps_left = self.steps_left.checked_sub(1).ok_or(Fault::Exhausted)?;
        Ok(())
    }

    fn pattern_at(&self, p: usize) -> u8 {
        at(self.pattern, p)
    }

    fn subject_at(&self, s: usize) -> u8 {
        at(self.subject, s)
    }

    /// Where the class that begins at `p` ends.
    fn class_end(&mut self, mut p: usize) -> Result<usize, Fault> {
        match self.pattern_at(p) {
            ESCAPE if p + 1 >= self.pattern.len() => {
                Err(Fault::Malformed(c"malformed pattern (ends with '%')"))
            }
            ESCAPE => Ok(p + 2),
            b'[' => {
                p += 1;
                if self.pattern_at(p) == b'^' {
                    p += 1;
                }
                loop {
                    self.step()?;
                    if p >= self.pattern.len() {
                        return Err(Fault::Malformed(c"malformed pattern (missing ']')"));
                    }
                    let c = self.pattern_at(p);
                    p += 1;
                    if c == ESCAPE && p < self.pattern.len() {
                        p += 1;
                    }
                    if self.pattern_at(p) == b']' && p < self.pattern.len() {
                        return Ok(p + 1);
                    }
                }
            }
            _ => Ok(p + 1),
        }
    }

    /// Whether the character at `s` is of the class from `p` to `end`.
    fn single(&self, s: usize, p: usize, end: usize) -> bool {
        let Some(&c) = self.subject.get(s) else {
            return false;
        };
        match self.pattern_at(p) {
            b'.' => true,
            ESCAPE => in_class(c, self.pattern_at(p + 1)),
            b'[' => in_set(self.pattern, c, p, end - 1),
            plain => plain == c,
        }
    }

    /// `%bxy`; x and y are at `p`.
    fn balance(&mut self, s: usize, p: usize) -> Matched {
        if p + 1 >= self.pattern.len() {
            let what = c"malformed pattern (missing arguments to '%b')";
            return Err(Fault::Malformed(what));
        }
        let (open, close) = (self.pattern_at(p), self.pattern_at(p + 1));
        if self.subject_at(s) != open {
            return Ok(None);
        }
        let mut nested = 1_usize;
        for s in s + 1..self.subject.len() {
            self.step()?;
            let c = self.subject_at(s);
            if c == close {
                nested -= 1;
                if nested == 0 {
                    return Ok(Some(s + 1));
                }
            } else if c == open {
                nested += 1;
            }
        }
        Ok(None)
    }

    /// As many of the class from `p` to `end` as possible, then the rest.
    fn max_expand(&mut self, s: usize, p: usize, end: usize) -> Matched {
        let mut count = 0;
        while self.single(s + count, p, end) {
            self.step()?;
            count += 1;
        }
        for count in (0..=count).rev() {
            if let Some(matched) = self.run(s + count, end + 1)? {
                return Ok(Some(matched));
            }
        }
        Ok(None)
    }

    /// As few as possible.
    fn min_expand(&mut self, mut s: usize, p: usize, end: usize) -> Matched {
        loop {
            if let Some(matched) = self.run(s, end + 1)? {
                return Ok(Some(matched));
            }
            if !self.single(s, p, end) {
                return Ok(None);
            }
            self.step()?;
            s += 1;
        }
    }

    fn start_capture(&mut self, s: usize, p: usize, capture: Capture) -> Matched {
        if self.level == CAPTURES_MAX {
            return Err(Fault::Malformed(c"too many captures"));
        }
        self.captures[self.level] = capture;
        self.level += 1;
        let matched = self.run(s, p)?;
        if matched.is_none() {
            self.level -= 1;
        }
        Ok(matched)
    }

    fn end_capture(&mut self, s: usize, p: usize) -> Matched {
        let innermost = (0..self.level).rev().find_map(|i| match self.captures[i] {
            Capture::Open(start) => Some((i, start)),
            _ => None,
        });
        let Some((i, start)) = innermost else {
            return Err(Fault::Malformed(c"invalid pattern capture"));
        };
        self.captures[i] = Capture::Text(start, s);
        let matched = self.run(s, p)?;
        if matched.is_none() {
            self.captures[i] = Capture::Open(start);
        }
        Ok(matched)
    }

    /// `%1` to `%9`: the text of a capture again.
    fn back_reference(&mut self, s: usize, digit: u8) -> Matched {
        let index = usize::from(digit).wrapping_sub(usize::from(b'1'));
        match self.captures[..self.level].get(index) {
            None | Some(Capture::Open(_)) => Err(Fault::NoCapture(index.wrapping_add(1))),
            Some(Capture::Position(_)) => Ok(None),
            Some(&Capture::Text(from, to)) => {
                let text = &self.subject[from..to];
                self.steps_left = self.steps_left.saturating_sub(text.len() as u64 / 16);
                let rest = self.subject.get(s..).unwrap_or_default();
                Ok(rest.starts_with(text).then_some(s + text.len()))
            }
        }
    }
}
