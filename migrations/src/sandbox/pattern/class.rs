//! Classes of characters: `%a`, and sets in brackets.

/// What introduces a class.
pub(super) const ESCAPE: u8 = b'%';

/// A character of a string. Behind its end there is a NUL, as in C.
pub(super) fn at(string: &[u8], place: usize) -> u8 {
    string.get(place).copied().unwrap_or(0)
}

/// Whether a character is in the set whose brackets are at `open` and `close`.
pub(super) fn in_set(pattern: &[u8], c: u8, open: usize, close: usize) -> bool {
    let mut p = open + 1;
    let negated = at(pattern, p) == b'^';
    if negated {
        p += 1;
    }
    while p < close {
        let first = at(pattern, p);
        let found = if first == ESCAPE {
            p += 1;
            in_class(c, at(pattern, p))
        } else if at(pattern, p + 1) == b'-' && p + 2 < close {
            p += 2;
            (first..=at(pattern, p)).contains(&c)
        } else {
            first == c
        };
        if found {
            return !negated;
        }
        p += 1;
    }
    negated
}

/// Whether a character is of a class, as `%a`.
pub(super) fn in_class(c: u8, class: u8) -> bool {
    let is = match class.to_ascii_lowercase() {
        b'a' => c.is_ascii_alphabetic(),
        b'c' => c.is_ascii_control(),
        b'd' => c.is_ascii_digit(),
        b'g' => c.is_ascii_graphic(),
        b'l' => c.is_ascii_lowercase(),
        b'p' => c.is_ascii_punctuation(),
        // With the vertical tab, which Rust leaves out.
        b's' => matches!(c, b' ' | b'\t'..=b'\r'),
        b'u' => c.is_ascii_uppercase(),
        b'w' => c.is_ascii_alphanumeric(),
        b'x' => c.is_ascii_hexdigit(),
        // Lua still knows it.
        b'z' => c == 0,
        _ => return class == c,
    };
    is != class.is_ascii_uppercase()
}
