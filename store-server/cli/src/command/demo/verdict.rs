//! What `check.lua` says: a figure per line, `name number`, and a line `BROKEN: ...` for each broken promise.

use std::collections::BTreeMap;

/// What one run of `check.lua` found.
#[derive(Debug)]
pub struct Verdict {
    figures: BTreeMap<String, u64>,
    /// The broken promises, in words.
    pub broken: Vec<String>,
}

impl Verdict {
    /// Reads what it printed.
    pub fn read(stdout: &str, stderr: &str, succeeded: bool) -> Self {
        let figures = stdout.lines().filter_map(|line| {
            let (name, number) = line.split_once(' ')?;
            Some((name.into(), number.trim().parse().ok()?))
        });
        let mut broken: Vec<String> = stdout
            .lines()
            .filter_map(|line| line.strip_prefix("BROKEN: "))
            .map(Into::into)
            .collect();
        if !succeeded && broken.is_empty() {
            broken.push(format!("check.lua failed: {}", stderr.trim()));
        }
        Verdict {
            figures: figures.collect(),
            broken,
        }
    }

    /// A figure by its name.
    pub fn figure(&self, name: &str) -> u64 {
        self.figures.get(name).copied().unwrap_or_default()
    }

    /// The figures that are not the same in `later`, in words.
    pub fn differences(&self, later: &Verdict) -> Vec<String> {
        let differs = |(name, &number): (&String, &u64)| {
            let then = later.figure(name);
            (then != number).then(|| format!("{name} was {number} and is {then}"))
        };
        self.figures.iter().filter_map(differs).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_and_complaints_are_told_apart() {
        let verdict = Verdict::read("gold   500\nbroken 1\nBROKEN: p01 is missing\n", "", false);
        assert_eq!(verdict.figure("gold"), 500);
        assert_eq!(verdict.broken, ["p01 is missing"]);
    }

    #[test]
    fn a_check_that_failed_without_a_word_is_a_broken_promise() {
        let verdict = Verdict::read("", "no such file\n", false);
        assert_eq!(verdict.broken, ["check.lua failed: no such file"]);
    }

    #[test]
    fn figures_that_change_are_noticed() {
        let before = Verdict::read("gold 500\nitems 7\n", "", true);
        let after = Verdict::read("gold 499\nitems 7\n", "", true);
        assert_eq!(before.differences(&after), ["gold was 500 and is 499"]);
    }
}
