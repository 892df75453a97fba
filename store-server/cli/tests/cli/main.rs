//! The built program, run as people and scripts run it, against real servers.

mod bench;
mod demo;
mod dump_load;
mod lua_watch;
mod management;
mod records;
mod server;
mod sessions;
mod settings;
