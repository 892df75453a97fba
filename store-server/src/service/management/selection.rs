//! Which processes an operator means.

use std::sync::Arc;

use stillpoint_proto::{
    name::{NAME_BYTES_MAX, check_name},
    v1::{Reason, Selection, StoreError},
};

use super::dispatch::Process;
use crate::{service::session::hub::Hub, store::session::Session};

/// The processes that a selection means, by service and instance: also those that are not there, as long as their sessions
/// are not over.
pub fn select(hub: &Hub, selection: &Selection) -> Result<Vec<Process>, StoreError> {
    check(selection)?;
    let index = hub.store().index();
    let sessions = index.sessions().filter(|(namespace, session)| {
        ***namespace == *selection.namespace && fits(selection, session)
    });
    let mut found: Vec<(Arc<str>, Arc<Session>)> = sessions
        .map(|(namespace, session)| (namespace.clone(), session.clone()))
        .collect();
    drop(index);
    found.sort_by(|(_, a), (_, b)| (&a.service, &a.instance).cmp(&(&b.service, &b.instance)));
    let processes = found.iter().map(|(namespace, session)| {
        let mut process = Process::new(namespace, session, false);
        hub.with_presence(&process.key, |presence| {
            process.attached =
                presence.session.fence == session.fence && presence.attached().is_some();
        });
        process
    });
    Ok(processes.collect())
}

/// Checks a selection. One that names nothing is refused, unless it says that it means all.
pub fn check(selection: &Selection) -> Result<(), StoreError> {
    let invalid = |message: String| StoreError::new(Reason::Invalid, message);
    check_name("namespace", &selection.namespace).map_err(invalid)?;
    if !selection.service.is_empty() {
        check_name("service", &selection.service).map_err(invalid)?;
    }
    check_pattern(&selection.instance).map_err(invalid)?;
    if selection.labels.keys().any(String::is_empty) {
        return Err(invalid(
            "a label of the selection has no name: name it".into(),
        ));
    }
    let names_something = !selection.service.is_empty()
        || !selection.instance.is_empty()
        || !selection.labels.is_empty();
    match (names_something, selection.all) {
        (false, false) => Err(invalid(format!(
            "the selection is empty: name a service, instances or labels, or say that all processes of namespace {} are \
             meant",
            selection.namespace
        ))),
        (true, true) => Err(invalid(
            "the selection says all and names some: leave one of them out".into(),
        )),
        _ => Ok(()),
    }
}

/// A pattern fits names only if each of its characters may be in one.
fn check_pattern(pattern: &str) -> Result<(), String> {
    let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-' | b'*' | b'?');
    if pattern.len() > NAME_BYTES_MAX || !pattern.bytes().all(allowed) {
        return Err(format!(
            "invalid pattern {pattern:?} of instances: use at most {NAME_BYTES_MAX} of a-z 0-9 _ . -, * for any \
             characters, ? for one"
        ));
    }
    Ok(())
}

fn fits(selection: &Selection, session: &Session) -> bool {
    let service = selection.service.is_empty() || selection.service == session.service;
    let instance = selection.instance.is_empty() || matches(&selection.instance, &session.instance);
    let mut labels = selection.labels.iter();
    service
        && instance
        && labels.all(|(name, value)| session.labels.get(name).is_some_and(|found| found == value))
}

/// Whether a name fits a pattern. Takes steps in the product of their lengths at most.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    // Where to go on when what follows the last star does not fit: the star stands for one character more.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, n));
                p += 1;
            }
            Some(one) if *one == b'?' || *one == name[n] => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((behind, from)) = star else {
                    return false;
                };
                star = Some((behind, from + 1));
                p = behind;
                n = from + 1;
            }
        }
    }
    pattern[p..].iter().all(|rest| *rest == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters_and_a_question_mark_for_one() {
        for (pattern, name, fits) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("a", "", false),
            ("*", "", true),
            ("*", "anything", true),
            ("a*", "a", true),
            ("a*", "ba", false),
            ("*a", "aaa", true),
            ("a*b*c", "a-xx-b-bc", true),
            ("a*b*c", "a-xx-b-bd", false),
            ("a?", "ab", true),
            ("a?", "a", false),
            ("?*", "", false),
            ("*-?", "battle-3", true),
            ("*-?", "battle-33", false),
            ("**", "x", true),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn an_empty_selection_is_refused_and_all_is_said_alone() {
        let selection = |service: &str, all| Selection {
            namespace: "world".into(),
            service: service.into(),
            all,
            ..Selection::default()
        };
        assert!(check(&selection("battle", false)).is_ok());
        assert!(check(&selection("", true)).is_ok());
        let error = check(&selection("", false)).unwrap_err();
        assert!(error.message.contains("namespace world"), "{error}");
        assert!(check(&selection("battle", true)).is_err());
    }
}
