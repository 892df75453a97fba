//! What a request leaves to the settings.

use std::path::{self, Path, PathBuf};

use stillpoint_proto::v1::StoreError;

use super::answer;
use crate::{
    backup::{BackupError, Key, Target},
    config::{BackupConfig, Config},
};

/// A target with the key in a file; an empty name stands for the one of the settings.
pub fn target(settings: &BackupConfig, url: &str, key_file: &str) -> Result<Target, StoreError> {
    open(settings, url, key_file).map_err(|error| answer::error(&error))
}

/// The same, for the server itself.
pub fn open(settings: &BackupConfig, url: &str, key_file: &str) -> Result<Target, BackupError> {
    let path = match key_file {
        "" => settings.key_file.as_deref(),
        path => Some(Path::new(path)),
    };
    Ok(Target::open(url)?.with_key(path.map(Key::read).transpose()?))
}

/// Most bytes to read per second, 0 for no limit: as a request says, which has 0 for what the settings say.
pub fn bytes_per_second(settings: &BackupConfig, requested: u64) -> u64 {
    match requested {
        0 => settings.bytes_per_second,
        u64::MAX => 0,
        requested => requested,
    }
}

/// Where stores are restored only to be looked at.
pub fn scratch(config: &Config) -> PathBuf {
    if let Some(scratch) = &config.backup.scratch {
        return scratch.clone();
    }
    let data_dir = path::absolute(&config.data_dir).unwrap_or(config.data_dir.clone());
    let name = data_dir.file_name().unwrap_or_default().to_string_lossy();
    data_dir.with_file_name(format!(".{name}.trial"))
}
