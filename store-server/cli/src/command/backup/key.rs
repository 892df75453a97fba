//! `stillpoint backup key`: makes a key to encrypt backups with.

use std::path::PathBuf;

use clap::Args;
use stillpoint_store_server::backup::Key;

use super::EXIT_CODES;
use crate::{
    failure::Failure,
    output::{print_json, print_text},
    record::object,
};

const AFTER_HELP: &str = "\
The file has the key in 64 hexadecimal digits, for its owner only, and is never
overwritten. Whoever has it can read the backups; without it nobody can: keep a
copy in another place than the store and the backups. Every command that encrypts
or decrypts takes the file with --key-file or STILLPOINT_BACKUP_KEY_FILE, the
server with the setting backup.key_file. Each backup tells the name of its key.

Examples:
  stillpoint backup key --out /etc/stillpoint/backup.key
  stillpoint backup create --to s3://backups/world1 --key-file /etc/stillpoint/backup.key";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = format!("{AFTER_HELP}\n\n{EXIT_CODES}"))]
pub struct Options {
    /// The file to make
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Makes it.
pub fn run(options: Options, json: bool) -> Result<(), Failure> {
    let key = Key::generate(&options.out)?;
    let path = options.out.display();
    match json {
        true => print_json(
            &object([
                ("key_id", key.id().into()),
                ("path", path.to_string().into()),
            ]),
            false,
        )?,
        false => print_text(&format!(
            "made key {} in {path}\nkeep a copy in another place: without it nobody can read what is encrypted with it\n",
            key.id()
        ))?,
    }
    Ok(())
}
