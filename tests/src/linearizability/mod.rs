//! Whether a history of concurrent calls is linearizable: whether each call can be given a moment between its invocation
//! and its answer, so that done one after the other at these moments they would have given the same answers.
//!
//! This is the algorithm of Wing and Gong (1993) with Lowe's memory of what has been tried (2017), as the checker
//! Porcupine has it: a depth-first search over the calls that may come next, which never visits the same set of calls
//! done with the same resulting state twice. The checkers among the published crates know no calls without an answer
//! and no bound, and say only yes or no.
//!
//! ```text
//! time     ──────────────────────────────────────▶
//! client 1   |── put 1 ──|        |── get: 2 ──|         `put 1` and `put 2` may come next; `get` may not, because
//! client 2       |─────── put 2 ───────|                 `put 1` was answered before it was invoked.
//! client 3           |── put 3 ───── (killed)            May come at any time from here on, or never.
//! ```
//!
//! A call without an answer is tried last: so the search brings it in where something can be explained by it alone.

use std::{collections::HashSet, hash::Hash};

#[cfg(test)]
mod tests;

/// The behaviour that a history is compared with: that of one thing, used by one caller at a time.
pub trait Model {
    /// All that the next answer may depend on.
    type State: Clone + Eq + Hash;
    /// What a caller asks for.
    type Op;
    /// What it is told.
    type Answer;

    /// The state before the first call.
    fn initial(&self) -> Self::State;

    /// The state after this, if it can have had this answer; `None`: it cannot. An answer that nobody got may be any.
    fn step(
        &self,
        state: &Self::State,
        op: &Self::Op,
        answer: Option<&Self::Answer>,
    ) -> Option<Self::State>;

    /// What to try first: of the calls that may come next, those of the least rank are. A hint, on which only the time
    /// depends that the search takes.
    fn rank(&self, _op: &Self::Op, _answer: &Self::Answer) -> u64 {
        0
    }
}

/// One call of a history.
#[derive(Clone, Debug, PartialEq)]
pub struct Call<O, A> {
    /// What was asked for.
    pub op: O,
    /// When, in any unit. The clock is the same for all callers.
    pub invoked: u64,
    /// The answer and when it had come. `None`: it never came, so the call may take effect at any time after its
    /// invocation, or not at all.
    pub answered: Option<(u64, A)>,
}

/// What the search has found.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict<S> {
    /// The history is linearizable.
    Linearizable {
        /// Calls tried until that was known.
        steps: u64,
    },
    /// It is not.
    Refused(Box<Furthest<S>>),
    /// More calls were tried than allowed.
    Undecided,
}

/// How far the search came in a history that is not linearizable.
#[derive(Clone, Debug, PartialEq)]
pub struct Furthest<S> {
    /// The calls that could be put in order, in this order, as indices of the history.
    pub done: Vec<usize>,
    /// The state after them.
    pub state: S,
    /// The calls with an answer that would have to come next, none of which leads on.
    pub stuck: Vec<usize>,
}

/// Searches for an order. `steps_max` bounds the calls tried, and with them time and memory.
pub fn check<M: Model>(
    model: &M,
    history: &[Call<M::Op, M::Answer>],
    steps_max: u64,
) -> Verdict<M::State> {
    let mut search = Search::new(model, history);
    let mut steps = 0;
    while search.done.count < search.answered {
        let Some(next) = search.next() else {
            if !search.back() {
                let furthest = search.furthest.expect("the beginning was noted");
                return Verdict::Refused(Box::new(furthest));
            }
            continue;
        };
        steps += 1;
        if steps > steps_max {
            return Verdict::Undecided;
        }
        search.try_call(next);
    }
    Verdict::Linearizable { steps }
}

/// The search: a stack of calls done, and for each what else could have been done in its place.
struct Search<'a, M: Model> {
    model: &'a M,
    history: &'a [Call<M::Op, M::Answer>],
    /// Indices of the history: first the calls with an answer, then those without, each in order of invocation. Below, a
    /// call is its place in here.
    calls: Vec<usize>,
    /// How many of them have an answer.
    answered: usize,
    done: Done,
    tried: HashSet<(Box<[u64]>, M::State)>,
    /// Never empty while the search goes on.
    frames: Vec<Frame<M::State>>,
    furthest: Option<Furthest<M::State>>,
}

/// A point of the search.
struct Frame<S> {
    /// The call that led here; `None`: the beginning.
    by: Option<usize>,
    state: S,
    /// All answered calls below this one are done.
    low: usize,
    /// What may come next, from the last to try to the first.
    candidates: Vec<usize>,
}

