//! Versions of the records' schemas in the store: what counts, what each caller sees, what is stored.
//!
//! - `world`: a store with its services, and callers of different versions. `steps`: random scripts, in Lua and in Rust.
//! - `random`: random histories; everything that is read and stored is what the functions by hand make of it.
//! - `sessions`: the versions that a session speaks, and those that it cannot. `claims`: what an old session may own.
//! - `broken`: records that cannot be migrated. `commits`: how versions are changed, and what goes on meanwhile.
//! - `answers`: answers that are given again, or become larger. `kept`: what a start of the server does not change.
//! - `older`: what callers of older versions may write. `named`: operations that name a version. `slow`: scripts that need long.
//! - `heirs`: what a successor may own. `repeats`: answers to writes that were done, whatever becomes of their records.

mod answers;
mod broken;
mod claims;
mod commits;
mod heirs;
mod kept;
mod named;
mod older;
mod random;
mod repeats;
mod sessions;
mod slow;
mod steps;
mod world;
