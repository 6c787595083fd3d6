//! Operations as typed values (RFC 7047 section 5.2).

use uuid::Uuid;

use super::condition::Condition;
use super::failure::Failure;
use super::mutation::Mutation;
use super::table::column_type;
use crate::data::parse::{Members, array, expected, identifier, member, string};
use crate::data::{Datum, NamedUuids};
use crate::error::{Error, ErrorKind};
use crate::json::Json;
use crate::schema::{ColumnSchema, Schema, TableSchema};

/// Columns and their new content.
pub(crate) type Assignments = Vec<(String, Datum)>;

/// One operation of a transaction, checked against the schema.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Operation {
    Insert { table: String, row: Assignments, uuid: Option<Uuid>, name: Option<String> },
    Select { table: String, conditions: Vec<Condition>, columns: Vec<String> },
    Update { table: String, conditions: Vec<Condition>, row: Assignments },
    Mutate { table: String, conditions: Vec<Condition>, mutations: Vec<Mutation> },
    Delete { table: String, conditions: Vec<Condition> },
    Wait { table: String, conditions: Vec<Condition>, columns: Vec<String>, equal: bool, rows: Vec<Vec<Datum>> },
    Commit,
    Abort,
    Comment,
    Assert { lock: String },
}

impl Operation {
    /// Reads one element of the parameters of a `transact` request.
    pub(crate) fn from_json(schema: &Schema, json: &Json, names: &NamedUuids) -> Result<Operation, Failure> {
        let mut members = Members::of(json)?;
        let word = string(members.required("op")?).map_err(|error| error.at(member("op")))?;
        let operation = match word {
            "insert" => insert(schema, &mut members, names)?,
            "select" => {
                let (name, table) = table_of(schema, &mut members)?;
                let conditions = conditions(name, table, &mut members, names)?;
                let columns = columns(name, table, &mut members)?;
                Operation::Select { table: name.to_owned(), conditions, columns }
            }
            "update" => {
                let (name, table) = table_of(schema, &mut members)?;
                let row = assignments(name, table, members.required("row")?, names)?;
                for (column, _) in &row {
                    if !writable(name, table, column)?.mutable {
                        return Err(Failure::Immutable { table: name.to_owned(), column: column.clone() });
                    }
                }
                let conditions = conditions(name, table, &mut members, names)?;
                Operation::Update { table: name.to_owned(), conditions, row }
            }
            "mutate" => {
                let (name, table) = table_of(schema, &mut members)?;
                let mutations = members.required("mutations")?;
                let mutations = array(mutations).map_err(|error| error.at(member("mutations")))?;
                let mutations = mutations.iter().map(|json| Mutation::from_json(name, table, json, names));
                let mutations = mutations.collect::<Result<_, _>>()?;
                let conditions = conditions(name, table, &mut members, names)?;
                Operation::Mutate { table: name.to_owned(), conditions, mutations }
            }
            "delete" => {
                let (name, table) = table_of(schema, &mut members)?;
                let conditions = conditions(name, table, &mut members, names)?;
                Operation::Delete { table: name.to_owned(), conditions }
            }
            "wait" => wait(schema, &mut members, names)?,
            "commit" => {
                let json = members.required("durable")?;
                let durable = json.as_bool().ok_or_else(|| expected("a boolean", json).at(member("durable")))?;
                if durable {
                    return Err(Failure::NotSupported("a database in memory has no durable commit"));
                }
                Operation::Commit
            }
            "abort" => Operation::Abort,
            "comment" => {
                string(members.required("comment")?).map_err(|error| error.at(member("comment")))?;
                Operation::Comment
            }
            "assert" => {
                let lock = identifier(members.required("lock")?).map_err(|error| error.at(member("lock")))?;
                Operation::Assert { lock: lock.to_owned() }
            }
            other => return Err(Error::new(ErrorKind::UnknownWord(other.to_owned())).at(member("op")).into()),
        };
        members.finish()?;
        Ok(operation)
    }
}

fn insert<'a>(schema: &'a Schema, members: &mut Members<'a>, names: &NamedUuids) -> Result<Operation, Failure> {
    let (name, table) = table_of(schema, members)?;
    let row = assignments(name, table, members.required("row")?, names)?;
    let uuid_name = members.optional("uuid-name").map(identifier).transpose();
    let uuid_name = uuid_name.map_err(|error| error.at(member("uuid-name")))?.map(str::to_owned);
    let uuid = members.optional("uuid").map(crate::data::parse::uuid).transpose();
    let uuid = uuid.map_err(|error| error.at(member("uuid")))?;
    Ok(Operation::Insert { table: name.to_owned(), row, uuid, name: uuid_name })
}

