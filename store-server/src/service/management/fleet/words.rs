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

/// Why a process has not done what was asked.
pub fn reason(process: &Process, answer: &Answer) -> String {
    let why = answer.why().lines().next().unwrap_or_default();
    let cut = why.char_indices().nth(SAID_MAX);
    let why = match cut {
        Some((end, _)) => format!("{} ...", &why[..end]),
        None => why.to_owned(),
    };
    format!("{}: {why}", process.identity())
}

/// Programs, and who runs them.
pub fn who_runs<'a, P: AsRef<str> + 'a>(
    programs: impl Iterator<Item = (P, &'a Vec<String>)>,
) -> String {
    let programs = programs.map(|(program, who)| format!("{} in {}", program.as_ref(), named(who)));
    programs.collect::<Vec<_>>().join("; ")
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

    #[test]
    fn a_long_enumeration_ends_with_how_many_more_there_are() {
        let names = |n: usize| (0..n).map(|i| format!("battle/{i}")).collect::<Vec<_>>();
        assert_eq!(named(&names(2)), "battle/0, battle/1");
        assert!(named(&names(NAMED_MAX)).ends_with("battle/7"));
        assert!(named(&names(NAMED_MAX + 3)).ends_with("battle/7 and 3 more"));
    }
}
