//! Stillpoint's client.
