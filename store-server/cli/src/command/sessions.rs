//! `stillpoint sessions`: the logic processes, by what they are to the store.

use std::{collections::BTreeSet, time::Duration};

use clap::Args;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use rmpv::Value;
use stillpoint_proto::{
    name::check_name,
    v1::{SessionState, SessionStatus},
};

use crate::{
    failure::Failure,
    output::{self, is_terminal, plain_table},
    port::{AdminPort, parse_namespace},
    record::object,
};

const AFTER_HELP: &str = "\
A session is what a logic process is to the store: an instance of a service,
which its successor takes over. It is
  attached  while its process is there,
  detached  when the process is gone: a successor takes it over at once, or it
            ends when its lifetime (TTL) has passed,
  released  when the process left it to a successor.
FENCE grows with each process that held it, and HOLDERS counts them. UNSAVED are
the documents with changes that the store has not acknowledged, and the age of
the oldest of these, as the process last said. VERSIONS are those of the collections
that have migrations, as the session reads and writes them. With --json: one object a
line.

Examples:
  stillpoint sessions
  stillpoint sessions --service battle
  stillpoint sessions --json | jq -r 'select(.state == \"detached\") | .session'
";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Options {
    /// Only sessions of this namespace
    #[arg(
        long,
        env = "STILLPOINT_NAMESPACE",
        hide_env_values = true,
        value_name = "NAME",
        value_parser = parse_namespace
    )]
    namespace: Option<String>,
    /// Only instances of this service
    #[arg(long, value_name = "NAME", value_parser = parse_service)]
    service: Option<String>,
    #[command(flatten)]
    port: AdminPort,
}

fn parse_service(text: &str) -> Result<String, String> {
    check_name("service", text).map(|()| text.into())
}

/// Lists the sessions.
pub fn run(options: Options, json: bool) -> Result<(), Failure> {
    let mut port = options.port.connect()?;
    let namespace = options.namespace.unwrap_or_default();
    let sessions = port
        .sessions(&namespace, &options.service.unwrap_or_default())?
        .sessions;
    if json {
        for session in &sessions {
            output::print_json(&to_value(session), false)?;
        }
        return Ok(());
    }
    if sessions.is_empty() {
        eprintln!("no sessions");
        return Ok(());
    }
    Ok(output::print_table(&table(&sessions))?)
}

