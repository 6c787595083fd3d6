//! What a flow is on the wire in each version of OpenFlow, and what is read from there: the codec alone, as a controller
//! uses it, without sockets, threads or a switch.
//!
//! ```text
//! cargo run -p ovs-ofproto --no-default-features --example convert -- 'tcp,tp_dst=80,actions=dec_ttl,output:2'
//! ```

use std::error::Error;

use ovs_ofproto::FlowMod;
use ovs_ofproto::codec::{Framer, Message, Version};

fn main() -> Result<(), Box<dyn Error>> {
    let text = std::env::args().nth(1).unwrap_or_else(|| "tcp,tp_dst=80,actions=dec_ttl,output:2".to_string());
    let message = Message::from(text.parse::<FlowMod>()?);
    for version in Version::KNOWN {
        let bytes = match message.encode(version, 1) {
            Ok(bytes) => bytes,
            Err(e) => {
                println!("{version}: {e}");
                continue;
            }
        };
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        println!("{version}: {hex}");
        // A socket would give the bytes in pieces, and several messages at once.
        let mut framer = Framer::new();
        framer.push(&bytes);
        for frame in framer {
            if let (header, Message::FlowMod(flow)) = Message::decode(&frame?)? {
                println!("    xid {}: {flow}", header.xid);
            }
        }
    }
    Ok(())
}