impl<'a, M: Model> Search<'a, M> {
    fn new(model: &'a M, history: &'a [Call<M::Op, M::Answer>]) -> Self {
        let mut calls: Vec<usize> = (0..history.len()).collect();
        calls.sort_by_key(|&i| (history[i].answered.is_none(), history[i].invoked));
        let mut search = Search {
            model,
            history,
            answered: history.iter().filter(|c| c.answered.is_some()).count(),
            done: Done::new(calls.len()),
            calls,
            tried: HashSet::new(),
            frames: Vec::new(),
            furthest: None,
        };
        search.enter(None, model.initial(), 0);
        search
    }

    /// The next call to try at the newest point.
    fn next(&mut self) -> Option<usize> {
        self.frames.last_mut()?.candidates.pop()
    }

    /// Goes on from the newest point by this call, unless it cannot be, or leads to where the search has been.
    fn try_call(&mut self, call: usize) {
        let frame = self.frames.last().expect("a candidate has a frame");
        let Call { op, answered, .. } = &self.history[self.calls[call]];
        let answer = answered.as_ref().map(|(_, answer)| answer);
        let Some(state) = self.model.step(&frame.state, op, answer) else {
            return;
        };
        let low = frame.low;
        self.done.insert(call, call < self.answered);
        if self.tried.insert((self.done.bits.clone(), state.clone())) {
            self.enter(Some(call), state, low);
        } else {
            self.done.remove(call, call < self.answered);
        }
    }

    /// Leaves the newest point; whether there is one before it.
    fn back(&mut self) -> bool {
        let frame = self.frames.pop().expect("the search goes on");
        if let Some(call) = frame.by {
            self.done.remove(call, call < self.answered);
        }
        !self.frames.is_empty()
    }

    fn enter(&mut self, by: Option<usize>, state: M::State, mut low: usize) {
        while low < self.answered && self.done.contains(low) {
            low += 1;
        }
        let mut frame = Frame {
            by,
            state,
            low,
            candidates: Vec::new(),
        };
        let stuck = self.add_candidates(&mut frame);
        self.frames.push(frame);
        self.note_if_furthest(stuck);
    }

    /// All calls that are not done and were not invoked after the answer to another such call; gives those with an answer.
    fn add_candidates(&self, frame: &mut Frame<M::State>) -> Vec<usize> {
        let invoked = |call: usize| self.history[self.calls[call]].invoked;
        let answered = |call: usize| {
            self.history[self.calls[call]]
                .answered
                .as_ref()
                .map(|a| a.0)
        };
        let mut horizon = u64::MAX;
        let mut with_answer = Vec::new();
        for call in (frame.low..self.answered).filter(|&call| !self.done.contains(call)) {
            if invoked(call) > horizon {
                break;
            }
            horizon = horizon.min(answered(call).expect("it has an answer"));
            with_answer.push(call);
        }
        let without = (self.answered..self.calls.len())
            .filter(|&call| !self.done.contains(call) && invoked(call) <= horizon);
        frame.candidates.extend(without);
        // Of equal ones, what was answered first has most likely happened first.
        let rank = |call: usize| {
            let Call { op, answered, .. } = &self.history[self.calls[call]];
            answered
                .as_ref()
                .map(|(at, answer)| (self.model.rank(op, answer), *at))
        };
        with_answer.sort_by_key(|&call| std::cmp::Reverse(rank(call)));
        frame.candidates.extend(&with_answer);
        with_answer
    }

    fn note_if_furthest(&mut self, stuck: Vec<usize>) {
        let furthest = self.furthest.as_ref().map_or(0, |f| f.done.len());
        if self.furthest.is_some() && self.frames.len() - 1 <= furthest {
            return;
        }
        let original = |call: usize| self.calls[call];
        self.furthest = Some(Furthest {
            done: self
                .frames
                .iter()
                .filter_map(|f| f.by)
                .map(original)
                .collect(),
            state: self.frames[self.frames.len() - 1].state.clone(),
            stuck: stuck.into_iter().map(original).collect(),
        });
    }
}

/// A set of calls.
struct Done {
    bits: Box<[u64]>,
    /// How many calls with an answer are in it.
    count: usize,
}

impl Done {
    fn new(calls: usize) -> Self {
        Done {
            bits: vec![0; calls.div_ceil(64)].into(),
            count: 0,
        }
    }

    fn contains(&self, call: usize) -> bool {
        self.bits[call / 64] & (1 << (call % 64)) != 0
    }

    fn insert(&mut self, call: usize, has_answer: bool) {
        self.bits[call / 64] |= 1 << (call % 64);
        self.count += usize::from(has_answer);
    }

    fn remove(&mut self, call: usize, has_answer: bool) {
        self.bits[call / 64] &= !(1 << (call % 64));
        self.count -= usize::from(has_answer);
    }
}
