//! Messages in words and as JSON.

use std::io::{self, BufRead, Read};

use ovs_ofproto::json::Document;
use ovs_ofproto::text::ofp_print_in_names;
use ovs_tools::hex;
use serde_json::{Value, json};

use crate::context::{Context, Done, Failure};

/// A message as JSON; one that cannot be read as what is wrong with it, and its bytes.
pub(crate) fn as_json(bytes: &[u8]) -> Value {
    let document = Document::of_bytes(bytes);
    match &document {
        Ok(document) => serde_json::to_value(document).unwrap_or_else(|e| json!({"error": e.to_string()})),
        Err(e) => json!({"error": e.error, "at": e.at, "expected": e.what, "bytes": digits(bytes)}),
    }
}

/// Bytes in hexadecimal.
pub(crate) fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Prints a message, in words or as JSON.
pub(crate) fn print(context: &mut Context, bytes: &[u8], verbosity: u8) -> Done {
    match context.options.is_json() {
        true => context.print_json(&as_json(bytes)),
        false => {
            let text = ofp_print_in_names(bytes, verbosity, &*context.names);
            context.print(text)
        }
    }
}

/// Sixteen bytes a line.
pub(crate) fn hex_dump(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (n, line) in bytes.chunks(16).enumerate() {
        text += &format!("{:08x} ", n * 16);
        for (i, b) in line.iter().enumerate() {
            text += &format!("{}{b:02x}", if i == 8 { '-' } else { ' ' });
        }
        text.push('\n');
    }
    text
}

pub(crate) fn message(context: &mut Context) -> Done {
    let verbosity = match context.arguments.get(1) {
        Some(text) => text.parse().map_err(|_| format!("{text}: not a verbosity from 0 to 255"))?,
        None => 2,
    };
    let failed = |e: io::Error| Failure::from(format!("standard input: {e}"));
    let bytes = match (context.argument(0), context.options.raw) {
        ("-", true) => {
            let mut bytes = Vec::new();
            io::stdin().lock().read_to_end(&mut bytes).map_err(failed)?;
            bytes
        }
        (text, _) => {
            let mut line = text.to_string();
            if text == "-" {
                line.clear();
                io::stdin().lock().read_line(&mut line).map_err(failed)?;
            }
            hex(&line).map_err(|_| "trailing garbage following hex bytes")?
        }
    };
    print(context, &bytes, verbosity)
}
