//! Where backups are, as it is typed.

use std::path::{self, Path};

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
        value_name = "URL",
        required = true
    )]
    // A subcommand may do without.
    from: Option<String>,
}

impl From {
    /// The target.
    pub fn open(&self) -> Result<Target, Failure> {
        Ok(Target::open(&self.url()?)?)
    }

    /// The target as a server is told of it.
    pub fn url(&self) -> Result<String, Failure> {
        match &self.from {
            Some(from) => absolute(from),
            None => Err(Failure::usage("say with --from where the backups are")),
        }
    }
}

/// The target with a directory's whole path: the server may run elsewhere.
pub fn absolute(url: &str) -> Result<String, Failure> {
    match url.contains("://") {
        true => Ok(url.into()),
        false => absolute_path(Path::new(url)),
    }
}

/// A whole path.
pub fn absolute_path(path: &Path) -> Result<String, Failure> {
    let path = path::absolute(path)?;
    path.into_os_string().into_string().map_err(|path| {
        Failure::usage(format_args!(
            "{} is no UTF-8: choose another directory",
            path.display()
        ))
    })
}
