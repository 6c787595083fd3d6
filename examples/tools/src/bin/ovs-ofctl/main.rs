//! `ovs-ofctl`: flows and OpenFlow messages on the command line.
//!
//! `options` reads the command line, `commands` is the table of the sub-commands; those that need no switch are in
//! `offline`, the others in `online`.
//!
//! # JSON
//!
//! With `--format json`, all that is printed is a JSON object a line: messages as [`Document`](ovs_ofproto::json) has
//! them, flows that are sorted or without statistics as flows alone, what is none of these as an object with names of
//! its own. A message that cannot be read is `{"error", "at", "expected", "bytes"}`; what ends the program is `{"error"}`
//! on standard error. Ports and tables are numbers there, whatever `--names` says.
//!
//! # Where it differs from upstream's tool, and why
//!
//! | input | upstream | here | why |
//! |---|---|---|---|
//! | `output:NXM_NX_XXREG3` | sends offset and length `0x007f`, which say bits 1 to 64 | refused when it is sent | the length of a run of bits has 6 bits on the wire: 128 overflows into the offset |
//! | `NXOXM_ET_ERSPAN_VER(01)`, bytes `ffff1805 00002320 01` | `ffff1906 00002320 0101`: mask 1 | `ffff1805 00002320 01`: exact | the value goes for the mask, so that versions 3, 5 and 7 match too; so with direction and hardware id |
//! | `NXOXM_ET_ERSPAN_IDX(01020304)` | accepted | OFPBMC_BAD_VALUE | the index has 20 bits |
//! | transaction ids | counted over all connections of the process | over each | names of ports and tables are asked for only where one is met |
//!
//! The first three are tests 460 to 462, 470 and 814 of upstream's suite. A switch that says nothing is given up after a
//! minute.

mod color;
mod commands;
mod context;
mod input;
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
