//! A client of a database server: a replica that follows the server, and transactions.
//!
//! - [`Monitor`] says what to follow: typed [`Column`]s, quiet ones among them, and [`Filter`]s of rows.
//! - [`Client`] is the protocol without sockets and clocks: it finds a server that has the database (the leader of a
//!   cluster, if asked), monitors by the best method that the server knows, holds a lock, resynchronises after a loss.
//! - [`Replica`] is what it follows: rows, and which of them changed since the last look, with their old values.
//! - [`Transaction`] is a change to make, [`Report`] what became of it.
//! - [`Driver`] is the edge: it runs a [`Client`] over sockets that do not block (feature `net`).
//!
//! # Example
//!
//! What a switch does, again and again: look at what changed, and write back what it did about it.
//!
//! ```no_run
//! use std::time::{Duration, Instant};
//! use ovs_db::client::{Client, ClientOptions, Driver, Monitor, Transaction};
//! use ovs_db::vswitch::{self, Bridge, Interface, OpenVSwitch};
//!
//! let mut monitor = Monitor::new(vswitch::schema());
//! monitor.watch(OpenVSwitch::BRIDGES).watch(OpenVSwitch::NEXT_CFG).watch_quietly(OpenVSwitch::CUR_CFG);
//! monitor.watch(Bridge::NAME).watch(Interface::NAME).watch_quietly(Interface::OFPORT);
//! let remotes = vec!["unix:/run/openvswitch/db.sock".parse()?];
//! let (start, wait) = (Instant::now(), Duration::from_secs(1));
//! let mut driver = Driver::new(Client::new(monitor, remotes, ClientOptions::default(), Duration::ZERO));
//! loop {
//!     driver.run(start.elapsed());
//!     let client = driver.client_mut();
//!     if client.replica().is_changed() {
//!         for change in client.replica().changes_of::<Bridge>() {
//!             println!("{:?} became {:?}", change.old, change.new);
//!         }
//!         let mut txn = Transaction::new();
//!         if let Some(root) = client.replica().single::<OpenVSwitch>() {
//!             for id in root.get(OpenVSwitch::BRIDGES).iter() {
//!                 println!("{:?}", client.replica().row(id).map(|bridge| bridge.get(Bridge::NAME)));
//!             }
//!             txn.set(root.id(), OpenVSwitch::CUR_CFG, root.get(OpenVSwitch::NEXT_CFG));
//!         }
//!         client.clear_changes();
//!         client.commit(&txn);
//!     }
//!     while let Some((id, report)) = client.poll_report() {
//!         println!("{id:?}: {:?}", report.status);
//!     }
//!     driver.wait(start.elapsed(), wait)?;
//! }
//! # #[allow(unreachable_code)] Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod column;
#[cfg(feature = "net")]
mod driver;
mod event;
mod filter;
mod method;
mod monitor;
mod replica;
mod server;
mod sync;
mod transaction;
mod updates;

pub use column::{Column, Form, Id, Key, Many, MapView, One, Optional, Pairs, SetView, Table};
#[cfg(feature = "net")]
pub use driver::Driver;
pub use event::{ClientOptions, Commit, Event, TransactionId};
pub use filter::{Clause, Filter};
pub use monitor::{Missing, Monitor};
pub use replica::{Replica, RowChange, RowView, UpdateError};
pub use sync::Client;
pub use transaction::{Report, Status, Transaction, TransactionError};
