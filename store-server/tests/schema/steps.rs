//! Random scripts: each as Lua, and as what it does by hand.

use proptest::{collection::vec, prelude::Strategy};

use crate::world::Doc;

/// What one script does. No two of a chain name the same new field.
#[derive(Clone, Debug)]
pub enum Step {
    /// A field has another name.
    Rename { from: String, to: String },
    /// A number becomes two.
    Split {
        field: String,
        high: String,
        low: String,
    },
    /// A field is new.
    Add { field: String, default: i64 },
    /// Nothing changes, and a document in which this field can be divided by four is refused on its way up.
    Refuse { field: String },
}

const HUNDRED: i64 = 100;
const FOUR: i64 = 4;

impl Step {
    /// The script.
    pub fn lua(&self, number: usize) -> String {
        let (up, down) = match self {
            Step::Rename { from, to } => {
                let rename = |from, to| format!("doc.{to} = doc.{from}; doc.{from} = nil");
                (rename(from, to), rename(to, from))
            }
            Step::Split { field, high, low } => (
                format!(
                    "doc.{high} = doc.{field} // 100; doc.{low} = doc.{field} % 100; doc.{field} = nil"
                ),
                format!(
                    "doc.{field} = doc.{high} * 100 + doc.{low}; doc.{high} = nil; doc.{low} = nil"
                ),
            ),
            Step::Add { field, default } => (
                format!("doc.{field} = {default}"),
                format!("doc.{field} = nil"),
            ),
            Step::Refuse { field } => (
                format!("if doc.{field} % 4 == 0 then error('{field} cannot be that') end"),
                String::new(),
            ),
        };
        let from = number - 1;
        format!(
            "return {{ from = {from}, to = {number}, up = function(doc) {up} end, down = function(doc) {down} end }}"
        )
    }

    /// What `up` does; false: it refuses the document.
    pub fn up(&self, doc: &mut Doc) -> bool {
        match self {
            Step::Rename { from, to } => {
                let n = doc.remove(from).unwrap();
                doc.insert(to.clone(), n);
            }
            Step::Split { field, high, low } => {
                let n = doc.remove(field).unwrap();
                doc.insert(high.clone(), n.div_euclid(HUNDRED));
                doc.insert(low.clone(), n.rem_euclid(HUNDRED));
            }
            Step::Add { field, default } => {
                doc.insert(field.clone(), *default);
            }
            Step::Refuse { field } => return doc[field].rem_euclid(FOUR) != 0,
        }
        true
    }

    /// What `down` does.
    pub fn down(&self, doc: &mut Doc) {
        match self {
            Step::Rename { from, to } => {
                let n = doc.remove(to).unwrap();
                doc.insert(from.clone(), n);
            }
            Step::Split { field, high, low } => {
                let (h, l) = (doc.remove(high).unwrap(), doc.remove(low).unwrap());
                doc.insert(field.clone(), h * HUNDRED + l);
            }
            Step::Add { field, .. } => {
                doc.remove(field);
            }
            Step::Refuse { .. } => {}
        }
    }
}

/// Takes a document from one version to another by hand; none: a script refuses it.
pub fn travel(chain: &[Step], from: u32, to: u32, doc: &Doc) -> Option<Doc> {
    let mut doc = doc.clone();
    if from <= to {
        let mut steps = chain[from as usize..to as usize].iter();
        steps.all(|step| step.up(&mut doc)).then_some(doc)
    } else {
        let steps = &chain[to as usize..from as usize];
        steps.iter().rev().for_each(|step| step.down(&mut doc));
        Some(doc)
    }
}

/// The fields of all documents of version 0.
pub const FIELDS: [&str; 2] = ["x", "y"];

/// Random chains.
pub fn chain() -> impl Strategy<Value = Vec<Step>> {
    vec((0..4_usize, 0..16_usize), 1..5).prop_map(|choices| {
        let mut fields = FIELDS.map(str::to_owned).to_vec();
        let steps = choices.into_iter().enumerate().map(|(i, (kind, place))| {
            let place = place % fields.len();
            match kind {
                0 => {
                    let to = format!("f{i}");
                    let from = std::mem::replace(&mut fields[place], to.clone());
                    Step::Rename { from, to }
                }
                1 => {
                    let (high, low) = (format!("f{i}h"), format!("f{i}l"));
                    let field = std::mem::replace(&mut fields[place], high.clone());
                    fields.push(low.clone());
                    Step::Split { field, high, low }
                }
                2 => {
                    let field = format!("f{i}");
                    fields.push(field.clone());
                    Step::Add {
                        field,
                        default: i as i64 * FOUR + 1,
                    }
                }
                _ => Step::Refuse {
                    field: fields[place].clone(),
                },
            }
        });
        steps.collect()
    })
}
