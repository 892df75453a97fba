//! Which program a process runs, and who runs the same.
//!
//! A module may be loaded when it is first needed, so that processes of one program have more or less of it. That is why a
//! process names the source of each unit that it has loaded: two run the same program if the units that both have loaded
//! are equal. A kit that does not name them has only the fingerprint of the whole.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::words::named;

/// A fingerprint of the source of each unit.
pub type Sources = BTreeMap<Arc<str>, Arc<str>>;

/// What a process says of its program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Fingerprint of the whole: two processes with the same have the same sources.
    pub name: Arc<str>,
    /// Of each unit that it has loaded. `None`: its kit does not tell.
    pub sources: Option<Arc<Sources>>,
}

impl Program {
    /// One of which nothing is known but the fingerprint of the whole.
    pub fn named(name: &str) -> Program {
        Program {
            name: name.into(),
            sources: None,
        }
    }

    /// Whether two processes that say this run the same.
    pub fn is_same(&self, other: &Program) -> bool {
        self.name == other.name || both_agree(self.sources.as_deref(), other.sources.as_deref())
    }
}

/// Those that run the same program.
#[derive(Clone, Debug)]
pub struct Group {
    /// The fingerprints of the whole, which differ by what is loaded.
    names: BTreeSet<Arc<str>>,
    /// Of all units that any of them has loaded.
    sources: Option<Arc<Sources>>,
    /// Who they are.
    pub who: Vec<String>,
}

impl Group {
    fn new(program: &Program) -> Group {
        Group {
            names: [program.name.clone()].into(),
            sources: program.sources.clone(),
            who: Vec::new(),
        }
    }

    /// Whether one that says this belongs to them.
    pub fn runs(&self, program: &Program) -> bool {
        self.names.contains(&program.name)
            || both_agree(self.sources.as_deref(), program.sources.as_deref())
    }

    fn learn(&mut self, program: &Program) {
        if !self.names.insert(program.name.clone()) {
            return;
        }
        if let (Some(known), Some(sources)) = (&mut self.sources, &program.sources) {
            let known = Arc::make_mut(known);
            for (unit, source) in sources.iter() {
                if !known.contains_key(unit) {
                    known.insert(unit.clone(), source.clone());
                }
            }
        }
    }

    /// How people call what they run.
    pub fn label(&self) -> String {
        let mut names = self.names.iter().map(|name| name.to_string());
        let first = names.next().unwrap_or_default();
        let others: Vec<_> = names.collect();
        if others.is_empty() {
            return first;
        }
        format!("{first} ({} with other modules loaded)", named(&others))
    }
}

/// Sorts processes by the program that they run.
pub fn groups<'p>(all: impl Iterator<Item = (&'p Program, String)>) -> Vec<Group> {
    // Those that name no sources come last: one with the fingerprint of another has its sources, too.
    let (known, unknown): (Vec<_>, Vec<_>) = all.partition(|(p, _)| p.sources.is_some());
    let mut groups: Vec<Group> = Vec::new();
    for (program, who) in known.into_iter().chain(unknown) {
        let at = groups.iter().position(|group| group.runs(program));
        let at = at.unwrap_or_else(|| {
            groups.push(Group::new(program));
            groups.len() - 1
        });
        groups[at].learn(program);
        groups[at].who.push(who);
    }
    groups.sort_by(|a, b| a.names.cmp(&b.names));
    for group in &mut groups {
        group.who.sort();
    }
    groups
}

/// Programs, who runs them, and in which units they differ, as far as that is known.
pub fn who_runs(groups: &[Group]) -> String {
    let programs = groups
        .iter()
        .map(|group| format!("{} in {}", group.label(), named(&group.who)));
    let mut text = programs.collect::<Vec<_>>().join("; ");
    let units = differing(groups);
    if !units.is_empty() {
        text.push_str(&format!(" (they differ in {})", named(&units)));
    }
    text
}

/// The units of which not all that have loaded them have the same source.
fn differing(groups: &[Group]) -> Vec<String> {
    let mut first: BTreeMap<&str, &str> = BTreeMap::new();
    let mut found = BTreeSet::new();
    for (unit, source) in groups.iter().filter_map(|g| g.sources.as_deref()).flatten() {
        if *first.entry(unit).or_insert(source) != &**source {
            found.insert(unit.to_string());
        }
    }
    found.into_iter().collect()
}

fn both_agree(one: Option<&Sources>, other: Option<&Sources>) -> bool {
    let (Some(one), Some(other)) = (one, other) else {
        return false;
    };
    let (few, many) = match one.len() <= other.len() {
        true => (one, other),
        false => (other, one),
    };
    few.iter()
        .all(|(unit, source)| many.get(unit).is_none_or(|other| other == source))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(name: &str, sources: &[(&str, &str)]) -> Program {
        let sources = sources.iter().map(|(u, s)| ((*u).into(), (*s).into()));
        Program {
            name: name.into(),
            sources: Some(Arc::new(sources.collect())),
        }
    }

    fn grouped(programs: &[Program]) -> Vec<Group> {
        let all = programs.iter().zip(0..);
        groups(all.map(|(program, number)| (program, format!("battle/{number}"))))
    }

    #[test]
    fn those_that_have_loaded_more_run_the_same() {
        let found = grouped(&[
            program("p1", &[("main", "a")]),
            program("p2", &[("main", "a"), ("mail", "b")]),
            program("p3", &[("main", "a"), ("shop", "c")]),
        ]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(
            who_runs(&found),
            "p1 (p2, p3 with other modules loaded) in battle/0, battle/1, battle/2"
        );
    }

    #[test]
    fn two_that_agree_with_a_third_and_not_with_each_other_are_told_apart_by_the_unit() {
        let found = grouped(&[
            program("p1", &[("main", "a")]),
            program("p2", &[("main", "a"), ("mail", "b")]),
            program("p3", &[("main", "a"), ("mail", "c")]),
        ]);
        assert_eq!(
            who_runs(&found),
            "p1 (p2 with other modules loaded) in battle/0, battle/1; p3 in battle/2 (they differ in mail)"
        );
    }

    #[test]
    fn one_that_names_no_sources_is_known_by_the_whole() {
        let known = program("p1", &[("main", "a")]);
        let more = program("p2", &[("main", "a"), ("mail", "b")]);
        let same = grouped(&[Program::named("p2"), known.clone(), more.clone()]);
        assert_eq!(same.len(), 1, "{same:?}");
        let other = grouped(&[Program::named("p3"), known, more]);
        assert_eq!(other.len(), 2, "{other:?}");
    }
}
