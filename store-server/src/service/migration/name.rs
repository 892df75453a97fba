//! The name of a collection in a namespace.

use std::fmt;

use stillpoint_migrations::source::ANY_NAMESPACE;
use stillpoint_proto::{
    name::check_name,
    v1::{CollectionName, Reason, StoreError},
};

/// A collection of a namespace, or of those that have nothing of their own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name {
    /// The namespace, or [`ANY_NAMESPACE`].
    pub namespace: String,
    /// The collection.
    pub collection: String,
}

impl Name {
    /// A name that is right.
    pub fn new(namespace: impl Into<String>, collection: impl Into<String>) -> Name {
        Name {
            namespace: namespace.into(),
            collection: collection.into(),
        }
    }

    /// The name that a request has to have.
    pub fn asked(name: Option<CollectionName>) -> Result<Name, StoreError> {
        let name = name.unwrap_or_default();
        for (what, text) in [
            ("namespace", &name.namespace),
            ("collection", &name.collection),
        ] {
            check_name(what, text).map_err(|message| StoreError::new(Reason::Invalid, message))?;
        }
        Ok(Name::new(name.namespace, name.collection))
    }

    /// Whether it stands for what counts in namespaces that have nothing of their own.
    pub fn is_any(&self) -> bool {
        self.namespace == ANY_NAMESPACE
    }

    /// The same collection of another namespace.
    pub fn within(&self, namespace: &str) -> Name {
        Name::new(namespace, &*self.collection)
    }

    /// The name for an answer.
    pub fn to_proto(&self) -> CollectionName {
        CollectionName {
            namespace: self.namespace.clone(),
            collection: self.collection.clone(),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.collection)
    }
}

/// By namespace and collection, `_any` last: what is done everywhere is done there when nothing else is left.
impl Ord for Name {
    fn cmp(&self, other: &Name) -> std::cmp::Ordering {
        let key = |name: &Name| {
            (
                name.is_any(),
                name.namespace.clone(),
                name.collection.clone(),
            )
        };
        key(self).cmp(&key(other))
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Name) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
