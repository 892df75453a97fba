//! What a new script looks like.

/// The text of a new script, which changes nothing yet.
pub fn template(number: u32, name: &str, collection: &str) -> String {
    let from = number.saturating_sub(1);
    format!(
        r#"-- {name}: makes version {number} of a document in "{collection}" of version {from}.
--
-- These are functions of the document alone: Lua without files, clock or chance. A document may be changed in place, or
-- another one returned. What is raised or refused here leaves the record as it is.

return {{
  from = {from},
  to = {number},

  up = function(doc, key)
    -- doc.purse = {{ gold = doc.gold }}
    -- doc.gold = nil
  end,

  -- The way back, for processes that still run the old code. Without it they have to be stopped first.
  down = function(doc, key)
    -- doc.gold = doc.purse.gold
    -- doc.purse = nil
  end,

  -- Looks at what `up` has made.
  check = function(doc, key)
    return true
  end,

  -- Documents of version {from}, to try it with.
  samples = {{
    {{}},
  }},
}}
"#
    )
}
