//! Commands that tell of tunnels.

use super::{Call, Command, Reply, command, text};
use crate::server::Server;
use crate::vswitch::Tunnel;

pub(super) const COMMANDS: &[Command] = &[command("ofproto/list-tunnels", "", 0, 0, list)];

fn list(server: &mut Server, _: &Call<'_>) -> Option<Reply> {
    let ports = server.switch.bridges().flat_map(|b| b.ports());
    let lines = ports.filter_map(|port| {
        let config = port.tunnel().and_then(Tunnel::config)?;
        Some(config.describe(&port.name, port.datapath?) + "\n")
    });
    text(lines.collect::<String>())
}
