//! Whatever runs out, wherever it does, is an error of the script: never a crash, and never another result.

use stillpoint_migrations::{Chain, Fault, Limits, StepError};

use crate::support::{document, script};

/// Uses a bit of everything.
const BODY: &str = r#"
  up = function(doc, key)
    local names = {}
    for name, value in pairs(doc) do
      names[#names + 1] = ("%s=%s"):format(name:upper(), type(value))
    end
    table.sort(names, function(a, b) return a > b end)
    doc.names = table.concat(names, ",")
    doc.words = {}
    for word in ("the quick brown fox"):gmatch "%a+" do
      table.insert(doc.words, 1, (word:gsub("[aeiou]", function(c) return c:rep(20) end)))
    end
    doc.ok, doc.why = pcall(error, "on purpose", 0)
    doc.big = stillpoint.int64 "18446744073709551615"
    doc.text = tostring(doc.big) .. ("x"):rep(3000) .. key
    doc.list = table.move({ 1, 2, 3 }, 1, 3, 2)
    doc.parts = stillpoint.array { doc.text:match "^(%d+)(x+)" }
  end,
  down = function(doc) return { count = #doc.words } end,
  check = function(doc) assert(#doc.words == 4) end
"#;

fn run(limits: Limits) -> Result<Vec<u8>, StepError> {
    let document = document("{ a = 1, b = 'two', c = { 3 }, d = { e = 4.5 } }");
    let mut chain = Chain::new("game", "player", &[script(1, BODY)], limits)?;
    let up = chain.up(0, 1, b"the key", &document)?;
    chain.down(1, 0, b"the key", &up)?;
    Ok(up.to_vec())
}

#[test]
fn memory_may_end_anywhere() {
    let expected = run(Limits::default()).unwrap();
    let (mut failed, mut passed) = (0, 0);
    for memory_bytes in (0..150_000).step_by(173) {
        match run(Limits {
            memory_bytes,
            ..Limits::default()
        }) {
            Ok(result) => {
                assert_eq!(result, expected, "{memory_bytes}");
                passed += 1;
            }
            Err(error) => {
                assert_eq!(
                    error.fault,
                    Fault::Memory {
                        bytes: memory_bytes
                    },
                    "{error}"
                );
                failed += 1;
            }
        }
    }
    assert!(
        failed > 100 && passed > 100,
        "{failed} failed, {passed} passed"
    );
}

#[test]
fn work_may_end_anywhere() {
    let expected = run(Limits::default()).unwrap();
    let (mut failed, mut passed) = (0, 0);
    for steps in (0..20_000).step_by(41) {
        match run(Limits {
            steps,
            ..Limits::default()
        }) {
            Ok(result) => {
                assert_eq!(result, expected, "{steps}");
                passed += 1;
            }
            Err(error) => {
                assert_eq!(error.fault, Fault::Loop { steps }, "{error}");
                failed += 1;
            }
        }
    }
    assert!(
        failed > 5 && passed > 100,
        "{failed} failed, {passed} passed"
    );
}

#[test]
fn a_chain_can_go_to_another_thread() {
    let mut chain = Chain::new("game", "player", &[script(1, BODY)], Limits::default()).unwrap();
    let result = std::thread::spawn(move || chain.up(0, 1, b"k", &document("{}")).map(|_| ()));
    assert_eq!(result.join().unwrap(), Ok(()));
}
