//! Encryption of data files, with AES-256-GCM and a key that the operator keeps in a file.
//!
//! ```text
//! nonce (12 bytes, random) | ciphertext | tag (16 bytes)
//! ```
//!
//! The path of the file in the target is authenticated with it, so that no file can take the place of another. Random nonces
//! are safe for 2^32 files of one key, which are petabytes. Manifests are not encrypted: what there is can be listed, checked
//! for damage and removed without the key.

use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{self, Path},
};

use bytes::Bytes;
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    error::Unspecified,
    rand::{SecureRandom, SystemRandom},
};

use super::BackupError;
use crate::log::segment::sync_dir;

/// What manifests call it.
pub const CIPHER: &str = "aes-256-gcm";

const KEY_BYTES: usize = 32;

/// A key file has 64 digits and the end of the line; what is longer is none.
const KEY_FILE_BYTES_MAX: u64 = 128;

/// Bits of a file's mode that let others than its owner have it.
const MODE_OF_OTHERS: u32 = 0o077;

/// Only the owner reads and writes it.
const MODE: u32 = 0o600;

/// The purpose of the hash that a key's name is part of, so that it tells nothing of the key.
const ID_CONTEXT: &str = "stillpoint 2026-11-23 name of a backup key";

const ID_DIGITS: usize = 16;

/// A key.
pub struct Key {
    key: LessSafeKey,
    id: String,
}

impl Key {
    /// Reads the key in a file.
    pub fn read(path: &Path) -> Result<Key, BackupError> {
        let io_error = |source| BackupError::Io {
            path: path.to_owned(),
            source,
        };
        let refused = |detail: String| BackupError::KeyFile {
            path: path.to_owned(),
            detail,
        };
        let file = File::open(path).map_err(io_error)?;
        let meta = file.metadata().map_err(io_error)?;
        if !meta.is_file() {
            return Err(refused("is no file".into()));
        }
        if meta.mode() & MODE_OF_OTHERS != 0 {
            return Err(refused(format!(
                "can be read by others than its owner: take that right away with `chmod 600 {}`, and make a new key if \
                 somebody may have used it",
                path.display()
            )));
        }
        let mut text = Vec::new();
        file.take(KEY_FILE_BYTES_MAX)
            .read_to_end(&mut text)
            .map_err(io_error)?;
        let bytes = from_hex(text.trim_ascii()).ok_or_else(|| {
            refused(
                "is no key: it has to have 64 hexadecimal digits, as `stillpoint backup key` writes them"
                    .into(),
            )
        })?;
        Key::new(&bytes).map_err(|_| refused("is no key".into()))
    }

    /// Makes a key, and a file of it that must not be there yet.
    pub fn generate(path: &Path) -> Result<Key, BackupError> {
        let io_error = |source| BackupError::Io {
            path: path.to_owned(),
            source,
        };
        let no_random = |_| io_error(io::Error::other("the system gives no random numbers"));
        let mut bytes = [0; KEY_BYTES];
        SystemRandom::new().fill(&mut bytes).map_err(no_random)?;
        let key = Key::new(&bytes).map_err(no_random)?;
        let mut text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        text.push('\n');
        let options = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(MODE)
            .open(path);
        let mut file = options.map_err(io_error)?;
        file.write_all(text.as_bytes()).map_err(io_error)?;
        file.sync_all()
            .and_then(|()| sync_dir(&path::absolute(path)?))
            .map_err(io_error)?;
        Ok(key)
    }

    fn new(bytes: &[u8; KEY_BYTES]) -> Result<Key, Unspecified> {
        let hash = blake3::Hash::from_bytes(blake3::derive_key(ID_CONTEXT, bytes));
        Ok(Key {
            key: LessSafeKey::new(UnboundKey::new(&AES_256_GCM, bytes)?),
            id: hash.to_hex()[..ID_DIGITS].to_owned(),
        })
    }

