//! Waiting for holders to come.

use std::sync::Arc;

use super::{SessionKey, hub::Hub};
use crate::store::session::Session;

impl Hub {
    /// Waits until an identity has a holder that is there and came after the one with this fence; gives its session.
    pub async fn successor(
        &self,
        namespace: &Arc<str>,
        identity: &str,
        fence: u64,
    ) -> Arc<Session> {
        self.seen(|| {
            let session = self.session_of(namespace, identity)?;
            let came = session.fence > fence && self.is_there(namespace, &session);
            came.then_some(session)
        })
        .await
    }

    /// Waits until an identity has a holder that is there, or no session.
    pub async fn settled(&self, namespace: &Arc<str>, identity: &str) {
        self.seen(|| match self.session_of(namespace, identity) {
            Some(session) => self.is_there(namespace, &session).then_some(()),
            None => Some(()),
        })
        .await;
    }

    /// Looks whenever a holder has come or gone, until something is seen.
    async fn seen<T>(&self, look: impl Fn() -> Option<T>) -> T {
        // From before the first look on, so that no change falls between a look and the waiting.
        let mut moved = self.state.lock().presences.moved.subscribe();
        loop {
            if let Some(seen) = look() {
                return seen;
            }
            // It cannot fail: the hub has the sender.
            let _ = moved.changed().await;
        }
    }

    fn session_of(&self, namespace: &str, identity: &str) -> Option<Arc<Session>> {
        self.store()
            .index()
            .session_of(namespace, identity)
            .cloned()
    }

    /// Whether the holder that a session has is there.
    fn is_there(&self, namespace: &Arc<str>, session: &Session) -> bool {
        let key = SessionKey {
            namespace: namespace.clone(),
            id: session.id.clone(),
        };
        let mut there = false;
        self.with_presence(&key, |presence| {
            there = presence.session.fence == session.fence && presence.attached().is_some();
        });
        there
    }
}
