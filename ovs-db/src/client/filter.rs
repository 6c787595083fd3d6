//! Which rows of a table a client wants (ovsdb-server(7) sections 4.1.12 and 5.1).

use crate::data::Datum;
use crate::db::Function;
use crate::json::Json;

/// One condition of a [`Filter`]: a column compared with a value. Generated code has a shorter way:
/// [`Column::is`](super::Column::is).
#[derive(Debug, Clone, PartialEq)]
pub struct Clause(Json);

impl Clause {
    /// `column`, compared with `value` by `function`. Whether the server's schema allows it, the server says.
    pub fn new(column: &str, function: Function, value: &Datum) -> Clause {
        Clause(Json::Array(vec![Json::string(column), Json::string(function.as_str()), value.to_json()]))
    }
}

/// Which rows of a table a client wants.
///
/// A server older than Open vSwitch 2.6 does not know filters and sends all rows.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Filter {
    /// Every row.
    #[default]
    All,
    /// No row.
    None,
    /// The rows that satisfy at least one of the conditions; with none of them given, no row.
    Any(Vec<Clause>),
}

impl Filter {
    /// The member `where` of a monitor request. There, an empty array means every row.
    pub(crate) fn to_json(&self) -> Json {
        match self {
            Filter::All => Json::Array(vec![Json::Bool(true)]),
            Filter::Any(clauses) if !clauses.is_empty() => {
                Json::Array(clauses.iter().map(|Clause(json)| json.clone()).collect())
            }
            Filter::None | Filter::Any(_) => Json::Array(vec![Json::Bool(false)]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Atom;

    #[test]
    fn wire_form() {
        let clause = Clause::new("n", Function::Includes, &Datum::set([Atom::Integer(1), Atom::Integer(2)]));
        for (filter, text) in [
            (Filter::All, "[true]"),
            (Filter::None, "[false]"),
            (Filter::Any(Vec::new()), "[false]"),
            (Filter::Any(vec![clause]), r#"[["n","includes",["set",[1,2]]]]"#),
        ] {
            assert_eq!(filter.to_json().to_text(), text);
        }
    }
}
