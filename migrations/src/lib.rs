//! Steps between data formats.
//!
//! [`mod@format`] has the store's own on-disk format: its number, and what a program does with a directory of another one.
//! Directories of every format there ever was are kept in `migrations/fixtures/` and opened by a test for ever.

pub mod format;
