//! Conditions: `[column, function, value]` (RFC 7047 section 5.1 `<condition>`).

use super::failure::Failure;
use super::table::{Row, column_type};
use crate::data::parse::{array, expected, string};
use crate::data::{AtomicType, ColumnType, Datum, NamedUuids};
use crate::error::{Error, ErrorKind};
use crate::json::Json;
use crate::schema::TableSchema;

/// How a condition compares: RFC 7047 section 5.1 `<function>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Function {
    /// `<`, for at most one integer or real.
    Less,
    /// `<=`, for at most one integer or real.
    LessOrEqual,
    /// `==`.
    Equal,
    /// `!=`.
    NotEqual,
    /// `>=`, for at most one integer or real.
    GreaterOrEqual,
    /// `>`, for at most one integer or real.
    Greater,
    /// `includes`: the column has every element of the value.
    Includes,
    /// `excludes`: the column has no element of the value.
    Excludes,
}

impl Function {
    /// Every function.
    pub const ALL: [Function; 8] = [
        Function::Less,
        Function::LessOrEqual,
        Function::Equal,
        Function::NotEqual,
        Function::GreaterOrEqual,
        Function::Greater,
        Function::Includes,
        Function::Excludes,
    ];

    /// The word for this function.
    pub fn as_str(self) -> &'static str {
        match self {
            Function::Less => "<",
            Function::LessOrEqual => "<=",
            Function::Equal => "==",
            Function::NotEqual => "!=",
            Function::GreaterOrEqual => ">=",
            Function::Greater => ">",
            Function::Includes => "includes",
            Function::Excludes => "excludes",
        }
    }

    fn is_order(self) -> bool {
        !matches!(self, Function::Equal | Function::NotEqual | Function::Includes | Function::Excludes)
    }

    fn applies_to(self, ty: &ColumnType) -> bool {
        let number = matches!(ty.key().ty(), AtomicType::Integer | AtomicType::Real);
        !self.is_order() || (number && ty.is_optional_scalar())
    }
}

/// A condition on one column of a row.
///
/// The order functions are also allowed on optional numbers, where an empty column satisfies none of them: an
/// extension of RFC 7047 that Open vSwitch makes.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    column: String,
    function: Function,
    argument: Datum,
}

impl Condition {
    /// Reads a condition on rows of `table`, which is called `table_name` in errors.
    ///
    /// # Errors
    /// [`Failure::UnknownColumn`]; [`Failure::Syntax`] for another form, a function that does not go with the column,
    /// or a value of another type; [`Failure::Value`] for a value that the column's constraints rule out.
    pub fn from_json(
        table_name: &str,
        table: &TableSchema,
        json: &Json,
        names: &NamedUuids,
    ) -> Result<Condition, Failure> {
        let [column, function, argument] = array(json)? else {
            return Err(expected("[column, function, value]", json).into());
        };
        let (column, word) = (string(column)?, string(function)?);
        let ty = column_type(table, column)
            .ok_or_else(|| Failure::UnknownColumn { table: table_name.to_owned(), column: column.to_owned() })?;
        let at = |error: Error| Failure::from(error.at(format!("condition on column {column:?}")));
        let function = Function::ALL
            .into_iter()
            .find(|function| function.as_str() == word)
            .ok_or_else(|| at(Error::new(ErrorKind::UnknownWord(word.to_owned()))))?;
        if !function.applies_to(&ty) {
            return Err(at(Error::new(ErrorKind::NotApplicable { word: function.as_str() })));
        }
        // What a part of the column is compared with may be smaller than the column, and what is to be absent larger too.
        let of = match function {
            Function::Includes => ty.at_least(0),
            Function::Excludes => ty.unbounded(),
            Function::Equal | Function::NotEqual => ty,
            _ => ty.at_least(1),
        };
        let argument = Datum::from_json(&of, argument, names).map_err(at)?;
        Ok(Condition { column: column.to_owned(), function, argument })
    }

    /// Whether `row` satisfies the condition.
    pub fn matches(&self, row: &Row) -> bool {
        row.cell(&self.column).is_some_and(|cell| self.function.holds(&cell, &self.argument))
    }

    /// The UUID, when only the row with that UUID can satisfy the condition.
    pub(crate) fn as_uuid(&self) -> Option<uuid::Uuid> {
        if self.column != "_uuid" || !matches!(self.function, Function::Equal | Function::Includes) {
            return None;
        }
        self.argument.as_scalar()?.as_uuid()
    }
}

