//! `ovs-ofctl`: flows and OpenFlow messages on the command line.
//!
//! `options` reads the command line, `commands` is the table of the sub-commands; those that need no switch are in
//! `offline`, the others in `online`.

mod commands;
mod context;
mod options;
mod watchdog;

/// What needs no switch.
mod offline {
    pub(crate) mod compose;
    pub(crate) mod errors;
    pub(crate) mod language;
    pub(crate) mod matches;
    pub(crate) mod packets;
    pub(crate) mod print;
    pub(crate) mod streams;
    pub(crate) mod wire;
}

/// What talks to a switch.
mod online {
    pub(crate) mod bundle;
    pub(crate) mod compare;
    pub(crate) mod conntrack;
    pub(crate) mod daemon;
    pub(crate) mod dump;
    pub(crate) mod flows;
    pub(crate) mod groups;
    pub(crate) mod meters;
    pub(crate) mod monitor;
    pub(crate) mod packet_out;
    pub(crate) mod ports;
    pub(crate) mod probe;
    pub(crate) mod statistics;
    pub(crate) mod switch;
    pub(crate) mod tables;
    pub(crate) mod tlv;
}

use std::process::ExitCode;

use context::{Context, Failure};

fn main() -> ExitCode {
    let mut json = false;
    let result = options::read().and_then(|options| {
        json = options.is_json();
        ovs_tools::logging::start(&options.verbose);
        watchdog::start(options.timeout);
        let mut context = Context::new(options)?;
        let done = commands::run(&mut context);
        context.finish().and(done)
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Says(text)) => {
            match json {
                true => eprintln!("{}", serde_json::json!({"error": text})),
                false => eprintln!("ovs-ofctl: {text}"),
            }
            ExitCode::FAILURE
        }
        Err(Failure::Status(status)) => status,
    }
}
