//! Which processes: typed as options, sent as the contract's selection, and shown again in the audit.

use clap::Args;
use stillpoint_proto::{name::check_name, v1::Selection};

use crate::port::{DEFAULT_NAMESPACE, parse_namespace};

/// Which processes.
#[derive(Debug, Args)]
pub struct SelectionOptions {
    /// Namespace of the processes [default: default]
    #[arg(
        long,
        env = "STILLPOINT_NAMESPACE",
        hide_env_values = true,
        value_name = "NAME",
        value_parser = parse_namespace,
        help_heading = "Which processes"
    )]
    namespace: Option<String>,
    #[command(flatten)]
    which: Which,
}

/// One of these must be given, lest a forgotten option stand for everybody.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct Which {
    /// Those of this service
    #[arg(long, value_name = "NAME", value_parser = parse_service, help_heading = "Which processes")]
    service: Option<String>,
    /// Those with such an instance: * stands for any characters, ? for one
    #[arg(long, value_name = "PATTERN", value_parser = parse_pattern, help_heading = "Which processes")]
    instance: Option<String>,
    /// Those with this label, as given when they connected; may be repeated, then all must fit
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_label, help_heading = "Which processes")]
    label: Vec<(String, String)>,
    /// Really all of the namespace
    #[arg(
        long,
        conflicts_with_all = ["service", "instance", "label"],
        help_heading = "Which processes"
    )]
    all: bool,
}

impl SelectionOptions {
    /// As it is sent.
    pub fn to_selection(&self) -> Selection {
        let namespace = self.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
        Selection {
            namespace: namespace.into(),
            service: self.which.service.clone().unwrap_or_default(),
            instance: self.which.instance.clone().unwrap_or_default(),
            labels: self.which.label.iter().cloned().collect(),
            all: self.which.all,
        }
    }
}

/// A selection for people, without its namespace: `battle/battle-* zone=eu`, or `all`.
pub fn describe(selection: &Selection) -> String {
    let or_any = |text: &str| match text {
        "" => "*".to_owned(),
        text => text.to_owned(),
    };
    let mut parts = Vec::new();
    if !(selection.service.is_empty() && selection.instance.is_empty()) {
        let (service, instance) = (or_any(&selection.service), or_any(&selection.instance));
        parts.push(format!("{service}/{instance}"));
    }
    let mut labels: Vec<_> = (selection.labels.iter())
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    labels.sort();
    parts.extend(labels);
    if parts.is_empty() {
        parts.push("all".into());
    }
    parts.join(" ")
}

fn parse_service(text: &str) -> Result<String, String> {
    check_name("service", text).map(|()| text.into())
}

/// A pattern is a name when its wildcards are.
fn parse_pattern(text: &str) -> Result<String, String> {
    check_name("instance", &text.replace(['*', '?'], "x"))
        .map(|()| text.to_owned())
        .map_err(|_| {
            format!(
                "no instance can be {text:?}: use 1 to 64 of a-z 0-9 _ . - and the wildcards * ?"
            )
        })
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.into(), value.into())),
        _ => Err("write NAME=VALUE, e.g. zone=eu".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(service: &str, instance: &str, labels: &[(&str, &str)]) -> Selection {
        Selection {
            service: service.into(),
            instance: instance.into(),
            labels: (labels.iter())
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            ..Selection::default()
        }
    }

    #[test]
    fn a_selection_is_shown_as_short_as_it_is_clear() {
        assert_eq!(describe(&selection("", "", &[])), "all");
        assert_eq!(describe(&selection("battle", "", &[])), "battle/*");
        assert_eq!(describe(&selection("", "b-*", &[])), "*/b-*");
        let labels = [("zone", "eu"), ("build", "9")];
        assert_eq!(
            describe(&selection("battle", "b-?", &labels)),
            "battle/b-? build=9 zone=eu"
        );
        assert_eq!(describe(&selection("", "", &labels)), "build=9 zone=eu");
    }

    #[test]
    fn patterns_and_labels_that_can_fit_nobody_are_refused() {
        assert!(parse_pattern("battle-*").is_ok());
        assert!(parse_pattern("*").is_ok());
        assert!(parse_pattern("Battle-*").is_err());
        assert!(parse_pattern("").is_err());
        assert_eq!(parse_label("zone="), Ok(("zone".into(), String::new())));
        assert!(parse_label("=eu").is_err());
        assert!(parse_label("zone").is_err());
    }
}
