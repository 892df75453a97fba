//! The rules for namespaces, collections and keys.

/// Longest name of a namespace or collection, in bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// Longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 512;

/// Checks the name of a namespace or collection; `what` says which, for the message.
pub fn check_name(what: &str, name: &str) -> Result<(), String> {
    let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-');
    if name.is_empty() {
        return Err(format!("the {what} is empty: name one"));
    }
    if name.len() > NAME_BYTES_MAX || !name.bytes().all(allowed) {
        return Err(format!(
            "invalid {what} name {name:?}: use 1 to {NAME_BYTES_MAX} of a-z 0-9 _ . -"
        ));
    }
    Ok(())
}

/// Checks a key.
pub fn check_key(key: &[u8]) -> Result<(), String> {
    match key.len() {
        0 => Err("the key is empty: use 1 to 512 bytes".into()),
        1..=KEY_BYTES_MAX => Ok(()),
        n => Err(format!("the key has {n} bytes: use 1 to {KEY_BYTES_MAX}")),
    }
}

/// Longest label of a moment or a backup, in bytes.
pub const LABEL_BYTES_MAX: usize = 128;

/// What stands for the newest moment, so that it is no label.
pub const LATEST: &str = "latest";

/// Checks a label. Neither a time, a revision nor a relative path can be taken for one.
pub fn check_label(label: &str) -> Result<(), String> {
    let allowed = |b: u8| matches!(b, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-');
    if label.is_empty() || label.len() > LABEL_BYTES_MAX || !label.bytes().all(allowed) {
        return Err(format!(
            "invalid label {label:?}: use 1 to {LABEL_BYTES_MAX} of A-Z a-z 0-9 _ . -"
        ));
    }
    if label == LATEST {
        return Err(format!(
            "{LATEST:?} stands for the newest moment: use another label"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_outside_the_alphabet_are_refused_by_name() {
        assert_eq!(check_name("collection", "player_2.x-y"), Ok(()));
        assert_eq!(
            check_name("collection", "Player").unwrap_err(),
            "invalid collection name \"Player\": use 1 to 64 of a-z 0-9 _ . -"
        );
        assert!(check_name("namespace", "").is_err());
        assert!(check_name("namespace", &"a".repeat(65)).is_err());
    }

    #[test]
    fn keys_have_one_to_512_bytes() {
        assert_eq!(check_key(&[0; 512]), Ok(()));
        assert!(check_key(&[]).is_err());
        assert!(check_key(&[0; 513]).is_err());
    }

    #[test]
    fn labels_are_no_times_and_no_revisions() {
        assert_eq!(check_label("before-import_2.1"), Ok(()));
        for no_label in ["", "14:05", "world1@7", "2026-11-23 14:05", "latest"] {
            assert!(check_label(no_label).is_err(), "{no_label}");
        }
        assert!(check_label(&"a".repeat(129)).is_err());
    }
}
