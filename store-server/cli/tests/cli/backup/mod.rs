//! Backups of a real server, and stores made from them.

mod expire;
mod live;
mod live_busy;
mod live_killed;
mod pull;
mod records;
mod restore;
mod schedule;
mod take;
pub mod target;
mod written;
