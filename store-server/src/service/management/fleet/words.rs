//! How an end is put in words: short, however many processes there are.

use super::answer::Answer;
use crate::service::management::dispatch::Process;

/// Most that one enumeration names.
const NAMED_MAX: usize = 8;

/// Most characters of what a process said.
const SAID_MAX: usize = 200;

/// An enumeration, that ends early if it is long.
pub fn named(all: &[String]) -> String {
    let shown = all.len().min(NAMED_MAX);
    let mut text = all[..shown].join(", ");
    if all.len() > shown {
        text.push_str(&format!(" and {} more", all.len() - shown));
    }
    text
}

/// Why processes have not done what was asked: each reason once, with all that gave it.
pub fn why(failed: &[(&Process, &Answer)]) -> String {
    let mut reasons: Vec<(String, Vec<String>)> = Vec::new();
    for (process, answer) in failed {
        let why = short(answer.why());
        let identity = process.identity();
        match reasons.iter_mut().find(|(known, _)| *known == why) {
            Some((_, who)) => who.push(identity),
            None => reasons.push((why, vec![identity])),
        }
    }
    let shown = reasons.iter().take(NAMED_MAX);
    let mut said: Vec<_> = shown
        .map(|(why, who)| format!("{}: {why}", named(who)))
        .collect();
    let unsaid: usize = reasons[said.len()..].iter().map(|(_, who)| who.len()).sum();
    if unsaid > 0 {
        said.push(format!("{unsaid} more for other reasons"));
    }
    said.join("; ")
}

/// The first line of what a process said, if that is not too long.
fn short(said: &str) -> String {
    let line = said.lines().next().unwrap_or_default();
    match line.char_indices().nth(SAID_MAX) {
        Some((end, _)) => format!("{} ...", &line[..end]),
        None => line.to_owned(),
    }
}

/// One sentence of these parts.
pub fn sentence(parts: Vec<String>) -> String {
    let said: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    if said.is_empty() {
        return "no process is left".into();
    }
    said.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::session::SessionKey;

    fn process(instance: usize) -> Process {
        Process {
            key: SessionKey {
                namespace: "world".into(),
                id: "battle/x/1".into(),
            },
            service: "battle".into(),
            instance: instance.to_string(),
            fence: 7,
            code_version: String::new(),
            attached: true,
        }
    }

    #[test]
    fn a_reason_is_told_once_with_all_that_gave_it() {
        let processes: Vec<_> = (0..24).map(process).collect();
        let told = |reason: &dyn Fn(usize) -> String, count: usize| {
            let answers: Vec<_> = (0..count).map(|n| Answer::Failed(reason(n))).collect();
            why(&processes.iter().zip(&answers).collect::<Vec<_>>())
        };
        let odd = |n: usize| match n {
            1 => "no disk".to_owned(),
            _ => "shop.lua:7: boom\nstack traceback".to_owned(),
        };
        assert_eq!(
            told(&odd, 4),
            "battle/0, battle/2, battle/3: shop.lua:7: boom; battle/1: no disk"
        );
        assert_eq!(
            told(&|_| "boom".into(), 11),
            "battle/0, battle/1, battle/2, battle/3, battle/4, battle/5, battle/6, battle/7 and 3 more: boom"
        );
        let all_different = told(&|n| format!("boom {n}"), 24);
        assert!(
            all_different.ends_with("battle/7: boom 7; 16 more for other reasons"),
            "{all_different}"
        );
    }

    #[test]
    fn a_long_enumeration_ends_with_how_many_more_there_are() {
        let names = |n: usize| (0..n).map(|i| format!("battle/{i}")).collect::<Vec<_>>();
        assert_eq!(named(&names(2)), "battle/0, battle/1");
        assert!(named(&names(NAMED_MAX)).ends_with("battle/7"));
        assert!(named(&names(NAMED_MAX + 3)).ends_with("battle/7 and 3 more"));
    }
}
