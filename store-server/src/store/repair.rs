//! Saves what can be saved from a damaged data directory.
