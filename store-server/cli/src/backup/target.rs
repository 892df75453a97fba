//! Where backups are, as it is typed.

use std::path;

use clap::Args;
use stillpoint_store_server::backup::Target;

use crate::failure::Failure;

/// Where the backups are, for commands that work on them without a server.
#[derive(Debug, Args)]
pub struct From {
    /// Where the backups are: a directory, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX
    #[arg(
        long,
        env = "STILLPOINT_BACKUP",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub from: String,
}

impl From {
    /// The target.
    pub fn open(&self) -> Result<Target, Failure> {
        Ok(Target::open(&absolute(&self.from)?)?)
    }
}

/// The target with a directory's whole path: the server may run elsewhere.
pub fn absolute(url: &str) -> Result<String, Failure> {
    if url.contains("://") {
        return Ok(url.into());
    }
    let path = path::absolute(url)?;
    path.into_os_string().into_string().map_err(|path| {
        Failure::usage(format_args!(
            "{} is no UTF-8: choose another directory",
            path.display()
        ))
    })
}
