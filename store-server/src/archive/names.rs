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

/// Whether a copy may have this name.
pub fn is_id(name: &str) -> bool {
    let Some((time, seq)) = name.split_once('-') else {
        return false;
    };
    const TIME: &[u8] = b"00000000T000000.000Z";
    let is_like = |(found, like): (u8, &u8)| match like {
        b'0' => found.is_ascii_digit(),
        like => found == *like,
    };
    let is_time = time.len() == TIME.len() && time.bytes().zip(TIME).all(is_like);
    is_time && !seq.is_empty() && seq.bytes().all(|b| b.is_ascii_digit())
}

/// Where the manifest of a copy is.
pub fn manifest_path(id: &str) -> String {
    format!("{MANIFESTS}/{id}.json")
}

/// Where the next data file of this kind is, behind those that the copy has.
pub fn data_path(id: &str, kind: FileKind, files: &[File]) -> String {
    let of_kind = files.iter().filter(|file| file.kind == kind).count();
    let name = match kind {
        FileKind::Records => RECORDS,
        FileKind::Log => LOG,
    };
    format!("{DATA}/{id}/{name}-{of_kind:06}.zst")
}

const RECORDS: &str = "records";

const LOG: &str = "log";

/// Whether a data file may have this name, or begin with it, in the folder of its copy.
pub fn is_data_name(name: &str) -> bool {
    let rest = [RECORDS, LOG]
        .iter()
        .find_map(|kind| name.strip_prefix(kind));
    let number = rest
        .and_then(|rest| rest.strip_prefix('-'))
        .and_then(|rest| rest.split_once(".zst"));
    number.is_some_and(|(n, _)| n.len() >= 6 && n.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_given_is_known_and_others_are_not() {
        let id = id(1_795_465_294_123, 42);
        assert!(is_id(&id), "{id}");
        for other in [
            "",
            "42",
            "20261123T202134.123Z-",
            "20261123T202134.123Z-x",
            "2026-42",
        ] {
            assert!(!is_id(other), "{other}");
        }
        for kind in [FileKind::Records, FileKind::Log] {
            let path = data_path(&id, kind, &[]);
            let name = path.rsplit('/').next().unwrap();
            assert!(
                is_data_name(name) && is_data_name(&format!("{name}.1.aes")),
                "{name}"
            );
        }
        for other in [
            "notes",
            "records",
            "records-1.zst",
            "log-000000.txt",
            "blog-000000.zst",
        ] {
            assert!(!is_data_name(other), "{other}");
        }
    }
}
