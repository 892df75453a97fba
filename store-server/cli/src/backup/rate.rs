//! How fast a backup is read, as it is typed.

use std::str::FromStr;

use bytesize::ByteSize;

/// No limit, as the server is told.
const UNLIMITED: u64 = u64::MAX;

/// Reads bytes a second: a size, or that there is no limit.
pub fn parse_rate(text: &str) -> Result<u64, String> {
    if text == "unlimited" {
        return Ok(UNLIMITED);
    }
    let rate = ByteSize::from_str(text)
        .map_err(|_| "write a size with its unit, e.g. 500KiB or 50MiB, or `unlimited`")?
        .as_u64();
    match rate {
        0 => Err("nothing can be read at 0 bytes a second".into()),
        rate => Ok(rate),
    }
}
