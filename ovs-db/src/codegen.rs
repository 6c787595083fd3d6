//! Typed columns, generated from a schema by a build script.
//!
//! Of a table `Flow_Table` with a column `flow_limit`, a set of at most one integer, it makes a type `FlowTable` that
//! stands for the table and a constant `FlowTable::FLOW_LIMIT` of type `Column<FlowTable, Optional<i64>>`; and of the whole
//! a function `schema()`. See [`client::Column`](crate::client::Column) for what the constants do.
//!
//! A crate with a schema of its own has in its `build.rs`
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let schema = ovs_db::Schema::from_json(&ovs_db::json::parse(&std::fs::read("zoo.ovsschema")?)?)?;
//! let target = std::path::PathBuf::from(std::env::var("OUT_DIR")?).join("zoo.rs");
//! std::fs::write(target, ovs_db::codegen::rust(&schema, "ovs_db"))?;
//! # Ok(())
//! # }
//! ```
//!
//! and in a module `include!(concat!(env!("OUT_DIR"), "/zoo.rs"));`. The module [`vswitch`](crate::vswitch) is made so.

use std::fmt::Write;

use crate::data::{Atom, AtomicType, BaseType, ColumnType, Constraint, RefType};
use crate::schema::{ColumnSchema, Schema};

/// The Rust source for a schema. `ovs_db` is the path of this crate in the crate that the source is for.
pub fn rust(schema: &Schema, ovs_db: &str) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = write_schema(&mut out, schema, ovs_db);
    out
}

fn write_schema(out: &mut String, schema: &Schema, ovs_db: &str) -> std::fmt::Result {
    let (name, version) = (schema.name(), schema.version());
    writeln!(out, "/// The schema of the database `{name}`, version {version}.")?;
    writeln!(out, "pub fn schema() -> ::std::sync::Arc<{ovs_db}::Schema> {{")?;
    writeln!(out, "    static SCHEMA: ::std::sync::LazyLock<::std::sync::Arc<{ovs_db}::Schema>> =")?;
    writeln!(out, "        ::std::sync::LazyLock::new(|| ::std::sync::Arc::new({ovs_db}::codegen::generated(TEXT)));")?;
    writeln!(out, "    const TEXT: &str = {:?};", schema.to_json().to_text())?;
    writeln!(out, "    ::std::sync::Arc::clone(&SCHEMA)\n}}")?;
    for (name, table) in schema.tables() {
        let ty = type_name(name);
        writeln!(out, "\n/// Stands for the table `{name}`.")?;
        if let Some(max) = table.max_rows {
            writeln!(out, "///\n/// It has at most {max} row{}.", if max == 1 { "" } else { "s" })?;
        }
        if !schema.is_root(name) {
            writeln!(out, "///\n/// A row that no other row refers to is deleted.")?;
        }
        for index in &table.indexes {
            let columns: Vec<String> = index.iter().map(|column| format!("`{column}`")).collect();
            writeln!(out, "///\n/// No two rows have the same {}.", columns.join(" and "))?;
        }
        writeln!(out, "#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]\npub enum {ty} {{}}")?;
        writeln!(out, "\nimpl {ovs_db}::client::Table for {ty} {{\n    const NAME: &'static str = {name:?};\n}}")?;
        writeln!(out, "\nimpl {ty} {{")?;
        for (position, (name, column)) in table.columns.iter().enumerate() {
            writeln!(out, "    /// Column `{name}`: {}.", describe(column))?;
            let (constant, form) = (name.to_uppercase(), form(&column.ty, ovs_db));
            writeln!(out, "    pub const {constant}: {ovs_db}::client::Column<{ty}, {form}> =")?;
            writeln!(out, "        {ovs_db}::client::Column::new({name:?}, {position});")?;
        }
        writeln!(out, "}}")?;
    }
    Ok(())
}

/// `Flow_Table` becomes `FlowTable`, `sFlow` `SFlow`, `CT_Zone` `CtZone`.
fn type_name(table: &str) -> String {
    let words = table.split('_').filter(|word| !word.is_empty()).map(|word| {
        let (first, rest) = word.split_at(1);
        let shouts = word.bytes().all(|byte| !byte.is_ascii_lowercase());
        format!("{}{}", first.to_uppercase(), if shouts { rest.to_lowercase() } else { rest.to_owned() })
    });
    words.collect()
}

fn form(ty: &ColumnType, ovs_db: &str) -> String {
    let key = key(ty.key(), ovs_db);
    let form = |name: &str, of: &str| format!("{ovs_db}::client::{name}<{of}>");
    match ty.value() {
        Some(value) => form("Pairs", &format!("{key}, {}", self::key(value, ovs_db))),
        None if ty.is_scalar() => form("One", &key),
        None if ty.is_optional_scalar() => form("Optional", &key),
        None => form("Many", &key),
    }
}