fn wait<'a>(schema: &'a Schema, members: &mut Members<'a>, names: &NamedUuids) -> Result<Operation, Failure> {
    if members.optional_integer("timeout")? != Some(0) {
        return Err(Failure::NotSupported("this engine answers at once: wait needs a timeout of 0"));
    }
    let (name, table) = table_of(schema, members)?;
    let conditions = conditions(name, table, members, names)?;
    let columns = columns(name, table, members)?;
    let equal = match string(members.required("until")?).map_err(|error| error.at(member("until")))? {
        "==" => true,
        "!=" => false,
        other => return Err(Error::new(ErrorKind::UnknownWord(other.to_owned())).at(member("until")).into()),
    };
    let mut rows = Vec::new();
    for json in array(members.required("rows")?).map_err(|error| error.at(member("rows")))? {
        let mut given = read_row(name, table, json, names)?;
        let row = columns.iter().map(|column| {
            let at = given.iter().position(|(name, _)| name == column);
            let datum = at.map(|at| given.swap_remove(at).1);
            datum.or_else(|| Some(column_type(table, column)?.default_datum())).ok_or_else(|| unknown(name, column))
        });
        rows.push(row.collect::<Result<Vec<_>, _>>()?);
        if let Some((column, _)) = given.first() {
            return Err(unknown(name, column));
        }
    }
    Ok(Operation::Wait { table: name.to_owned(), conditions, columns, equal, rows })
}

fn unknown(table: &str, column: &str) -> Failure {
    Failure::UnknownColumn { table: table.to_owned(), column: column.to_owned() }
}

/// A column that an insert may set.
pub(crate) fn writable<'a>(
    table_name: &str,
    table: &'a TableSchema,
    column: &str,
) -> Result<&'a ColumnSchema, Failure> {
    match table.columns.get(column) {
        Some(schema) => Ok(schema),
        None if matches!(column, "_uuid" | "_version") => {
            Err(Failure::Immutable { table: table_name.to_owned(), column: column.to_owned() })
        }
        None => Err(unknown(table_name, column)),
    }
}

fn table_of<'a>(schema: &'a Schema, members: &mut Members<'a>) -> Result<(&'a str, &'a TableSchema), Failure> {
    let name = string(members.required("table")?).map_err(|error| error.at(member("table")))?;
    schema.table(name).map(|table| (name, table)).ok_or_else(|| Failure::UnknownTable(name.to_owned()))
}

fn conditions(
    name: &str,
    table: &TableSchema,
    members: &mut Members<'_>,
    names: &NamedUuids,
) -> Result<Vec<Condition>, Failure> {
    let clauses = array(members.required("where")?).map_err(|error| error.at(member("where")))?;
    clauses.iter().map(|json| Condition::from_json(name, table, json, names)).collect()
}

/// The columns asked for; all of them when the operation does not say.
fn columns(name: &str, table: &TableSchema, members: &mut Members<'_>) -> Result<Vec<String>, Failure> {
    let Some(json) = members.optional("columns") else {
        let implicit = ["_uuid".to_owned(), "_version".to_owned()];
        return Ok(implicit.into_iter().chain(table.columns.keys().cloned()).collect());
    };
    let at = |error: Error| error.at(member("columns"));
    let mut columns: Vec<String> = Vec::new();
    for json in array(json).map_err(at)? {
        let column = string(json).map_err(at)?;
        if column_type(table, column).is_none() {
            return Err(unknown(name, column));
        }
        if columns.iter().any(|known| known == column) {
            return Err(at(Error::new(ErrorKind::Duplicate)).into());
        }
        columns.push(column.to_owned());
    }
    Ok(columns)
}

/// A row whose columns an insert or update sets.
fn assignments(name: &str, table: &TableSchema, json: &Json, names: &NamedUuids) -> Result<Assignments, Failure> {
    let row = read_row(name, table, json, names)?;
    for (column, _) in &row {
        writable(name, table, column)?;
    }
    Ok(row)
}

/// RFC 7047 section 5.1 `<row>`.
fn read_row(name: &str, table: &TableSchema, json: &Json, names: &NamedUuids) -> Result<Assignments, Failure> {
    let members = json.as_object().ok_or_else(|| expected("an object", json).at(member("row")))?;
    let columns = members.iter().map(|(column, json)| {
        let ty = column_type(table, column).ok_or_else(|| unknown(name, column))?;
        let datum = Datum::from_json(&ty, json, names);
        let datum = datum.map_err(|error| error.at(format!("column {column:?}")).at(format!("table {name:?}")))?;
        Ok((column.clone(), datum))
    });
    columns.collect()
}

/// The names that the inserts among `operations` define, with their UUIDs. Where a name is defined twice the first
/// definition counts: the second insert will fail.
pub(crate) fn define_names(operations: &[Json], new_uuid: &mut dyn FnMut() -> Uuid) -> NamedUuids {
    let mut names = NamedUuids::new();
    for json in operations {
        let is_insert = json.get("op").and_then(Json::as_str) == Some("insert");
        let Some(name) = json.get("uuid-name").and_then(Json::as_str).filter(|_| is_insert) else { continue };
        if !names.contains_key(name) {
            let chosen = json.get("uuid").and_then(|json| crate::data::parse::uuid(json).ok());
            names.insert(name.to_owned(), chosen.unwrap_or_else(&mut *new_uuid));
        }
    }
    names
}
