//! Which collection's job is next: they take turns, a portion each.
//!
//! One that may not go on yet, since it is slow by its rate or something went wrong, is passed over. A rate is one of all
//! collections that were given it together; and those that have the same scripts rest together where these are slow. Of those
//! that look into the history one is gone on with for as long as it holds what it found there, which is much.

use std::{
    collections::BTreeMap,
    ops::Bound,
    time::{Duration, Instant},
};

use super::{Name, portion::Work};
use crate::store::schema::state::SchemaState;

/// The collections that have something to do.
pub type Busy = BTreeMap<Name, Job>;

/// What a collection has to do.
#[derive(Clone, Debug)]
pub struct Job {
    /// The history is the way back.
    pub from_history: bool,
    /// With whom it shares its rate.
    pub share: Share,
}

/// Who shares something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Share {
    /// All that go at the rate of the settings.
    Setting,
    /// All that an operator has given a rate together: they have the label of the moment before in common.
    Order {
        /// The label.
        label: String,
        /// Records per second.
        rate: u64,
    },
    /// Those with this collection's scripts, in all namespaces: the time that these take.
    Scripts(String),
}

impl Share {
    /// With whom a job shares its rate.
    pub fn of(state: &SchemaState) -> Share {
        match state.rate {
            0 => Share::Setting,
            rate => Share::Order {
                label: state.label.clone(),
                rate,
            },
        }
    }
}

/// How it goes on after a turn.
#[derive(Clone, Copy, Debug, Default)]
pub struct After {
    /// By its rate not before; none: at once.
    pub due: Option<Instant>,
    /// How long to rest for the time that it took.
    pub rest: Duration,
}

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
    /// Who shares this does not go on before.
    dues: BTreeMap<Share, Instant>,
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
        self.dues.retain(|_, due| *due > now);
        let holder = self.holder();
        let may_go = |name: &Name| match busy.get(name) {
            Some(job) if job.from_history => holder.is_none_or(|holder| holder == name),
            _ => true,
        };
        let due = |name: &Name| {
            let own = self.tasks.get(name).and_then(|task| task.due);
            own.max(self.shared_due(name, busy))
        };
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

    /// Who holds what it found in the history.
    fn holder(&self) -> Option<&Name> {
        let holder = self.tasks.iter().find(|(_, task)| task.is_holder);
        holder.map(|(name, _)| name)
    }

    /// Who holds what it found in the history, and who waits for that.
    pub fn waiting<'a>(
        &self,
        busy: &'a Busy,
    ) -> Option<(Name, impl Iterator<Item = &'a Name> + use<'a>)> {
        let holder = self.holder().filter(|name| busy.contains_key(name))?;
        let holder = holder.clone();
        let others = busy.iter().filter({
            let holder = holder.clone();
            move |(name, job)| job.from_history && **name != holder
        });
        Some((holder, others.map(|(name, _)| name)))
    }

    /// When those that something is shared with let it go on. `_any` has no records itself.
    fn shared_due(&self, name: &Name, busy: &Busy) -> Option<Instant> {
        if self.dues.is_empty() || name.is_any() {
            return None;
        }
        let by_rate = self.dues.get(&busy.get(name)?.share);
        let by_scripts = self.dues.get(&Share::Scripts(name.collection.clone()));
        by_rate.max(by_scripts).copied()
    }

    /// It had its turn at a moment: those that share with it wait.
    pub fn rest(&mut self, name: &Name, busy: &Busy, after: &After, now: Instant) {
        let share = busy.get(name).map(|job| job.share.clone());
        if let (Some(share), Some(due)) = (share, after.due) {
            self.dues.insert(share, due);
        }
        if !after.rest.is_zero() {
            let scripts = Share::Scripts(name.collection.clone());
            self.dues.insert(scripts, now + after.rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn busy(names: &[(&str, bool)]) -> Busy {
        let names = names.iter().map(|(namespace, from_history)| {
            let job = Job {
                from_history: *from_history,
                share: Share::Setting,
            };
            (Name::new(*namespace, "player"), job)
        });
        names.collect()
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

    #[test]
    fn a_rate_is_one_of_all_that_share_it() {
        let (mut turns, now) = (Turns::default(), Instant::now());
        let mut all = busy(&[("a", false), ("b", false), ("c", false)]);
        let c = Name::new("c", "guild");
        let order = Share::Order {
            label: "before-migration".into(),
            rate: 5,
        };
        all.remove(&Name::new("c", "player"));
        all.insert(
            c.clone(),
            Job {
                from_history: false,
                share: order,
            },
        );
        let later = now + Duration::from_secs(1);
        let after = After {
            due: Some(later),
            rest: Duration::ZERO,
        };
        assert_eq!(next(&mut turns, &all, now, |_| {}).as_deref(), Some("a"));
        turns.rest(&Name::new("a", "player"), &all, &after, now);
        for _ in 0..2 {
            let own = next(&mut turns, &all, now, |_| {});
            assert_eq!(own.as_deref(), Some("c"), "b shares it");
        }
        turns.rest(&c, &all, &after, now);
        assert!(matches!(turns.next(&all, now), Turn::At(due) if due == later));
        assert_eq!(next(&mut turns, &all, later, |_| {}).as_deref(), Some("a"));
        assert_eq!(next(&mut turns, &all, later, |_| {}).as_deref(), Some("b"));
    }

    #[test]
    fn slow_scripts_hold_up_who_has_them_and_nobody_else() {
        let (mut turns, now) = (Turns::default(), Instant::now());
        let mut all = busy(&[("a", false), ("b", false)]);
        let guild = Name::new("b", "guild");
        let job = all[&Name::new("a", "player")].clone();
        all.insert(guild.clone(), job);
        let after = After {
            due: Some(now),
            rest: Duration::from_secs(2),
        };
        turns.rest(&Name::new("a", "player"), &all, &after, now);
        for _ in 0..2 {
            assert!(matches!(turns.next(&all, now), Turn::Of(name, _) if name == guild));
        }
    }

    #[test]
    fn who_waits_for_the_history_of_another_is_known() {
        let (mut turns, now) = (Turns::default(), Instant::now());
        let all = busy(&[("a", true), ("b", false), ("c", true)]);
        assert!(turns.waiting(&all).is_none());
        next(&mut turns, &all, now, |task| task.is_holder = true);
        let (holder, waiting) = turns.waiting(&all).unwrap();
        assert_eq!(holder.namespace, "a");
        let waiting: Vec<_> = waiting.map(|name| &*name.namespace).collect();
        assert_eq!(waiting, ["c"]);
    }
}
