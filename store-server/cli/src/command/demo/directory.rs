//! The demo's directory.
//!
//! ```text
//! DIR/.stillpoint-demo   says whose this directory is; locked while a demo runs
//! DIR/data/              the store
//! DIR/game/              the scripts, for the user to read and to change
//! DIR/journal/           what each worker says that it did
//! DIR/store.log, workers.log
//! ```

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use crate::{failure::Failure, own_program::typed_path};

const MARKER: &str = ".stillpoint-demo";

/// A script of the game: its name and its text.
macro_rules! script {
    ($name:literal) => {
        (
            $name,
            include_str!(concat!("../../../../../examples/game/", $name)),
        )
    };
}

/// One of its migrations.
macro_rules! migration {
    ($name:literal) => {
        (
            concat!("migrations/", $name),
            include_str!(concat!("../../../../../migrations/demo/", $name)),
        )
    };
}

/// The game.
const SCRIPTS: [(&str, &str); 18] = [
    script!("check.lua"),
    script!("desk.lua"),
    script!("journal.lua"),
    script!("main.lua"),
    migration!("game/player/0001_purse.lua"),
    migration!("game/player/0002_split_stats.lua"),
    migration!("game/player/0003_level.lua"),
    migration!("game/shop/0001_till.lua"),
    script!("players.lua"),
    script!("rules.lua"),
    script!("rules_new.lua"),
    script!("setup.lua"),
    script!("shape.lua"),
    script!("shape_new.lua"),
    script!("shop.lua"),
    script!("trade.lua"),
    script!("try.lua"),
    script!("world.lua"),
];

/// A script that an act replaces by another.
#[derive(Debug)]
pub struct Replaced {
    name: &'static str,
    by: &'static str,
}

/// The rules of the game, in the second act.
pub const RULES: Replaced = Replaced {
    name: "rules.lua",
    by: "rules_new.lua",
};

/// The shape of its documents, in the third.
pub const SHAPE: Replaced = Replaced {
    name: "shape.lua",
    by: "shape_new.lua",
};

/// A script as we ship it.
fn script_text(name: &str) -> &'static [u8] {
    let found = SCRIPTS.iter().find(|(shipped, _)| *shipped == name);
    found.map_or(&[], |(_, text)| text.as_bytes())
}

/// A directory with the scripts in it, and nothing that an earlier demo left.
#[derive(Debug)]
pub struct Directory {
    root: PathBuf,
    /// Scripts that are not as we ship them.
    pub changed_scripts: Vec<&'static str>,
    _lock: File,
}

impl Directory {
    /// Makes the directory, or clears one of an earlier demo: all but the scripts, which the user may have changed.
    pub fn prepare(root: &Path) -> Result<Self, Failure> {
        let root = root.to_owned();
        let at = |error: io::Error| Failure::usage(error).at(root.display());
        fs::create_dir_all(&root).map_err(at)?;
        let is_empty = fs::read_dir(&root).map_err(at)?.next().is_none();
        if !is_empty && !root.join(MARKER).exists() {
            return Err(Failure::usage(format_args!(
                "{} is not empty, and no demo made it",
                root.display()
            ))
            .hint("name another directory with --dir"));
        }
        let lock = File::create(root.join(MARKER)).map_err(at)?;
        lock_or_refuse(&lock, "a demo", &root)?;
        refuse_running_store(&root)?;
        for part in ["data", "journal"] {
            remove(fs::remove_dir_all(root.join(part))).map_err(at)?;
        }
        for part in ["store.log", "workers.log"] {
            remove(fs::remove_file(root.join(part))).map_err(at)?;
        }
        for part in ["game", "journal"] {
            fs::create_dir_all(root.join(part)).map_err(at)?;
        }
        let changed_scripts = write_scripts(&root.join("game")).map_err(at)?;
        Ok(Directory {
            root,
            changed_scripts,
            _lock: lock,
        })
    }

    /// The directory itself, as a person would type it.
    pub fn typed(&self) -> String {
        typed_path(&self.root)
    }

    /// A file or folder in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The path of a script of the game.
    pub fn script(&self, name: &str) -> String {
        self.root.join("game").join(name).display().to_string()
    }

    /// Replaces a script, as whoever deploys a new version would: nobody ever reads half of it.
    pub fn replace(&self, script: &Replaced) -> io::Result<()> {
        let new = self.script(&format!("{}.new", script.name));
        fs::copy(self.script(script.by), &new)?;
        fs::rename(&new, self.script(script.name))
    }

    /// Whether the game is another than ours: the user has changed it, or an older program made it.
    pub fn has_another_game(&self) -> bool {
        self.changed_scripts.iter().any(|name| *name != "try.lua")
    }

    /// The store's operator's port.
    pub fn admin_url(&self) -> String {
        format!("unix:{}", self.path("data/admin.sock").display())
    }

    /// The store's data port.
    pub fn url(&self) -> String {
        format!("unix:{}", self.path("data/stillpoint.sock").display())
    }
}

/// Fails if another process holds the lock.
fn lock_or_refuse(lock: &File, who: &str, place: &Path) -> Result<(), Failure> {
    match lock.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(Failure::usage(format_args!(
            "{who} is running in {}",
            place.display()
        ))
        .hint("stop it, or name another directory with --dir")),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// The store that the user started after an earlier demo must not lose its files.
fn refuse_running_store(root: &Path) -> Result<(), Failure> {
    let data = root.join("data");
    match File::open(data.join("lock")) {
        Ok(lock) => lock_or_refuse(&lock, "a store", &data),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Writes the scripts that are not there, and those that an earlier demo has replaced; returns the names of those that are
/// there and differ.
fn write_scripts(folder: &Path) -> io::Result<Vec<&'static str>> {
    let mut changed = Vec::new();
    for (name, text) in SCRIPTS {
        let path = folder.join(name);
        let by = [RULES, SHAPE]
            .iter()
            .find(|replaced| replaced.name == name)
            .map(|replaced| replaced.by);
        match fs::read(&path) {
            Ok(found) if found == text.as_bytes() => {}
            Ok(found) if by.is_some_and(|by| found == script_text(by)) => fs::write(&path, text)?,
            Ok(_) => changed.push(name),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if let Some(parent) = path.parent() {
                    fs::create_dir_all(parent)?;
                }
                fs::write(&path, text)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(changed)
}

/// That there is nothing to remove is fine.
fn remove(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}
