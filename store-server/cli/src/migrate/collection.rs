//! Which collection is meant, as it is typed: `game/player`, or `player` in the command's namespace.

use std::str::FromStr;

use clap::Args;
use stillpoint_migrations::source::ANY_NAMESPACE;
use stillpoint_proto::{name::check_name, v1::CollectionName};

use crate::port::DEFAULT_NAMESPACE;

/// A collection as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collection {
    /// None was typed.
    namespace: Option<String>,
    collection: String,
}

impl FromStr for Collection {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (namespace, collection) = match text.split_once('/') {
            Some((namespace, collection)) => (Some(namespace), collection),
            None => (None, text),
        };
        if let Some(namespace) = namespace {
            check_namespace(namespace)?;
        }
        check_name("collection", collection).map_err(|error| {
            format!("{error}; a collection is named NAMESPACE/COLLECTION, e.g. game/player")
        })?;
        Ok(Collection {
            namespace: namespace.map(Into::into),
            collection: collection.into(),
        })
    }
}

/// A namespace, or the one that stands for all.
fn check_namespace(name: &str) -> Result<(), String> {
    match name {
        ANY_NAMESPACE => Ok(()),
        name => check_name("namespace", name),
    }
}

fn parse_namespace(text: &str) -> Result<String, String> {
    check_namespace(text).map(|()| text.into())
}

/// The namespace of collections that are typed without one.
#[derive(Debug, Args)]
pub struct Home {
    /// Namespace of collections that are named without one; _any stands for all [default: default]
    #[arg(
        long,
        env = "STILLPOINT_NAMESPACE",
        hide_env_values = true,
        value_name = "NAME",
        value_parser = parse_namespace
    )]
    namespace: Option<String>,
}

impl Home {
    /// The collection, with its namespace.
    pub fn find(&self, typed: &Collection) -> CollectionName {
        let namespace = typed.namespace.as_ref().or(self.namespace.as_ref());
        CollectionName {
            namespace: namespace.map_or(DEFAULT_NAMESPACE, String::as_str).into(),
            collection: typed.collection.clone(),
        }
    }

    /// The same of several.
    pub fn find_all(&self, typed: &[Collection]) -> Vec<CollectionName> {
        typed.iter().map(|typed| self.find(typed)).collect()
    }
}

/// A collection's name for people, as it could be typed: `game/player`.
pub fn name(collection: &CollectionName) -> String {
    format!("{}/{}", collection.namespace, collection.collection)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(typed: &str, namespace: Option<&str>) -> String {
        let namespace = namespace.map(Into::into);
        name(&Home { namespace }.find(&typed.parse().unwrap()))
    }

    #[test]
    fn a_collection_without_a_namespace_is_in_that_of_the_command() {
        assert_eq!(found("player", None), "default/player");
        assert_eq!(found("player", Some("game")), "game/player");
        assert_eq!(found("world/player", Some("game")), "world/player");
        assert_eq!(found("_any/player", None), "_any/player");
    }

    #[test]
    fn bad_names_are_refused_with_the_form() {
        for text in [
            "",
            "game/",
            "/player",
            "game/Player",
            "game/player/42",
            "Game/player",
        ] {
            let error = text.parse::<Collection>().unwrap_err();
            assert!(error.contains("name"), "{text}: {error}");
        }
    }
}
