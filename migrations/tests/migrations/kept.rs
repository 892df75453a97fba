//! What an older form of a document does not carry, and what one piece of work may use.

use std::time::Duration;

use stillpoint_migrations::{Allowance, Chain, Fault, Limits};

use crate::support::{chain, document, script};

/// Gold goes into a purse, which gets silver, and then there are levels.
const PURSE: &str = "up = function(doc) doc.purse, doc.gold = { gold = doc.gold }, nil end, down = function(doc) doc.gold, doc.purse = doc.purse.gold, nil end";
const SILVER: &str =
    "up = function(doc) doc.purse.silver = 0 end, down = function(doc) doc.purse.silver = nil end";
const LEVEL: &str = "up = function(doc) doc.level = doc.level or 1 end, down = function(doc) doc.level = nil end, check = function(doc) return doc.level > 0 end";

fn lost(chain: &mut Chain, to: u32, doc: &str) -> Option<String> {
    let document = document(doc);
    let below = chain.down(3, to, b"k", &document).unwrap();
    let lost = chain.lost_below(3, to, b"k", &document, None).unwrap();
    let known = chain.lost_below(3, to, b"k", &document, Some(&below));
    assert_eq!(lost, known.unwrap());
    lost.map(|lost| lost.to_string())
}

#[test]
fn what_an_older_form_does_not_carry_is_told_with_its_place_and_script() {
    let mut chain = chain(&[PURSE, SILVER, LEVEL]);
    for to in 0..=3 {
        let doc = "{ purse = { gold = 5, silver = 0 }, level = 1 }";
        assert_eq!(lost(&mut chain, to, doc), None, "{to}");
    }
    let level = "level, which is 7 and would then be 1 (_any/player/0003_step.lua)";
    let silver = "purse.silver, which is 9 and would then be 0 (_any/player/0002_step.lua)";
    let added = "purse.iron, which is 4 and would then be gone (_any/player/0001_step.lua)";
    for (doc, by_version) in [
        (
            "{ purse = { gold = 5, silver = 0 }, level = 7 }",
            [Some(level), Some(level), Some(level)],
        ),
        (
            "{ purse = { gold = 5, silver = 9 }, level = 1 }",
            [Some(silver), Some(silver), None],
        ),
        (
            "{ purse = { gold = 5, silver = 0, iron = 4 }, level = 1 }",
            [Some(added), None, None],
        ),
    ] {
        for (to, expected) in (0..).zip(by_version) {
            assert_eq!(lost(&mut chain, to, doc).as_deref(), expected, "{to}");
        }
    }
}

#[test]
fn only_the_canonical_form_counts() {
    let mut chain = chain(&[LEVEL]);
    // { level = 1, a = 2 }: not in the order of the keys, and 2 in two bytes.
    let odd = b"\x82\xa5level\x01\xa1a\xcc\x02";
    assert_eq!(chain.lost_below(1, 0, b"k", odd, None), Ok(None));
}

#[test]
fn what_has_no_form_on_the_way_there_or_back_is_an_error() {
    let mut chain = chain(&[
        "up = function(doc) assert(doc.gold ~= 5, 'five') doc.purse = {} end, down = function(doc) doc.gold = doc.purse.gold end",
    ]);
    for (doc, part) in [
        ("{ purse = 7 }", "down"),
        ("{ purse = { gold = 5 } }", "up"),
    ] {
        let lost = chain.lost_below(1, 0, b"k", &document(doc), None);
        let error = lost.unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn an_allowance_is_one_for_all_calls() {
    let busy = "up = function(doc) for _ = 1, 10000 do end end, down = function(doc) for _ = 1, 10000 do end end";
    let sources = [script(1, busy)];
    let mut chain = Chain::new("game", "player", &sources, Limits::default()).unwrap();
    let (steps, time) = (100_000, Duration::from_secs(20));
    let mut allowance = Allowance::new(steps, time);
    let mut done = 0;
    let error = loop {
        match chain.within(&mut allowance, |chain| chain.up(0, 1, b"k", &[0x80])) {
            Ok(_) => done += 1,
            Err(error) => break error,
        }
    };
    assert!((2..20).contains(&done), "{done}");
    assert_eq!(error.fault, Fault::UsedUp { steps, time });
    let again = chain.within(&mut allowance, |chain| chain.up(0, 1, b"k", &[0x80]));
    assert_eq!(again.unwrap_err().fault, error.fault, "it stays so");
    // Others have their own, or none.
    let mut other = Allowance::of_a_write();
    let fresh = chain.within(&mut other, |chain| chain.up(0, 1, b"k", &[0x80]));
    assert_eq!(fresh, Ok(vec![0x80].into()));
    for _ in 0..30 {
        chain.up(0, 1, b"k", &[0x80]).unwrap();
    }
}

#[test]
fn an_allowance_bounds_the_time_too() {
    let endless = "up = function(doc) while true do end end";
    let sources = [script(1, endless)];
    let limits = Limits {
        steps: u64::MAX,
        ..Limits::default()
    };
    let mut chain = Chain::new("game", "player", &sources, limits).unwrap();
    let (steps, time) = (u64::MAX, Duration::from_millis(20));
    let mut allowance = Allowance::new(steps, time);
    let error = chain.within(&mut allowance, |chain| chain.up(0, 1, b"k", &[0x80]));
    assert_eq!(error.unwrap_err().fault, Fault::UsedUp { steps, time });
}