    /// Its name: it tells keys apart, and nothing of them.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Encrypts the content of the file that is going to be at `path` in the target.
    pub(super) fn seal(&self, path: &str, plain: &[u8]) -> Result<Bytes, Unspecified> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce)?;
        let mut sealed =
            Vec::with_capacity(NONCE_LEN + plain.len() + self.key.algorithm().tag_len());
        sealed.extend(nonce);
        sealed.extend(plain);
        let tag = self.key.seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(path),
            &mut sealed[NONCE_LEN..],
        )?;
        sealed.extend(tag.as_ref());
        Ok(sealed.into())
    }

    /// Decrypts the content of the file at `path` in the target. Fails if it is not as this key has sealed it for this path.
    pub(super) fn open(&self, path: &str, sealed: &[u8]) -> Result<Bytes, Unspecified> {
        let (nonce, rest) = sealed.split_at_checked(NONCE_LEN).ok_or(Unspecified)?;
        let mut content = rest.to_vec();
        let nonce = Nonce::try_assume_unique_for_key(nonce)?;
        let plain_bytes = (self.key)
            .open_in_place(nonce, Aad::from(path), &mut content)?
            .len();
        content.truncate(plain_bytes);
        Ok(content.into())
    }
}

/// Without the key itself, which must not get into a log.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

fn from_hex(text: &[u8]) -> Option<[u8; KEY_BYTES]> {
    let mut bytes = [0; KEY_BYTES];
    if text.len() != 2 * KEY_BYTES {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let digit = |at: usize| char::from(digits[at]).to_digit(16);
        *byte = (digit(0)? * 16 + digit(1)?) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    fn key(byte: u8) -> Key {
        Key::new(&[byte; KEY_BYTES]).unwrap()
    }

    #[test]
    fn what_was_sealed_is_opened_by_the_same_key_for_the_same_path_only() {
        let plain = b"records".repeat(100);
        let sealed = key(1).seal("data/a/1", &plain).unwrap();
        assert_eq!(key(1).open("data/a/1", &sealed).unwrap(), plain);
        assert_ne!(key(1).seal("data/a/1", &plain).unwrap(), sealed);
        assert!(key(2).open("data/a/1", &sealed).is_err());
        assert!(key(1).open("data/b/1", &sealed).is_err());
        for at in [0, NONCE_LEN, sealed.len() - 1] {
            let mut flipped = sealed.to_vec();
            flipped[at] ^= 1;
            assert!(key(1).open("data/a/1", &flipped).is_err(), "{at}");
        }
        for bytes in 0..NONCE_LEN + 16 {
            assert!(
                key(1).open("data/a/1", &sealed[..bytes]).is_err(),
                "{bytes}"
            );
        }
        let nothing = key(1).seal("data/a/1", b"").unwrap();
        assert!(key(1).open("data/a/1", &nothing).unwrap().is_empty());
    }

    #[test]
    fn a_key_file_is_made_once_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let made = Key::generate(&path).unwrap();
        let read = Key::read(&path).unwrap();
        assert_eq!(made.id(), read.id());
        assert_eq!(made.id().len(), ID_DIGITS);
        let sealed = made.seal("x", b"y").unwrap();
        assert_eq!(read.open("x", &sealed).unwrap(), &b"y"[..]);
        assert!(
            Key::generate(&path).is_err(),
            "a key must not be overwritten"
        );
        assert_eq!(Key::read(&path).unwrap().id(), made.id());
        let text = fs::read_to_string(&path).unwrap();
        assert!(!format!("{read:?}").contains(&text[..8]));
    }

    #[test]
    fn a_key_has_the_same_name_in_every_build() {
        assert_eq!(key(7).id(), "06a46ba9bd08b2c9");
    }

    #[test]
    fn what_is_no_key_or_open_to_others_is_refused_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        Key::generate(&path).unwrap();
        for mode in [0o640, 0o604, 0o620] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = Key::read(&path).unwrap_err().to_string();
            assert!(error.contains("chmod 600"), "{error}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        Key::read(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        for text in ["", "abc", &"g".repeat(64), &"a".repeat(63), &"a".repeat(65)] {
            fs::write(&path, text).unwrap();
            let error = Key::read(&path).unwrap_err().to_string();
            assert!(error.contains("64 hexadecimal digits"), "{text}: {error}");
        }
        fs::write(&path, "A".repeat(64)).unwrap();
        Key::read(&path).unwrap();
        let missing = Key::read(&dir.path().join("none")).unwrap_err();
        assert!(missing.to_string().contains("none"), "{missing}");
    }
}
