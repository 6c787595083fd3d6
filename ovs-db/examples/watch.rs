//! Follows the database of a switch and prints what changes: `watch [REMOTE]`, by default the switch of this machine.

use std::time::{Duration, Instant};

use ovs_db::client::{Client, ClientOptions, Driver, Monitor};
use ovs_db::{rpc::Remote, vswitch};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let remotes = std::env::args().nth(1).unwrap_or("unix:/var/run/openvswitch/db.sock".to_owned());
    let client = Client::new(
        Monitor::all(vswitch::schema()),
        Remote::parse_list(&remotes)?,
        ClientOptions::default(),
        Duration::ZERO,
    );
    let (mut driver, start) = (Driver::new(client), Instant::now());
    loop {
        driver.run(start.elapsed());
        let client = driver.client_mut();
        while let Some(event) = client.poll_event() {
            println!("{event:?}");
        }
        for change in client.replica().changes() {
            match (change.old, change.new) {
                (Some(old), Some(new)) => {
                    for name in change.columns() {
                        println!(
                            "{} {} {name}: {:?} became {:?}",
                            new.table(),
                            new.uuid(),
                            old.cell(name),
                            new.cell(name)
                        );
                    }
                }
                (_, Some(row)) => println!("new {row:?}"),
                (row, None) => println!("gone {row:?}"),
            }
        }
        client.clear_changes();
        driver.wait(start.elapsed(), Duration::MAX)?;
    }
}
