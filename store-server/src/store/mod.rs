//! The store: its rules, its one writer, its view.
//!
//! # Layout, in the order a write meets it
//!
//! - `request`: what comes in and goes out.
//! - `validate`: what an operation must be like.
//! - `shared`: the queue to the writer, the gate, counters.
//! - `writer`: the one writer; `due`: what it does by itself.
//! - `dedup`: the table of answers, for writes that are sent again.
//! - `evaluate`: what each operation does, to a `draft` of the state; `session` and `timer`: what theirs do,
//!   `claimed`: what a claim's record says.
//! - `index`: sessions, claims and timers, as the writer and those who wait for them look them up.
//! - `own_record`: what the store writes by itself. `audit`: what operators have asked. `mark`: moments that have a label.
//! - `once`: the table of writes that have a name.
//! - `view`: what is readable; `applier` brings it into the engine, in front of which is a `cache`.
//! - `read`: how reads are answered. `feed`: how watches hear of commits. `history`: which of them wrote a record.
//! - `expiry`, `checkpoint`: what is done in between.
//! - `datadir`, `open`, `repair`: the way from a directory to a store.
//! - `moment`: what records were like, as far as the log tells; `at_rest`, as a backup does. `give_back`: how they are written.
//! - `schema`: versions of the records' schemas, and the way between them. `unmigrated`: what records were before.
//! - `copy`, `copying`: what a backup reads of a store, and how. `fill`, `build`: how a store is made of a backup. `swap`: how
//!   it takes another's place.
//! - `retire`: a store on its way out.
//! - `thread`: the store's own threads.
//! - `state_hash`: what the whole store contains, in 16 bytes.
//! - `keys`, `record`: what the view's bytes mean.

mod applier;
mod at_rest;
mod audit;
mod build;
mod cache;
mod checkpoint;
mod claimed;
mod clock;
mod copy;
pub(crate) mod copying;
mod datadir;
mod dedup;
mod draft;
mod due;
mod evaluate;
mod expiry;
pub mod feed;
mod fill;
mod found;
pub(crate) mod give_back;
mod handle;
pub mod history;
pub mod index;
pub mod keys;
mod mark;
pub(crate) mod moment;
mod once;
mod open;
mod own_record;
mod read;
pub mod record;
pub mod repair;
pub mod request;
mod retire;
pub mod schema;
pub mod session;
mod shared;
mod sight;
pub mod state_hash;
mod swap;
mod thread;
pub mod timer;
pub(crate) mod unmigrated;
mod validate;
mod view;
mod writer;

pub(crate) use at_rest::AtRest;
pub(crate) use build::{BuildError, Builder};
pub use clock::now_ms as server_time_ms;
pub(crate) use copy::CopySource;
pub use datadir::DataDirError;
pub use found::Found;
pub use handle::{Reader, State, Status, Store};
pub use open::OpenError;
pub use own_record::Committed;
pub(crate) use retire::Paused;
pub(crate) use swap::{Beside, Swap, is_mount_point};
pub(crate) use view::Applied;
pub use view::Namespace;
