//! Notices that the process was forked.
//!
//! A child shares the parent's sockets and epoll instance and has none of its threads; whatever it does with them
//! breaks the parent. So a child must not touch what it inherited, not even to drop it.

use std::sync::{
    Once,
    atomic::{AtomicU64, Ordering},
};

static GENERATION: AtomicU64 = AtomicU64::new(0);
static REGISTER: Once = Once::new();

/// Which process this is: grows by one in each child. Costs one load, where `getpid` is a system call.
pub(crate) fn generation() -> u64 {
    GENERATION.load(Ordering::Relaxed)
}

/// Begins to count; without it `generation` stays the same.
pub(crate) fn watch() {
    REGISTER.call_once(|| {
        // SAFETY: the handler only adds to an atomic, which is allowed between `fork` and `exec`, and it lives as long as
        // the process: the shared object is linked with `nodelete`.
        let refused = unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
        assert_eq!(refused, 0, "out of memory while registering a fork handler");
    });
}

extern "C" fn in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}
