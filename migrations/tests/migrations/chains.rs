//! Ways through a chain.

use stillpoint_migrations::{Applied, Source};

use crate::support::{chain, chain_of, document, script, text};

#[test]
fn a_document_goes_up_and_down_any_number_of_steps() {
    let mut chain = chain(&[
        "up = function(doc) doc.purse, doc.gold = { gold = doc.gold }, nil end, down = function(doc) doc.gold, doc.purse = doc.purse.gold, nil end",
        "up = function(doc) doc.purse.silver = 0 end, down = function(doc) doc.purse.silver = nil end",
        "up = function(doc) return { wealth = doc.purse } end, down = function(doc) return { purse = doc.wealth } end",
    ]);
    let at = [
        document("{ gold = 5 }"),
        document("{ purse = { gold = 5 } }"),
        document("{ purse = { gold = 5, silver = 0 } }"),
        document("{ wealth = { gold = 5, silver = 0 } }"),
    ];
    for from in 0..4 {
        for to in 0..4 {
            let way = if from <= to {
                chain.up(from, to, b"k", &at[from as usize])
            } else {
                chain.down(from, to, b"k", &at[from as usize])
            };
            assert_eq!(way.unwrap(), at[to as usize], "{from} to {to}");
        }
    }
    assert_eq!((chain.first(), chain.last()), (0, 3));
}

#[test]
fn the_same_version_is_the_same_bytes() {
    // 1 in four bytes is not how it would be written.
    let odd = [0xd2, 0, 0, 0, 1];
    let mut chain = chain(&["up = function(n) return n end"]);
    assert_eq!(chain.up(1, 1, b"k", &odd).unwrap(), odd[..]);
    assert_eq!(chain.up(0, 1, b"k", &odd).unwrap(), [1][..]);
}

#[test]
fn a_way_that_is_not_there_is_told() {
    let mut chain = chain(&[
        "up = function() end, down = function() end",
        "up = function() end",
    ]);
    for (result, expected) in [
        (
            chain.up(0, 3, b"k", &[0x80]),
            "game/player: has no way from version 0 to 3: its scripts go from 0 to 2",
        ),
        (
            chain.up(2, 1, b"k", &[0x80]),
            "game/player: has no way from version 2 to 1: its scripts go from 0 to 2",
        ),
        (
            chain.down(2, 0, b"k", &[0x80]),
            "_any/player/0002_step.lua: down is missing: version 2 cannot be made back into 1",
        ),
        (
            chain.up(0, 1, b"k", &[0xc1]),
            "game/player: got something that is no document: not a MessagePack value: the reserved type 0xc1 at byte 1",
        ),
        (
            chain.up(0, 1, b"k", &[0x80, 0]),
            "game/player: got something that is no document: not a MessagePack value: more bytes than the value has at byte 1",
        ),
    ] {
        assert_eq!(result.unwrap_err().to_string(), expected);
    }
    assert_eq!(chain.down(1, 0, b"k", &[0x80]).unwrap(), [0x80][..]);
    let step = chain.without_down(0, 2).map(|step| step.source().number);
    assert_eq!((step, chain.without_down(0, 1).is_none()), (Some(2), true));
    assert_eq!(chain.up(5, 5, b"k", &[0x80]).unwrap(), [0x80][..]);
}

#[test]
fn a_chain_may_begin_late_and_be_empty() {
    let mut late = chain_of(&[script(7, "up = function(doc) doc.seven = true end")]).unwrap();
    assert_eq!(
        text(&late.up(6, 7, b"k", &[0x80]).unwrap()),
        r#"{"seven": true}"#
    );
    assert!(late.up(0, 7, b"k", &[0x80]).is_err());
    let mut empty = chain_of(&[]).unwrap();
    assert_eq!((empty.first(), empty.last()), (0, 0));
    assert_eq!(empty.up(0, 0, b"k", &[0x80]).unwrap(), [0x80][..]);
}

#[test]
fn an_applied_script_stays_as_it_was() {
    let sources = [
        script(2, "up = function() end"),
        script(3, "up = function() end"),
    ];
    let chain = chain_of(&sources).unwrap();
    let applied = |number, source: &Source| Applied {
        number,
        hash: source.hash,
    };
    assert_eq!(
        chain.ensure_unchanged(&[applied(2, &sources[0]), applied(3, &sources[1])]),
        Ok(())
    );
    // Older than the chain: taken away, since nothing needs it any more.
    assert_eq!(chain.ensure_unchanged(&[applied(1, &sources[0])]), Ok(()));
    let error = chain
        .ensure_unchanged(&[applied(3, &sources[0])])
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "_any/player/0003_step.lua: was changed after it was applied: put it back, and use the next number for the new text"
    );
    let error = chain
        .ensure_unchanged(&[applied(4, &sources[0])])
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "game/player/0004: was applied and is no longer there: put it back"
    );
}

#[test]
fn a_step_gets_what_the_store_would_have_given_it() {
    // The first step makes one table twice, and marks that the store would not keep; the second would see both.
    let mut chain = chain(&[
        "up = function() local t = { n = 1 } return { a = t, b = t, list = stillpoint.array { 1 }, map = stillpoint.map { x = 1 } } end",
        "up = function(doc) doc.a.n = 2 doc.list[1] = nil doc.map.x = nil end",
    ]);
    let one = chain.up(0, 1, b"k", &[0x80]).unwrap();
    let by_hand = chain.up(1, 2, b"k", &one).unwrap();
    assert_eq!(
        text(&by_hand),
        r#"{"a": {"n": 2}, "b": {"n": 1}, "map": {}, "list": {}}"#
    );
    assert_eq!(chain.up(0, 2, b"k", &[0x80]).unwrap(), by_hand);
}
