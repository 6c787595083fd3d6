//! Runs transactions on a database in memory: `transact SCHEMA-FILE < REQUESTS`, where each line is the parameters of a
//! `transact` request. Prints a line of results for each.

use std::collections::BTreeSet;
use std::io::BufRead;

use ovs_db::{Database, Schema, Session, Uuid, json};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args().nth(1).ok_or("usage: transact SCHEMA-FILE < REQUESTS")?;
    let mut db = Database::new(Schema::from_json(&json::parse(&std::fs::read(file)?)?)?);
    let locks = BTreeSet::new();
    let mut new_uuid = Uuid::new_v4;
    for line in std::io::stdin().lock().lines() {
        let request = json::parse(line?.as_bytes())?;
        let params = request.as_array().ok_or("a line is not an array")?;
        let mut session = Session { new_uuid: &mut new_uuid, locks: &locks };
        match db.transact_request(params, &mut session) {
            Ok(outcome) => println!("{}", outcome.to_json()),
            Err(failure) => println!("{}", failure.to_json()),
        }
    }
    Ok(())
}
