//! What `core.connect` is told.

use std::{os::raw::c_int, time::Duration};

use stillpoint_client::{Config, SessionConfig};

use crate::{
    entry::Call,
    op::reader::{Reader, Reject, misuse},
};

/// The longest that `connect` keeps trying: a time that a clock can still add up.
const PATIENCE_MAX: Duration = Duration::from_secs(365 * 86_400);

/// Reads the options, which are the first argument.
pub(super) fn read(call: &Call) -> Result<Config, Reject> {
    let mut reader = Reader::new(call, Default::default());
    reader.reserve()?;
    let mut config = Config::new("", "");
    config.endpoints.clear();
    let mut session = SessionConfig::new("", "");
    reader.each_field(1, "connect", |reader, name, at| {
        match name {
            b"endpoints" => reader.each_item(at, "endpoints", |reader, _, at| {
                config.endpoints.push(reader.text(at, "endpoint")?);
                Ok(())
            })?,
            b"namespace" => config.namespace = reader.text(at, "namespace")?,
            b"client_name" => config.client_name = reader.text(at, "client_name")?,
            b"deadline" => config.deadline = reader.seconds(at, "deadline")?,
            b"patience" => {
                config.connect_patience = reader.seconds(at, "patience")?.min(PATIENCE_MAX)
            }
            _ => read_session(reader, name, at, &mut session)?,
        }
        Ok(())
    })?;
    config.connect_timeout = config.connect_timeout.min(config.deadline);
    config.session = match (session.service.is_empty(), session.instance.is_empty()) {
        (true, true) => None,
        (false, false) => Some(session),
        _ => return Err(misuse("connect", "service and instance, or neither")),
    };
    Ok(config)
}

fn read_session(
    reader: &mut Reader<'_>,
    name: &[u8],
    at: c_int,
    session: &mut SessionConfig,
) -> Result<(), Reject> {
    match name {
        b"service" => session.service = reader.text(at, "service")?,
        b"instance" => session.instance = reader.text(at, "instance")?,
        b"takeover" => session.takeover = reader.flag(at, "takeover")?,
        b"resume_token" => session.resume_token = reader.hex(at, "resume_token")?,
        b"ttl" => session.ttl = reader.seconds(at, "ttl")?,
        b"session_wait" => session.wait = reader.seconds(at, "session_wait")?,
        b"labels" => reader.each_field(at, "labels", |reader, name, at| {
            let label = reader.text(at, "label")?;
            session.labels.insert(text_of(name, "labels")?, label);
            Ok(())
        })?,
        b"schemas" => reader.each_field(at, "schemas", |reader, name, at| {
            let version = reader.count32(at, "version")?;
            session.schemas.insert(text_of(name, "schemas")?, version);
            Ok(())
        })?,
        b"code_version" => session.code_version = reader.text(at, "code_version")?,
        _ => return Err(misuse("connect", "only known options")),
    }
    Ok(())
}

/// A field's name that is UTF-8.
fn text_of(name: &[u8], what: &str) -> Result<String, Reject> {
    match std::str::from_utf8(name) {
        Ok(name) => Ok(name.to_owned()),
        Err(_) => Err(Reject::invalid(format!("{what}: a name is not UTF-8"))),
    }
}
