//! The native half of the Lua client.
