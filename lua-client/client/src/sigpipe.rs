//! Writing to a connection whose other end is gone must be an error, not the end of the process.
//!
//! By default such a write raises SIGPIPE, which kills. Rust programs ignore it from the start; a Lua interpreter that
//! loads the client does not, and would die with the server.

use std::sync::Once;

static IGNORE: Once = Once::new();

/// Ignores SIGPIPE from now on, unless the program does something about it already.
pub(crate) fn ignore() {
    IGNORE.call_once(|| {
        // SAFETY: only what the signal does is asked and set, with pointers that live across the calls; a zeroed
        // `sigaction` is a valid one.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            let asked = libc::sigaction(libc::SIGPIPE, std::ptr::null(), &raw mut action);
            if asked == 0 && action.sa_sigaction == libc::SIG_DFL {
                libc::signal(libc::SIGPIPE, libc::SIG_IGN);
            }
        }
    });
}
