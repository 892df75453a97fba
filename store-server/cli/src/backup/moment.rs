//! Which state a store is brought back to, as it is typed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use stillpoint_proto::{
    name::{LATEST, check_label, check_name},
    v1::{NamespaceRevision, RestorePoint, restore_point::Point},
};
use stillpoint_store_server::backup::To;

/// A moment in the history of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment(pub To);

impl Moment {
    /// As a server is asked for it.
    pub fn to_point(&self) -> Option<RestorePoint> {
        let point = match &self.0 {
            To::Latest => return None,
            To::Seq(seq) => Point::Seq(*seq),
            To::Revision {
                namespace,
                revision,
            } => Point::Revision(NamespaceRevision {
                namespace: namespace.clone(),
                revision: *revision,
            }),
            To::Time(time_ms) => Point::TimeMs(*time_ms),
            To::Label(label) => Point::Label(label.clone()),
        };
        Some(RestorePoint { point: Some(point) })
    }
}

/// What can be typed.
const FORMS: &str = "write latest, a label, a time (2026-11-23T14:05:00Z, 14:05 or '10m ago', in UTC), NAMESPACE@REVISION, \
                     or seq:NUMBER";

/// Reads what was typed, now.
pub fn parse_moment(text: &str) -> Result<Moment, String> {
    parse_at(text, SystemTime::now()).map(Moment)
}

fn parse_at(text: &str, now: SystemTime) -> Result<To, String> {
    if text == LATEST {
        return Ok(To::Latest);
    }
    if let Some(seq) = text.strip_prefix("seq:") {
        let seq = seq.parse().map_err(|_| format!("{seq:?} is no number"))?;
        return Ok(To::Seq(seq));
    }
    if let Some((namespace, revision)) = text.split_once('@') {
        check_name("namespace", namespace)?;
        return Ok(To::Revision {
            namespace: namespace.into(),
            revision: (revision.parse()).map_err(|_| format!("{revision:?} is no revision"))?,
        });
    }
    if let Some(time) = parse_time(text, now)? {
        let since = time.duration_since(UNIX_EPOCH).map_err(|e| e.to_string())?;
        let ms = since.as_millis().try_into().unwrap_or(u64::MAX);
        return Ok(To::Time(ms));
    }
    match check_label(text) {
        Ok(()) => Ok(To::Label(text.into())),
        Err(_) => Err(format!("{text:?} names no moment: {FORMS}")),
    }
}

/// A time; `None`: the text is none.
fn parse_time(text: &str, now: SystemTime) -> Result<Option<SystemTime>, String> {
    if let Some(ago) = text.strip_suffix(" ago") {
        let ago = humantime::parse_duration(ago.trim())
            .map_err(|_| "write how long ago with its unit, e.g. '10m ago' or '1h30m ago'")?;
        return Ok(now.checked_sub(ago));
    }
    // Without seconds, they are 0.
    let padded = match text.len() {
        5 | 16 => format!("{text}:00"),
        _ => text.to_owned(),
    };
    let parse = |text: &str| humantime::parse_rfc3339_weak(text).ok();
    if let Some(time) = parse(&padded) {
        return Ok(Some(time));
    }
    if padded.len() != "14:05:00".len() || !padded.contains(':') {
        return Ok(None);
    }
    // The last such time of day.
    let today = humantime::format_rfc3339_seconds(now).to_string();
    let time = parse(&format!("{}T{padded}Z", &today[.."2026-11-23".len()]));
    Ok(time.map(|time| match time > now {
        true => time - Duration::from_secs(86_400),
        false => time,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-23T14:00:00Z.
    const NOW_MS: u64 = 1_795_442_400_000;

    fn parse(text: &str) -> Result<To, String> {
        parse_at(text, UNIX_EPOCH + Duration::from_millis(NOW_MS))
    }

    #[test]
    fn moments_are_told_apart_by_their_form() {
        let revision = To::Revision {
            namespace: "world1".into(),
            revision: 7,
        };
        let label = |text: &str| To::Label(text.into());
        for (text, to) in [
            ("latest", To::Latest),
            ("seq:12", To::Seq(12)),
            ("world1@7", revision),
            ("before-import", label("before-import")),
            ("2026", label("2026")),
            ("2026-11-23T14:00:00Z", To::Time(NOW_MS)),
            ("2026-11-23T14:00:00.250Z", To::Time(NOW_MS + 250)),
            ("2026-11-23 14:00", To::Time(NOW_MS)),
            ("13:59", To::Time(NOW_MS - 60_000)),
            ("14:00:01", To::Time(NOW_MS + 1000 - 86_400_000)),
            ("90s ago", To::Time(NOW_MS - 90_000)),
        ] {
            assert_eq!(parse(text), Ok(to), "{text}");
        }
    }

    #[test]
    fn what_names_no_moment_is_refused_with_the_forms() {
        for text in [
            "",
            "25:00",
            "player/42",
            "yesterday noon",
            "2026-13-01 00:00",
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains("write latest, a label"), "{text}: {error}");
        }
        assert!(parse("seq:x").is_err() && parse("World@1").is_err() && parse("w@x").is_err());
        assert!(parse("10 ago").unwrap_err().contains("with its unit"));
    }
}
