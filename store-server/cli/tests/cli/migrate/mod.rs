//! Migrations through the program, on a real server.

mod apply;
mod backup;
mod bench;
mod dry_run;
mod jobs;
mod load;
mod lost;
mod offline;
mod quarantine;
mod rollback;
mod scripts;
mod sessions;
mod versions;
