//! The migrations of the demo game, in `migrations/demo`.

use std::path::Path;

use stillpoint_migrations::{Chain, Limits, Source, lint, read_dir};

use crate::support::{document, text};

fn sources() -> Vec<Source> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/demo"));
    read_dir(folder).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn they_pass_the_lint() {
    assert_eq!(lint(&sources(), &Limits::default()), []);
}

#[test]
fn a_player_goes_from_the_first_version_of_the_game_to_the_last_and_back() {
    let mut chain = Chain::new("game", "player", &sources(), Limits::default()).unwrap();
    let first = document(
        "{ name = 'Gus', gold = 130, bag = { { id = 'i031', kind = 'sword', price = 12 } }, stats = { trades = 4, earned = 55, spent = 25 } }",
    );
    let last = chain.up(0, 3, b"p07", &first).unwrap();
    assert_eq!(
        text(&last),
        r#"{"bag": [{"id": "i031", "kind": "sword", "price": 12}], "name": "Gus", "level": 1, "purse": {"gold": 130, "spent": 25, "earned": 55}, "stats": {"trades": 4}}"#
    );
    assert_eq!(chain.down(3, 0, b"p07", &last).unwrap(), first);
}

#[test]
fn a_player_in_debt_is_refused_by_name() {
    let mut chain = Chain::new("game", "player", &sources(), Limits::default()).unwrap();
    let error = chain
        .up(
            0,
            3,
            b"p07",
            &document("{ gold = -1, bag = {}, stats = {} }"),
        )
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "game/player/0001_purse.lua: check refuses the document: gold is a whole number from 0 on"
    );
}

#[test]
fn a_shop_that_is_sold_out_stays_a_map() {
    let mut chain = Chain::new("game", "shop", &sources(), Limits::default()).unwrap();
    let shop = document("{ gold = 500, trades = 12, stock = {} }");
    let till = chain.up(0, 1, b"main", &shop).unwrap();
    assert_eq!(
        text(&till),
        r#"{"till": {"max": 2000, "gold": 500}, "stock": {}, "trades": 12}"#
    );
    assert_eq!(chain.down(1, 0, b"main", &till).unwrap(), shop);
}
