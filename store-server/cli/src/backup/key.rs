//! The file of the key that backups are encrypted with, as it is typed.

use std::path::PathBuf;

use clap::Args;
use stillpoint_store_server::backup::Key;

use super::target::absolute_path;
use crate::failure::Failure;

/// The key of encrypted backups.
#[derive(Debug, Args)]
pub struct KeyFile {
    /// The file with the key of encrypted backups, as `stillpoint backup key` makes it
    #[arg(
        long,
        env = "STILLPOINT_BACKUP_KEY_FILE",
        hide_env_values = true,
        value_name = "FILE"
    )]
    key_file: Option<PathBuf>,
}

impl KeyFile {
    /// Reads the key, if a file was named.
    pub fn read(&self) -> Result<Option<Key>, Failure> {
        let path = self.key_file.as_deref();
        Ok(path.map(Key::read).transpose()?)
    }

    /// The file as the server is told of it; empty: none was named.
    pub fn for_server(&self) -> Result<String, Failure> {
        match &self.key_file {
            None => Ok(String::new()),
            Some(path) => absolute_path(path),
        }
    }
}
