//! Migrations of records, driven through the library's door: scripts as text, documents as bytes.

mod bad_scripts;
mod chains;
mod exhaustion;
mod game;
mod kept;
mod properties;
mod sandbox;
mod support;
