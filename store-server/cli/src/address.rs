//! The address of a record as a person types it: `player/42`.
//!
//! The collection ends at the first `/`; the rest is the key, which may have more of them. Keys are any bytes: what
//! cannot be typed is written `%XX`, and a `%` itself `%25`.

use std::{fmt, str::FromStr};

use stillpoint_proto::{
    name::{check_key, check_name},
    v1::RecordKey,
};

/// A record within the namespace of the command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The collection.
    pub collection: String,
    /// The key's bytes.
    pub key: Vec<u8>,
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (collection, key) = text
            .split_once('/')
            .ok_or_else(|| format!("{text:?} has no key: write COLLECTION/KEY, e.g. player/42"))?;
        check_name("collection", collection)?;
        let key = key_from_text(key)?;
        check_key(&key)?;
        Ok(Address {
            collection: collection.into(),
            key,
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.collection, key_to_text(&self.key))
    }
}

impl From<&RecordKey> for Address {
    fn from(key: &RecordKey) -> Self {
        Address {
            collection: key.collection.clone(),
            key: key.key.to_vec(),
        }
    }
}

impl From<Address> for RecordKey {
    fn from(address: Address) -> Self {
        RecordKey {
            collection: address.collection,
            key: address.key.into(),
        }
    }
}

/// The bytes that a typed key (or prefix) stands for.
pub fn key_from_text(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let byte = rest
            .get(at + 1..at + 3)
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok())
            .ok_or_else(|| {
                format!("malformed % in key {text:?}: write %XX for a byte, %25 for a % itself")
            })?;
        bytes.push(byte);
        rest = &rest[at + 3..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(bytes)
}

/// A key as a person would type it.
pub fn key_to_text(key: &[u8]) -> String {
    let mut text = String::with_capacity(key.len());
    for chunk in key.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == '%' || c.is_control() {
                let mut utf8 = [0; 4];
                escape(c.encode_utf8(&mut utf8).as_bytes(), &mut text);
            } else {
                text.push(c);
            }
        }
        escape(chunk.invalid(), &mut text);
    }
    text
}

fn escape(bytes: &[u8], text: &mut String) {
    for byte in bytes {
        text.push_str(&format!("%{byte:02X}"));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_collection_ends_at_the_first_slash() {
        let address: Address = "guild/7/members".parse().unwrap();
        assert_eq!(address.collection, "guild");
        assert_eq!(address.key, b"7/members");
        assert_eq!(address.to_string(), "guild/7/members");
    }

    #[test]
    fn bytes_that_cannot_be_typed_are_percent_encoded() {
        let address: Address = "blob/%00%ff 100%25 ä".parse().unwrap();
        assert_eq!(address.key, b"\x00\xff 100% \xc3\xa4");
        assert_eq!(address.to_string(), "blob/%00%FF 100%25 ä");
    }

    #[test]
    fn bad_addresses_are_refused_with_the_remedy() {
        for (text, message) in [
            ("player", "write COLLECTION/KEY"),
            ("player/", "the key is empty"),
            ("Player/1", "invalid collection name"),
            ("/1", "the collection is empty"),
            ("player/50%", "%25 for a % itself"),
            ("player/%+1", "%25 for a % itself"),
            ("player/%ä", "%25 for a % itself"),
        ] {
            let error = text.parse::<Address>().unwrap_err();
            assert!(error.contains(message), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_key_comes_back_from_its_text(key: Vec<u8>) {
            prop_assert_eq!(key_from_text(&key_to_text(&key)).unwrap(), key);
        }
    }
}
