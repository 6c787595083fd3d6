//! What a server tells of itself: the table `Database` of its database `_Server` (ovsdb-server(5)).

use std::sync::{Arc, LazyLock};

use uuid::Uuid;

use super::column::{Column, One, Optional, Table};
use super::monitor::Monitor;
use super::replica::Replica;
use crate::schema::Schema;

/// The database that a server describes itself by.
pub(crate) const SERVER_DATABASE: &str = "_Server";

/// The columns that a client needs.
const SCHEMA: &str = r#"{"name":"_Server","version":"1.2.0","tables":{"Database":{"columns":{
    "cid":{"type":{"key":"uuid","min":0}},
    "connected":{"type":"boolean"},
    "index":{"type":{"key":"integer","min":0}},
    "leader":{"type":"boolean"},
    "model":{"type":"string"},
    "name":{"type":"string"},
    "schema":{"type":{"key":"string","min":0}}}}}}"#;

enum Database {}

impl Table for Database {
    const NAME: &'static str = "Database";
}

impl Database {
    const CID: Column<Database, Optional<Uuid>> = Column::new("cid", 0);
    const CONNECTED: Column<Database, One<bool>> = Column::new("connected", 1);
    const INDEX: Column<Database, Optional<i64>> = Column::new("index", 2);
    const LEADER: Column<Database, One<bool>> = Column::new("leader", 3);
    const MODEL: Column<Database, One<str>> = Column::new("model", 4);
    const NAME: Column<Database, One<str>> = Column::new("name", 5);
    const SCHEMA: Column<Database, Optional<str>> = Column::new("schema", 6);
}

pub(crate) fn monitor() -> Monitor {
    static SCHEMA_OF_SERVER: LazyLock<Arc<Schema>> = LazyLock::new(|| Arc::new(crate::codegen::generated(SCHEMA)));
    Monitor::all(Arc::clone(&SCHEMA_OF_SERVER))
}

/// What a client asks of the server of its database.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) database: &'a str,
    pub(crate) cluster: Option<Uuid>,
    pub(crate) leader_only: bool,
    /// The greatest log index that was seen of the cluster.
    pub(crate) min_index: i64,
}

/// What the server is to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It serves the database with this schema; its log has this index.
    Good { schema: String, index: Option<i64> },
    /// It may serve the database later.
    NotYet(String),
    /// Another server is to be tried.
    Unfit(String),
}

/// Judges a server by the rows that it has for its databases.
pub(crate) fn judge(databases: &Replica, wanted: &Wanted<'_>) -> Verdict {
    let name = wanted.database;
    let unfit = |why: &str| Verdict::Unfit(format!("database {name:?}: {why}"));
    let row = databases.rows::<Database>().find(|row| {
        row.get(Database::NAME) == name && (wanted.cluster.is_none() || row.get(Database::CID) == wanted.cluster)
    });
    let Some(row) = row else {
        return Verdict::NotYet(format!("the server has no database {name:?}"));
    };
    let index = row.get(Database::INDEX);
    match row.get(Database::MODEL) {
        "clustered" => {
            if !row.get(Database::CONNECTED) {
                return unfit("the server is not connected to its cluster");
            }
            if wanted.leader_only && !row.get(Database::LEADER) {
                return unfit("the server is not the leader of its cluster");
            }
            if index.is_some_and(|index| index < wanted.min_index) {
                return unfit("the server has older data than was seen already");
            }
        }
        "relay" if !row.get(Database::CONNECTED) => return unfit("the relay is not connected to its source"),
        _ => {}
    }
    match row.get(Database::SCHEMA) {
        Some(schema) => Verdict::Good { schema: schema.to_owned(), index },
        None => unfit("the server has not loaded it yet"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse;

    fn judged(columns: &str, leader_only: bool, cluster: Option<u128>) -> Verdict {
        let mut databases = Replica::new(&monitor());
        let text = format!(r#"{{"Database":{{"{}":{{"initial":{{{columns}}}}}}}}}"#, Uuid::from_u128(1));
        databases.load_updates2(&parse(text.as_bytes()).unwrap()).unwrap();
        let cluster = cluster.map(Uuid::from_u128);
        judge(&databases, &Wanted { database: "D", cluster, leader_only, min_index: 5 })
    }

    #[test]
    fn servers_are_judged_by_what_they_say() {
        let good = |index| Verdict::Good { schema: "{}".into(), index };
        let is_unfit = |verdict| matches!(verdict, Verdict::Unfit(_));
        assert_eq!(judged(r#""name":"D","model":"standalone","schema":"{}""#, true, None), good(None));
        assert!(matches!(judged(r#""name":"E","schema":"{}""#, false, None), Verdict::NotYet(_)));
        assert!(is_unfit(judged(r#""name":"D","model":"standalone""#, false, None)));
        let clustered = |rest: &str| format!(r#""name":"D","model":"clustered","schema":"{{}}"{rest}"#);
        assert!(is_unfit(judged(&clustered(""), false, None)));
        assert_eq!(judged(&clustered(r#","connected":true"#), false, None), good(None));
        assert!(is_unfit(judged(&clustered(r#","connected":true"#), true, None)));
        assert_eq!(judged(&clustered(r#","connected":true,"leader":true,"index":5"#), true, None), good(Some(5)));
        assert!(is_unfit(judged(&clustered(r#","connected":true,"index":4"#), false, None)));
        let of_cluster = clustered(&format!(r#","connected":true,"cid":["uuid","{}"]"#, Uuid::from_u128(7)));
        assert_eq!(judged(&of_cluster, false, Some(7)), good(None));
        assert!(matches!(judged(&of_cluster, false, Some(8)), Verdict::NotYet(_)));
        assert!(is_unfit(judged(r#""name":"D","model":"relay","schema":"{}""#, false, None)));
    }
}