fn key(base: &BaseType, ovs_db: &str) -> String {
    match (base.ty(), base.reference()) {
        (_, Some((table, _))) => format!("{ovs_db}::client::Id<{}>", type_name(table)),
        (AtomicType::Integer, _) => "i64".to_owned(),
        (AtomicType::Real, _) => format!("{ovs_db}::Real"),
        (AtomicType::Boolean, _) => "bool".to_owned(),
        (AtomicType::String, _) => "str".to_owned(),
        (AtomicType::Uuid, _) => format!("{ovs_db}::Uuid"),
    }
}

fn describe(column: &ColumnSchema) -> String {
    let ty = &column.ty;
    let mut text = match (ty.min(), ty.max()) {
        (1, 1) => "one ".to_owned(),
        (0, 1) => "at most one ".to_owned(),
        (0, usize::MAX) => "any number of ".to_owned(),
        (0, max) => format!("at most {max} of "),
        (_, usize::MAX) => "one or more of ".to_owned(),
        (min, max) => format!("{min} to {max} of "),
    };
    text.push_str(&describe_base(ty.key()));
    if let Some(value) = ty.value() {
        text.push_str(" to ");
        text.push_str(&describe_base(value));
    }
    if column.ephemeral {
        text.push_str("; lost when the server restarts");
    }
    if !column.mutable {
        text.push_str("; fixed once the row is inserted");
    }
    text
}

fn describe_base(base: &BaseType) -> String {
    let ty = base.ty();
    match base.constraint() {
        Constraint::None => ty.to_string(),
        Constraint::Enum(atoms) => {
            let words: Vec<String> = atoms.iter().map(|atom| format!("`{}`", describe_atom(atom))).collect();
            format!("{ty}, of {}", words.join(", "))
        }
        Constraint::Integer { min, max: i64::MAX } => format!("{ty} from {min}"),
        Constraint::Integer { min: i64::MIN, max } => format!("{ty} up to {max}"),
        Constraint::Integer { min, max } => format!("{ty} from {min} to {max}"),
        Constraint::Real { min, max } => {
            let end = |word: &str, end: &Option<crate::data::Real>| {
                end.map_or(String::new(), |end| format!(" {word} {}", end.get()))
            };
            format!("{ty}{}{}", end("from", min), end("to", max))
        }
        Constraint::Length { min, max: i64::MAX } => format!("{ty} of {min} or more characters"),
        Constraint::Length { min, max } => format!("{ty} of {min} to {max} characters"),
        Constraint::Reference { table, kind: RefType::Strong } => format!("reference to [`{}`]", type_name(table)),
        Constraint::Reference { table, kind: RefType::Weak } => format!("weak reference to [`{}`]", type_name(table)),
    }
}

fn describe_atom(atom: &Atom) -> String {
    atom.as_str().map_or_else(|| atom.to_json().to_text(), str::to_owned)
}

/// For generated code: the schema whose text the generator printed.
#[doc(hidden)]
#[allow(clippy::expect_used, reason = "the text is what a valid schema printed, and from_json inverts to_json")]
pub fn generated(text: &str) -> Schema {
    let json = crate::json::parse(text.as_bytes()).expect("JSON as it was printed");
    Schema::from_json(&json).expect("a schema as it was printed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_forms() {
        for (table, ty) in [("Open_vSwitch", "OpenVSwitch"), ("sFlow", "SFlow"), ("CT_Zone", "CtZone"), ("QoS", "QoS")]
        {
            assert_eq!(type_name(table), ty);
        }
        let schema = br#"{"name":"D","version":"1.0.0","tables":{"A_b":{"maxRows":1,"indexes":[["n"]],"columns":{
            "n":{"type":{"key":{"type":"string","enum":["set",["x","y"]]}},"mutable":false},
            "o":{"type":{"key":{"type":"integer","minInteger":0,"maxInteger":9},"min":0},"ephemeral":true},
            "r":{"type":{"key":{"type":"uuid","refTable":"A_b","refType":"weak"},"min":0,"max":5}},
            "m":{"type":{"key":"real","value":{"type":"uuid","refTable":"A_b"},"min":0,"max":"unlimited"}}}}}}"#;
        let text = rust(&Schema::from_json(&crate::json::parse(schema).unwrap()).unwrap(), "ovs_db");
        for line in [
            "/// It has at most 1 row.",
            "/// No two rows have the same `n`.",
            "const NAME: &'static str = \"A_b\";",
            "/// Column `n`: one string, of `x`, `y`; fixed once the row is inserted.",
            "pub const N: ovs_db::client::Column<AB, ovs_db::client::One<str>> =",
            "/// Column `o`: at most one integer from 0 to 9; lost when the server restarts.",
            "pub const O: ovs_db::client::Column<AB, ovs_db::client::Optional<i64>> =",
            "/// Column `r`: at most 5 of weak reference to [`AB`].",
            "pub const R: ovs_db::client::Column<AB, ovs_db::client::Many<ovs_db::client::Id<AB>>> =",
            "ovs_db::client::Column::new(\"r\", 3);",
            "pub const M: ovs_db::client::Column<AB, ovs_db::client::Pairs<ovs_db::Real, ovs_db::client::Id<AB>>> =",
        ] {
            assert!(text.lines().any(|found| found.trim() == line), "{line}\nin\n{text}");
        }
    }
}
