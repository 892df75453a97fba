//! The numbers of this client's writes.

use std::collections::VecDeque;

/// Gives each write its number, and knows the lowest that has no answer: the store may forget all below it.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    /// Numbers below this and this one are over.
    over: u64,
    /// Whether each number after `over` is over; the first is not.
    window: VecDeque<bool>,
}

impl Numbers {
    /// The next number, from 1.
    pub fn give(&mut self) -> u64 {
        self.window.push_back(false);
        self.over + self.window.len() as u64
    }

    /// The write with this number has its outcome and is not sent again.
    pub fn finish(&mut self, number: u64) {
        let Some(index) = number.checked_sub(self.over + 1) else {
            return;
        };
        self.window[index as usize] = true;
        while self.window.front() == Some(&true) {
            self.window.pop_front();
            self.over += 1;
        }
    }

    /// The lowest number without an outcome; with none missing, the next one to be given.
    pub fn first_incomplete(&self) -> u64 {
        self.over + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_incomplete_waits_for_the_slowest() {
        let mut numbers = Numbers::default();
        assert_eq!(numbers.first_incomplete(), 1);
        assert_eq!([numbers.give(), numbers.give(), numbers.give()], [1, 2, 3]);
        numbers.finish(2);
        assert_eq!(numbers.first_incomplete(), 1);
        numbers.finish(1);
        assert_eq!(numbers.first_incomplete(), 3);
        numbers.finish(1);
        numbers.finish(3);
        assert_eq!(numbers.first_incomplete(), 4);
        assert_eq!(numbers.give(), 4);
    }
}
