//! Backups of a real server, and stores made from them.

mod expire;
mod restore;
mod take;
mod target;
mod written;
