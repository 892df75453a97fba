//! The purses and the trades, as the store has them, against what the traders said.

use std::{
    collections::BTreeMap,
    process::{Command, Stdio},
};

use crate::{
    lua,
    trader::{Outcome, Trader},
};

/// What is in each purse in the beginning.
const GOLD: i64 = 100;

/// Fills the purses of so many traders.
pub fn open_bank(url: &str, traders: usize) {
    run(lua("bank.lua").args([url, "open", &traders.to_string(), &GOLD.to_string()]));
}

/// Looks whether everything is there, once, and nothing else.
pub fn check(url: &str, traders: &[Trader]) {
    let told = run(lua("bank.lua").args([url, "audit"]));
    let bank = Bank::read(&told);
    let mut known = 0;
    for (id, outcome) in traders.iter().flat_map(Trader::journal) {
        let version = bank.versions.get(id.as_str());
        let expected = (*outcome == Outcome::Done).then_some(&1);
        assert_eq!(
            version, expected,
            "{id}: {outcome:?}, and written so many times"
        );
        assert_ne!(
            *outcome,
            Outcome::Started,
            "{id} was not brought to an end by anybody"
        );
        known += usize::from(version.is_some());
    }
    println!("{known} trades");
    assert_eq!(known, bank.versions.len(), "there are trades of nobody");
    assert_eq!(bank.purses, bank.by_trades(traders.len()));
    let gold: i64 = bank.purses.values().sum();
    assert_eq!(gold, GOLD * traders.len() as i64);
}

/// What `bank.lua` tells.
#[derive(Default)]
struct Bank<'a> {
    purses: BTreeMap<String, i64>,
    /// How often a trade was written, by id.
    versions: BTreeMap<&'a str, u64>,
    /// From, to, gold.
    trades: Vec<(&'a str, &'a str, i64)>,
}

impl<'a> Bank<'a> {
    fn read(told: &'a str) -> Self {
        let mut bank = Bank::default();
        let number = |text: &str| text.parse().expect("a number");
        for line in told.lines() {
            match line.split('\t').collect::<Vec<_>>()[..] {
                ["purse", name, gold] => {
                    bank.purses.insert(name.into(), number(gold));
                }
                ["trade", id, version, from, to, gold] => {
                    bank.versions
                        .insert(id, version.parse().expect("a version"));
                    bank.trades.push((from, to, number(gold)));
                }
                _ => panic!("bank.lua said {line:?}"),
            }
        }
        bank
    }

    /// What the trades make the purses.
    fn by_trades(&self, traders: usize) -> BTreeMap<String, i64> {
        let mut purses: BTreeMap<String, i64> =
            (1..=traders).map(|n| (format!("t{n}"), GOLD)).collect();
        for &(from, to, gold) in &self.trades {
            *purses.get_mut(from).expect("a trader") -= gold;
            *purses.get_mut(to).expect("a trader") += gold;
        }
        purses
    }
}

/// Runs a script to its end; gives what it printed.
fn run(command: &mut Command) -> String {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .expect("the program starts");
    assert!(output.status.success(), "{command:?}: {}", output.status);
    String::from_utf8(output.stdout).expect("it prints text")
}
