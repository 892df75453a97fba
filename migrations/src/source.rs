//! Scripts as files: `DIR/<namespace>/<collection>/0001_name.lua`.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use blake3::Hash;

/// The namespace folder whose scripts serve all namespaces.
pub const ANY_NAMESPACE: &str = "_any";

/// Longest script, in bytes.
pub const SCRIPT_BYTES_MAX: usize = 1 << 20;

/// Characters of a namespace's or a collection's name.
const NAME_LEN_MAX: usize = 64;

/// Digits of a number in a file's name, at least.
const NUMBER_DIGITS: usize = 4;

/// One script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The namespace it is for, or [`ANY_NAMESPACE`].
    pub namespace: String,
    /// The collection it is for.
    pub collection: String,
    /// The version that it makes, of the one before.
    pub number: u32,
    /// What it is called besides.
    pub name: String,
    /// The Lua in it.
    pub text: String,
    /// Of the text: tells whether an applied script was changed.
    pub hash: Hash,
}

impl Source {
    /// A script that comes from elsewhere than a file.
    pub fn new(
        namespace: impl Into<String>,
        collection: impl Into<String>,
        number: u32,
        name: impl Into<String>,
        text: impl Into<String>,
    ) -> Source {
        let text = text.into();
        Source {
            namespace: namespace.into(),
            collection: collection.into(),
            number,
            name: name.into(),
            hash: blake3::hash(text.as_bytes()),
            text,
        }
    }

    /// Its file's name: `0003_rename_gold.lua`.
    pub fn file_name(&self) -> String {
        file_name(self.number, &self.name)
    }

    /// Its file's path below the folder of all scripts.
    pub fn path(&self) -> String {
        format!(
            "{}/{}/{}",
            self.namespace,
            self.collection,
            self.file_name()
        )
    }

    /// Whether it is for records of this namespace and collection.
    pub fn serves(&self, namespace: &str, collection: &str) -> bool {
        self.collection == collection
            && (self.namespace == namespace || self.namespace == ANY_NAMESPACE)
    }
}

/// The name of a script's file.
pub fn file_name(number: u32, name: &str) -> String {
    format!("{number:0NUMBER_DIGITS$}_{name}.lua")
}

/// The number of the next script for records of this namespace and collection.
pub fn next_number(sources: &[Source], namespace: &str, collection: &str) -> u32 {
    let serving = sources
        .iter()
        .filter(|source| source.serves(namespace, collection));
    let last = serving.map(|source| source.number).max();
    last.unwrap_or(0).saturating_add(1)
}

/// Why a folder was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system refuses something.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is something that is no script; all of that.
    #[error("not a script: {}", list(.0))]
    Wrong(Vec<WrongFile>),
}

/// Something that is no script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongFile {
    /// Where it is, below the folder.
    pub path: PathBuf,
    /// What it has to be.
    pub wanted: &'static str,
}

impl fmt::Display for WrongFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (wanted: {})", self.path.display(), self.wanted)
    }
}

fn list(wrong: &[WrongFile]) -> String {
    let lines: Vec<_> = wrong.iter().map(ToString::to_string).collect();
    lines.join(", ")
}

const WANTED_NAMESPACE: &str = "a folder named as a namespace (1 to 64 of a-z 0-9 _ . -), or _any";
const WANTED_COLLECTION: &str = "a folder named as a collection (1 to 64 of a-z 0-9 _ . -)";
const WANTED_SCRIPT: &str =
    "a file named 0001_name.lua (a number from 1 on with 4 digits or more, a name of a-z 0-9 _ -)";
const WANTED_TEXT: &str = "UTF-8 text of at most 1 MiB";

/// Reads all scripts of a folder, in the order of namespace, collection and number. Names that begin with a dot are left
/// out.
///
/// # Errors
///
/// [`ReadError::Wrong`] names everything that is no script, so that none is forgotten for its name.
pub fn read_dir(folder: &Path) -> Result<Vec<Source>, ReadError> {
    let (mut sources, mut wrong) = (Vec::new(), Vec::new());
    for (namespace, namespace_folder) in entries(folder)? {
        let mut refuse = |path: PathBuf, wanted| {
            let path = path
                .strip_prefix(folder)
                .map(Path::to_owned)
                .unwrap_or(path);
            wrong.push(WrongFile { path, wanted });
        };
        if !namespace_folder.is_dir() || !is_name(&namespace) {
            refuse(namespace_folder, WANTED_NAMESPACE);
            continue;
        }
        for (collection, collection_folder) in entries(&namespace_folder)? {
            if !collection_folder.is_dir() || !is_name(&collection) {
                refuse(collection_folder, WANTED_COLLECTION);
                continue;
            }
            for (file, path) in entries(&collection_folder)? {
                let Some((number, name)) = parse_file_name(&file).filter(|_| path.is_file()) else {
                    refuse(path, WANTED_SCRIPT);
                    continue;
                };
                match read_text(&path)? {
                    Some(text) => {
                        sources.push(Source::new(&namespace, &collection, number, name, text))
                    }
                    None => refuse(path, WANTED_TEXT),
                }
            }
        }
    }
    if !wrong.is_empty() {
        return Err(ReadError::Wrong(wrong));
    }
    sources.sort_by(|a, b| {
        let key = |source: &Source| {
            (
                source.namespace.clone(),
                source.collection.clone(),
                source.number,
            )
        };
        key(a).cmp(&key(b))
    });
    Ok(sources)
}

