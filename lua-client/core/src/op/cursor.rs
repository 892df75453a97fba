//! `"set_cursor", name, position` → nothing. An empty position removes the cursor.

use std::os::raw::c_int;

use bytes::Bytes;
use stillpoint_client::v1::SetCursorOp;

use crate::op::reader::{Reader, Reject};

pub(super) fn read(reader: &Reader<'_>, first: c_int) -> Result<SetCursorOp, Reject> {
    Ok(SetCursorOp {
        name: Bytes::copy_from_slice(reader.bytes(first, "name")?),
        position: Bytes::copy_from_slice(reader.bytes(first + 1, "position")?),
    })
}
