//! Which collection's job is next: they take turns, a portion each.
//!
//! One that may not go on yet, since it is slow by its rate or something went wrong, is passed over. Of those that look into
//! the history one is gone on with for as long as it holds what it found there, which is much.

use std::{collections::BTreeMap, ops::Bound, time::Instant};

use super::{Name, portion::Work};

/// The collections that have something to do, and whether they do it from the history.
pub type Busy = BTreeMap<Name, bool>;

/// What is known of a collection's job from turn to turn.
#[derive(Default)]
pub struct Task {
    /// The version that it goes to, and since when: those of another job are others.
    pub job: (u32, u64),
    /// Its work; none: it begins.
    pub work: Option<Work>,
    /// Whether its records were counted.
    pub is_counted: bool,
    /// Whether it holds what it found in the history.
    pub is_holder: bool,
    /// It does not go on before.
    pub due: Option<Instant>,
}

/// The jobs.
#[derive(Default)]
pub struct Turns {
    tasks: BTreeMap<Name, Task>,
    last: Option<Name>,
}

/// Whose turn it is.
pub enum Turn<'a> {
    /// This one's.
    Of(Name, &'a mut Task),
    /// Nobody's before this moment.
    At(Instant),
    /// There is nothing to do.
    Nobody,
}

impl Turns {
    /// Whose turn it is; what is known of those that are not busy any more is forgotten.
    pub fn next(&mut self, busy: &Busy, now: Instant) -> Turn<'_> {
        self.tasks.retain(|name, _| busy.contains_key(name));
        for name in busy.keys() {
            self.tasks.entry(name.clone()).or_default();
        }
        let holder = self.tasks.iter().find(|(_, task)| task.is_holder);
        let holder = holder.map(|(name, _)| name);
        let may_go = |name: &Name| match busy.get(name) {
            Some(true) => holder.is_none_or(|holder| holder == name),
            _ => true,
        };
        let due = |name: &Name| self.tasks.get(name).and_then(|task| task.due);
        let (after, upto) = match &self.last {
            Some(last) => (Bound::Excluded(last), Bound::Included(last)),
            None => (Bound::Unbounded, Bound::Unbounded),
        };
        let in_turn = busy.range((after, Bound::Unbounded));
        let in_turn = in_turn.chain(busy.range((Bound::Unbounded, upto)));
        let mut in_turn = in_turn.map(|(name, _)| name).filter(|name| may_go(name));
        let is_due = |name: &&Name| due(name).is_none_or(|due| due <= now);
        let Some(name) = in_turn.clone().find(is_due).cloned() else {
            let first = in_turn.by_ref().filter_map(due).min();
            return first.map_or(Turn::Nobody, Turn::At);
        };
        self.last = Some(name.clone());
        match self.tasks.get_mut(&name) {
            Some(task) => Turn::Of(name, task),
            None => Turn::Nobody,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn busy(names: &[(&str, bool)]) -> Busy {
        let names = names.iter();
        names
            .map(|(namespace, history)| (Name::new(*namespace, "player"), *history))
            .collect()
    }

    /// Whose turn it is, which it uses up by `task`.
    fn next(
        turns: &mut Turns,
        busy: &Busy,
        now: Instant,
        task: impl FnOnce(&mut Task),
    ) -> Option<String> {
        match turns.next(busy, now) {
            Turn::Of(name, of) => {
                task(of);
                Some(name.namespace)
            }
            _ => None,
        }
    }

    #[test]
    fn they_take_turns_and_who_is_not_due_is_passed_over() {
        let (mut turns, now) = (Turns::default(), Instant::now());
        let all = busy(&[("a", false), ("b", false), ("c", false)]);
        let later = now + Duration::from_secs(1);
        assert_eq!(next(&mut turns, &all, now, |_| {}).as_deref(), Some("a"));
        let slow = |task: &mut Task| task.due = Some(later);
        assert_eq!(next(&mut turns, &all, now, slow).as_deref(), Some("b"));
        for expected in ["c", "a", "c", "a"] {
            assert_eq!(
                next(&mut turns, &all, now, |_| {}).as_deref(),
                Some(expected)
            );
        }
        assert_eq!(next(&mut turns, &all, later, |_| {}).as_deref(), Some("b"));
        let alone = busy(&[("b", false)]);
        assert!(matches!(turns.next(&alone, now), Turn::At(due) if due == later));
        assert!(matches!(turns.next(&busy(&[]), now), Turn::Nobody));
        assert_eq!(
            next(&mut turns, &alone, now, |_| {}).as_deref(),
            Some("b"),
            "a new job"
        );
    }

    #[test]
    fn one_at_a_time_holds_what_the_history_has_and_the_others_go_on() {
        let (mut turns, now) = (Turns::default(), Instant::now());
        let all = busy(&[("a", true), ("b", false), ("c", true)]);
        let holds = |task: &mut Task| task.is_holder = true;
        assert_eq!(next(&mut turns, &all, now, holds).as_deref(), Some("a"));
        for expected in ["b", "a", "b"] {
            assert_eq!(
                next(&mut turns, &all, now, |_| {}).as_deref(),
                Some(expected)
            );
        }
        let let_go = |task: &mut Task| task.is_holder = false;
        assert_eq!(next(&mut turns, &all, now, let_go).as_deref(), Some("a"));
        assert_eq!(next(&mut turns, &all, now, |_| {}).as_deref(), Some("b"));
        assert_eq!(next(&mut turns, &all, now, |_| {}).as_deref(), Some("c"));
    }
}