impl Function {
    fn holds(self, cell: &Datum, argument: &Datum) -> bool {
        let order = || Some(cell.as_scalar()?.cmp(argument.as_scalar()?));
        match self {
            Function::Less => order().is_some_and(|order| order.is_lt()),
            Function::LessOrEqual => order().is_some_and(|order| order.is_le()),
            Function::GreaterOrEqual => order().is_some_and(|order| order.is_ge()),
            Function::Greater => order().is_some_and(|order| order.is_gt()),
            Function::Equal => cell == argument,
            Function::NotEqual => cell != argument,
            Function::Includes => cell.includes(argument),
            Function::Excludes => cell.excludes(argument),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse;
    use crate::schema::ColumnSchema;
    use uuid::Uuid;

    fn table() -> TableSchema {
        let column = |text: &str| ColumnSchema::from(ColumnType::from_json(&parse(text.as_bytes()).unwrap()).unwrap());
        let columns = [
            ("n".to_owned(), column(r#""integer""#)),
            ("o".to_owned(), column(r#"{"key":"integer","min":0}"#)),
            ("s".to_owned(), column(r#"{"key":"integer","min":0,"max":"unlimited"}"#)),
            ("m".to_owned(), column(r#"{"key":"string","value":"string","min":0,"max":"unlimited"}"#)),
            ("b".to_owned(), column(r#""boolean""#)),
        ];
        TableSchema { columns: columns.into(), ..TableSchema::default() }
    }

    fn holds(text: &str) -> Result<bool, Failure> {
        let table = table();
        let names = NamedUuids::new();
        let mut row = Row::new(Uuid::from_u128(1), Uuid::from_u128(2), &table);
        for (name, text) in [("n", "5"), ("s", r#"["set",[1,2]]"#), ("m", r#"["map",[["a","x"],["b","y"]]]"#)] {
            let json = parse(text.as_bytes()).unwrap();
            row.set(name, Datum::from_json(&table.columns[name].ty, &json, &names).unwrap());
        }
        Ok(Condition::from_json("T", &table, &parse(text.as_bytes()).unwrap(), &names)?.matches(&row))
    }

    #[test]
    fn functions_of_section_5_1() {
        for (text, verdict) in [
            (r#"["n","<",6]"#, true),
            (r#"["n","<",5]"#, false),
            (r#"["n","<=",5]"#, true),
            (r#"["n",">=",6]"#, false),
            (r#"["n",">",4]"#, true),
            (r#"["n","includes",5]"#, true),
            (r#"["n","excludes",5]"#, false),
            (r#"["o","<",5]"#, false),
            (r#"["o",">=",5]"#, false),
            (r#"["o","==",["set",[]]]"#, true),
            (r#"["s","==",["set",[2,1]]]"#, true),
            (r#"["s","includes",1]"#, true),
            (r#"["s","includes",["set",[]]]"#, true),
            (r#"["s","includes",["set",[1,3]]]"#, false),
            (r#"["s","excludes",["set",[1,3]]]"#, false),
            (r#"["s","excludes",3]"#, true),
            (r#"["m","includes",["map",[["a","x"]]]]"#, true),
            (r#"["m","includes",["map",[["a","y"]]]]"#, false),
            (r#"["m","excludes",["map",[["a","y"]]]]"#, true),
            (r#"["b","!=",true]"#, true),
            (r#"["_uuid","==",["uuid","00000000-0000-0000-0000-000000000001"]]"#, true),
            (r#"["_version","!=",["uuid","00000000-0000-0000-0000-000000000001"]]"#, true),
        ] {
            assert_eq!(holds(text), Ok(verdict), "{text}");
        }
    }

    #[test]
    fn wrong_conditions_are_refused() {
        for (text, tag) in [
            (r#"["x","==",1]"#, "unknown column"),
            (r#"["n","=",1]"#, "syntax error"),
            (r#"["n","=="]"#, "syntax error"),
            (r#"["n","==","1"]"#, "syntax error"),
            (r#"["b","<",true]"#, "syntax error"),
            (r#"["s","<",1]"#, "syntax error"),
            (r#"["o","==",["set",[1,2]]]"#, "syntax error"),
            (r#"["o","<",["set",[]]]"#, "syntax error"),
            (r#"true"#, "syntax error"),
        ] {
            assert_eq!(holds(text).map_err(|failure| failure.tag()), Err(tag), "{text}");
        }
    }
}
