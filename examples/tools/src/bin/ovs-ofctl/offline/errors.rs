//! Errors and hellos on the wire.

use ovs_ofproto::codec::{ErrorMessage, Header, Hello, Message, OfError, Version, Versions};
use ovs_ofproto::text::ofp_print;
use ovs_tools::hex;
use serde_json::{Value, json};

use super::print::{as_json, digits, hex_dump};
use crate::context::{Context, Done, Failure, version_name};

fn error_named(name: &str) -> Result<OfError, Failure> {
    OfError::by_name(name).ok_or_else(|| format!("unknown error \"{name}\"").into())
}

/// What an error is called in each version.
pub(crate) fn numbers(context: &mut Context) -> Done {
    let error = error_named(context.argument(0))?;
    for version in Version::KNOWN {
        if let (Some(n), Some(minor)) = (error.number(version), version.minor()) {
            let (vendor, kind, code) = (n.experimenter, n.kind, n.code);
            let shown = if vendor == 0 { "0".to_string() } else { format!("{vendor:#x}") };
            context.print_either(
                format_args!("OpenFlow 1.{minor}: vendor {shown}, type {kind}, code {code}\n"),
                || json!({"error": error, "version": version_name(version), "number": n}),
            )?;
        }
    }
    Ok(())
}

/// The answer to a request that fails.
pub(crate) fn reply(context: &mut Context) -> Done {
    let error = error_named(context.argument(0))?;
    let request = hex(context.argument(1)).map_err(|_| "Trailing garbage in hex data")?;
    let header = Header::decode(&request).map_err(|_| "Request too short".to_string())?;
    let reply = Message::Error(ErrorMessage::new(error, &request));
    let bytes = reply.encode(header.version, header.xid).map_err(|e| e.to_string())?;
    context.print_either(hex_dump(&bytes), || with_bytes(&bytes))
}

/// A message as JSON, with its bytes.
fn with_bytes(bytes: &[u8]) -> Value {
    let mut object = as_json(bytes);
    if let Some(object) = object.as_object_mut() {
        object.insert("bytes".to_string(), digits(bytes).into());
    }
    object
}

/// The hello of one who speaks the versions whose bits are set.
pub(crate) fn hello(context: &mut Context) -> Done {
    let text = context.argument(0);
    let bits = ovs_packet::text::integer(text).and_then(|n| u32::try_from(n).ok());
    let versions = Versions(bits.ok_or_else(|| format!("{text}: not a number of 32 bits"))?);
    let highest = versions.highest().ok_or("no version in the bitmap")?;
    // A set without holes below the highest needs no list.
    let hello = match Versions::up_to(highest) == versions {
        true => Hello::default(),
        false => Hello::new(versions),
    };
    let bytes = Message::Hello(hello).encode(highest, 1).map_err(|e| e.to_string())?;
    let verbosity = context.verbosity(0);
    let text = format!("{}{}", hex_dump(&bytes), ofp_print(&bytes, verbosity));
    context.print_either(text, || with_bytes(&bytes))
}