/// What is in a folder, by name.
fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>, ReadError> {
    let failed = |source| ReadError::Io {
        path: folder.to_owned(),
        source,
    };
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if !name.starts_with('.') {
            entries.push((name, path));
        }
    }
    entries.sort();
    Ok(entries)
}

/// A script's text; `None`: it is too long, or not text.
fn read_text(path: &Path) -> Result<Option<String>, ReadError> {
    let bytes = fs::read(path).map_err(|source| ReadError::Io {
        path: path.to_owned(),
        source,
    })?;
    Ok(String::from_utf8(bytes)
        .ok()
        .filter(|text| text.len() <= SCRIPT_BYTES_MAX))
}

/// Number and name in a file's name.
fn parse_file_name(file: &str) -> Option<(u32, &str)> {
    let (digits, name) = file.strip_suffix(".lua")?.split_once('_')?;
    let is_number = digits.len() >= NUMBER_DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
    let is_name = !name.is_empty()
        && name.len() <= NAME_LEN_MAX
        && name
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'));
    let number = digits.parse().ok().filter(|number| *number > 0)?;
    // One number has one spelling.
    (is_number && is_name && file_name(number, name) == file).then_some((number, name))
}

/// Whether a namespace or a collection can be called so.
fn is_name(name: &str) -> bool {
    (1..=NAME_LEN_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_a_number_and_a_name() {
        let cases = [
            ("0001_purse.lua", Some((1, "purse"))),
            ("12345_a-b_c.lua", Some((12345, "a-b_c"))),
            ("0000_zero.lua", None),
            ("1_short.lua", None),
            ("00001_long.lua", None),
            ("0001_.lua", None),
            ("0001_Purse.lua", None),
            ("0001purse.lua", None),
            ("0001_purse.txt", None),
            ("99999999999_large.lua", None),
            ("+001_sign.lua", None),
        ];
        for (file, expected) in cases {
            assert_eq!(parse_file_name(file), expected, "{file}");
        }
    }

    #[test]
    fn a_folder_is_read_in_order_and_every_wrong_name_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &[u8]| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("game/player/0002_two.lua", b"return 2");
        write("game/player/0001_one.lua", b"return 1");
        write("_any/desk/0001_one.lua", b"return 1");
        write("game/player/.0001_one.lua.swp", b"");
        let sources = read_dir(folder.path()).unwrap();
        let paths: Vec<_> = sources.iter().map(Source::path).collect();
        assert_eq!(
            paths,
            [
                "_any/desk/0001_one.lua",
                "game/player/0001_one.lua",
                "game/player/0002_two.lua"
            ]
        );
        assert_eq!(sources[0].hash, blake3::hash(b"return 1"));
        for (namespace, collection, expected) in [
            ("game", "player", 3),
            ("game", "desk", 2),
            ("game", "shop", 1),
        ] {
            assert_eq!(next_number(&sources, namespace, collection), expected);
        }

        write("README.md", b"");
        write("game/notes.txt", b"");
        write("game/player/three.lua", b"");
        write("game/player/0003_binary.lua", b"\xff");
        write("Game/player/0001_one.lua", b"");
        let error = read_dir(folder.path()).unwrap_err();
        let ReadError::Wrong(wrong) = &error else {
            panic!("{error}");
        };
        let wrong: Vec<_> = wrong
            .iter()
            .map(|wrong| wrong.path.to_str().unwrap())
            .collect();
        let expected = [
            "Game",
            "README.md",
            "game/notes.txt",
            "game/player/0003_binary.lua",
            "game/player/three.lua",
        ];
        assert_eq!(wrong, expected);
        assert!(
            error
                .to_string()
                .contains("game/player/three.lua (wanted: a file named 0001_name.lua")
        );
    }
}
