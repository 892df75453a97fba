//! The built program, run as people and scripts run it, against real servers.

mod backup;
mod bench;
mod checkpoint;
mod demo;
mod dump_load;
mod history;
mod lua_watch;
mod management;
mod migrate;
mod records;
mod server;
mod sessions;
mod settings;
mod terminal;