/// The sessions for people; with their namespaces where there are several.
fn table(sessions: &[SessionStatus]) -> Table {
    let namespaces: BTreeSet<&str> = sessions.iter().map(|s| s.namespace.as_str()).collect();
    let with_namespace = namespaces.len() > 1;
    let with_versions = sessions.iter().any(|session| !session.schemas.is_empty());
    let mut table = plain_table();
    if is_terminal() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    let mut header = vec![
        "SESSION",
        "STATE",
        "FENCE",
        "HOLDERS",
        "AGE",
        "LAST SEEN",
        "CLAIMS",
        "UNSAVED",
        "CODE",
        "LABELS",
    ];
    if with_versions {
        header.push("VERSIONS");
    }
    if with_namespace {
        header.insert(0, "NAMESPACE");
    }
    for session in sessions {
        let mut row = row(session);
        if with_versions {
            row.push(versions(session));
        }
        if with_namespace {
            row.insert(0, session.namespace.clone());
        }
        table.add_row(row);
    }
    for (column, name) in table.column_iter_mut().zip(&header) {
        if matches!(*name, "FENCE" | "HOLDERS" | "CLAIMS") {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.set_header(header);
    table
}

fn row(session: &SessionStatus) -> Vec<String> {
    let unsaved = match session.unsaved_documents {
        0 => "0".to_owned(),
        documents => format!("{documents}, oldest {}", age(session.oldest_unsaved_ms)),
    };
    let mut labels: Vec<_> = (session.labels.iter())
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    labels.sort();
    vec![
        format!("{}/{}", session.service, session.instance),
        state_name(session.state()).into(),
        session.fence.to_string(),
        session.holders.to_string(),
        age(session.age_ms),
        format!("{} ago", age(session.last_seen_ms)),
        session.claims.to_string(),
        unsaved,
        session.code_version.clone(),
        labels.join(" "),
    ]
}

/// The versions that it speaks, by collection.
fn versions(session: &SessionStatus) -> String {
    let mut versions: Vec<_> = (session.schemas.iter())
        .map(|(collection, version)| format!("{collection}={version}"))
        .collect();
    versions.sort();
    versions.join(" ")
}

fn state_name(state: SessionState) -> &'static str {
    match state {
        SessionState::Unspecified => "unknown",
        SessionState::Attached => "attached",
        SessionState::Detached => "detached",
        SessionState::Released => "released",
    }
}

/// A time for people, to its two largest units: `3h 12m`.
fn age(ms: u64) -> String {
    let text = humantime::format_duration(Duration::from_millis(ms)).to_string();
    let parts: Vec<_> = text.split(' ').take(2).collect();
    parts.join(" ")
}

/// A session for programs: the fields of the contract, by their names.
fn to_value(session: &SessionStatus) -> Value {
    let mut labels: Vec<_> = (session.labels.iter())
        .map(|(name, value)| (name.as_str().into(), value.as_str().into()))
        .collect();
    labels.sort_by(|(a, _): &(Value, Value), (b, _)| a.as_str().cmp(&b.as_str()));
    let mut schemas: Vec<_> = (session.schemas.iter())
        .map(|(collection, version)| (collection.as_str().into(), (*version).into()))
        .collect();
    schemas.sort_by(|(a, _): &(Value, Value), (b, _)| a.as_str().cmp(&b.as_str()));
    object([
        ("namespace", session.namespace.as_str().into()),
        (
            "session",
            format!("{}/{}", session.service, session.instance).into(),
        ),
        ("service", session.service.as_str().into()),
        ("instance", session.instance.as_str().into()),
        ("session_id", session.session_id.as_str().into()),
        ("fence", session.fence.into()),
        ("state", state_name(session.state()).into()),
        ("age_ms", session.age_ms.into()),
        ("holder_age_ms", session.holder_age_ms.into()),
        ("last_seen_ms", session.last_seen_ms.into()),
        ("ttl_ms", session.ttl_ms.into()),
        ("claims", session.claims.into()),
        ("unsaved_documents", session.unsaved_documents.into()),
        ("oldest_unsaved_ms", session.oldest_unsaved_ms.into()),
        ("holders", session.holders.into()),
        ("labels", Value::Map(labels)),
        ("code_version", session.code_version.as_str().into()),
        ("client_name", session.client_name.as_str().into()),
        ("schemas", Value::Map(schemas)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(namespace: &str, instance: &str) -> SessionStatus {
        SessionStatus {
            namespace: namespace.into(),
            service: "battle".into(),
            instance: instance.into(),
            fence: 12,
            state: SessionState::Detached.into(),
            age_ms: 3_723_004,
            last_seen_ms: 250,
            claims: 7,
            unsaved_documents: 3,
            oldest_unsaved_ms: 1_200,
            holders: 4,
            labels: [("zone", "eu"), ("build", "9")]
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .into(),
            code_version: "1.4.2".into(),
            ..SessionStatus::default()
        }
    }

    fn words(table: &Table) -> Vec<Vec<String>> {
        let cells = |line: String| line.split("  ").map(|c| c.trim().to_owned()).collect();
        let lines = table.lines().map(cells);
        lines
            .map(|cells: Vec<String>| cells.into_iter().filter(|c| !c.is_empty()).collect())
            .collect()
    }

    #[test]
    fn the_table_tells_a_person_what_a_successor_would_take_over() {
        let lines = words(&table(&[session("world", "battle-3")]));
        let header = lines[0].join("|");
        assert_eq!(
            header,
            "SESSION|STATE|FENCE|HOLDERS|AGE|LAST SEEN|CLAIMS|UNSAVED|CODE|LABELS"
        );
        assert_eq!(
            lines[1].join("|"),
            "battle/battle-3|detached|12|4|1h 2m|250ms ago|7|3, oldest 1s 200ms|1.4.2|build=9 zone=eu"
        );
    }

    #[test]
    fn versions_are_shown_where_there_are_some() {
        let mut speaks = session("world", "battle-4");
        speaks.schemas = [("player", 3), ("guild", 1)]
            .map(|(collection, version)| (collection.to_owned(), version))
            .into();
        let lines = words(&table(&[speaks, session("world", "battle-3")]));
        assert_eq!(lines[0].last().unwrap(), "VERSIONS");
        assert_eq!(lines[1].last().unwrap(), "guild=1 player=3");
        assert_eq!(lines[2].last().unwrap(), "build=9 zone=eu");
    }

    #[test]
    fn several_namespaces_are_told_apart() {
        let lines = words(&table(&[session("one", "a"), session("two", "a")]));
        let first: Vec<_> = lines.iter().map(|cells| cells[0].as_str()).collect();
        assert_eq!(first, ["NAMESPACE", "one", "two"]);
    }
}
