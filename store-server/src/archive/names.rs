//! How copies and their files are called.

use std::time::{Duration, SystemTime};

use super::manifest::{File, FileKind};

/// Where manifests are.
pub const MANIFESTS: &str = "manifest";

/// Where data files are, in a folder for each copy.
pub const DATA: &str = "data";

/// A time, in milliseconds since 1970, for people.
pub fn time(time_ms: u64) -> String {
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(time_ms);
    humantime::format_rfc3339_millis(time).to_string()
}

/// A copy's name: names are in the order of time, and no two copies of a store are begun within one millisecond.
pub fn id(begun_ms: u64, seq: u64) -> String {
    format!("{}-{seq}", time(begun_ms).replace(['-', ':'], ""))
}

/// Where the manifest of a copy is.
pub fn manifest_path(id: &str) -> String {
    format!("{MANIFESTS}/{id}.json")
}

/// Where the next data file of this kind is, behind those that the copy has.
pub fn data_path(id: &str, kind: FileKind, files: &[File]) -> String {
    let of_kind = files.iter().filter(|file| file.kind == kind).count();
    let name = match kind {
        FileKind::Records => "records",
        FileKind::Log => "log",
    };
    format!("{DATA}/{id}/{name}-{of_kind:06}.zst")
}
