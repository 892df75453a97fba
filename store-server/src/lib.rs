//! Stillpoint's store.
