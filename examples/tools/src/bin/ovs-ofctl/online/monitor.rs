//! What a switch says unasked, until somebody ends it.

use std::fs::File;
use std::io::Write;

use ovs_db::net;
use ovs_db::unixctl::{ControlSocket, InvocationKey, Reply, Server, control_path, run_directory};
use ovs_ofproto::codec::{Message, Page, Version, Versions};
use ovs_ofproto::session::edge::ClientError;
use ovs_ofproto::session::{CloseReason, Frame};
use ovs_ofproto::text::{Parser, ofp_print_in_names};
use ovs_tools::calendar::{date, since_1970, time_of_day};
use ovs_tools::hex;

use super::daemon;
use super::statistics::{configuration, configure};
use super::switch::{Names, Socket, Switch, clock};
use crate::context::{Context, Done, Failure, VersionNames, refuse};
use crate::offline::print::{as_json, print};

/// Of a switch's configuration: packets whose TTL is used up go to the controllers.
const INVALID_TTL: u16 = 4;
/// Packets as OpenFlow has them, as Nicira has them, and as Nicira has them with properties.
const NXT_PACKET_IN: u32 = 1;
const NXT_PACKET_IN2: u32 = 2;

pub(crate) fn monitor(context: &mut Context) -> Done {
    let name = context.argument(0).to_string();
    let arguments: Vec<String> = context.arguments.iter().skip(1).cloned().collect();
    if arguments.iter().any(|a| a == "invalid_ttl") {
        let with: Versions = [Version::V1_0, Version::V1_1, Version::V1_2].into_iter().collect();
        let common = Versions(context.versions.0 & with.0);
        if common == Versions(0) {
            let names = VersionNames(with);
            let says = "invalid_ttl requires one of the OpenFlow versions";
            return Err(format!("{says} {names} but none is enabled (use -O)").into());
        }
        context.versions = common;
    }
    daemon::detach(context)?;
    let mut switch = Switch::open(context, &name)?;
    let mut resumes = false;
    for argument in &arguments {
        if argument.starts_with(|c: char| c.is_ascii_digit()) {
            let mut config = configuration(&mut switch)?;
            config.miss_send_len = argument.parse().map_err(|_| format!("{argument}: not a number up to 65535"))?;
            configure(context, &mut switch, config)?;
        } else if argument == "invalid_ttl" {
            report_ttl(context, &mut switch)?;
        } else if let Some(text) = argument.strip_prefix("watch:") {
            watch(context, &mut switch, text)?;
        } else if argument == "resume" {
            resumes = true;
            let mut config = configuration(&mut switch)?;
            config.miss_send_len = u16::MAX;
            configure(context, &mut switch, config)?;
        } else {
            return Err(format!("{argument}: unsupported \"monitor\" argument").into());
        }
    }
    choose_packet_in(context, &mut switch)?;
    context.names = Names::to_show(context, &name);
    run(context, &mut switch, resumes)
}

/// Without a network that the daemon has, nothing of it is asked here: it only listens.
pub(crate) fn snoop(context: &mut Context) -> Done {
    let name = context.argument(0).to_string();
    daemon::detach(context)?;
    let mut switch = Switch::open_socket(context, &name, Socket::Snoop)?;
    run(context, &mut switch, false)
}

fn report_ttl(context: &Context, switch: &mut Switch) -> Done {
    let mut config = configuration(switch)?;
    if config.flags & INVALID_TTL != 0 {
        return Ok(());
    }
    config.flags |= INVALID_TTL;
    configure(context, switch, config)?;
    // A switch need not say that it does not know the flag.
    match configuration(switch)?.flags & INVALID_TTL != 0 {
        true => Ok(()),
        false => {
            Err("setting invalid_ttl_to_controller failed (this switch probably doesn't support this flag)".into())
        }
    }
}

fn watch(context: &mut Context, switch: &mut Switch, text: &str) -> Done {
    let read = {
        let names = Names::of(context, context.argument(0));
        Parser::new(&names).flow_monitor(text).map_err(|e| refuse(text, &e))?
    };
    if (read.protocols & context.protocols).is_empty() {
        return Err(format!(
            "none of the usable flow formats ({}) is among the allowed flow formats ({})",
            read.protocols, context.protocols
        )
        .into());
    }
    let request = switch.frame(&Message::FlowMonitorRequest(Page { more: false, items: vec![read.value] }))?;
    if context.options.more > 0 {
        let verbosity = context.verbosity(2);
        print(context, request.bytes(), verbosity)?;
    }
    switch.dump(context, request)?;
    context.finish()
}

/// Asks for packets in the form that is wanted, or else in the one that says most.
fn choose_packet_in(context: &Context, switch: &mut Switch) -> Done {
    if let Some(format) = context.options.packet_in_format {
        let request = switch.frame(&Message::SetPacketInFormat(format))?;
        return switch.tell(context, vec![request]);
    }
    for format in [NXT_PACKET_IN2, NXT_PACKET_IN] {
        if format == NXT_PACKET_IN && switch.version() != Version::V1_0 {
            break;
        }
        let request = switch.frame(&Message::SetPacketInFormat(format))?;
        let refused = switch.client().transact_noreply(vec![request]).map_err(|e| switch.talking(&e))?;
        if refused.is_empty() {
            break;
        }
    }
    Ok(())
}

/// What the loop has beside the connection.
struct Watcher {
    server: Server,
    socket: Option<ControlSocket>,
    /// Who waits for the answer to a barrier.
    barrier: Option<InvocationKey>,
    blocked: bool,
    over: bool,
    resumes: bool,
}

fn run(context: &mut Context, switch: &mut Switch, resumes: bool) -> Done {
    let mut server = Server::new(format!("ovs-ofctl {}", env!("CARGO_PKG_VERSION")));
    for (name, usage, min, max) in [
        ("exit", "", 0, 0),
        ("ofctl/send", "OFMSG...", 1, usize::MAX),
        ("ofctl/packet-out", "\"in_port=<port> packet=<hex data> actions=...\"", 1, 1),
        ("ofctl/barrier", "", 0, 0),
        ("ofctl/set-output-file", "FILE", 1, 1),
        ("ofctl/block", "", 0, 0),
        ("ofctl/unblock", "", 0, 0),
    ] {
        server.register(name, usage, min, max);
    }
    let directory = run_directory(std::env::var_os("OVS_RUNDIR"));
    let path = control_path(&directory, "ovs-ofctl", std::process::id(), context.options.unixctl.as_deref());
    let socket = path.map(|path| ControlSocket::bind(&path).map_err(|e| format!("{}: {e}", path.display())));
    // A monitor that nobody controls from outside does without the folder for it.
    let socket = match socket.transpose() {
        Err(e) if context.options.detach || context.options.unixctl.is_some() => return Err(e.into()),
        socket => socket.ok().flatten(),
    };
    let pid_file = daemon::write_pid(context)?;
    daemon::ready(context)?;
    let mut watcher = Watcher { server, socket, barrier: None, blocked: false, over: false, resumes };
    let done = turn_until_over(context, switch, &mut watcher);
    drop(pid_file);
    done
}

fn turn_until_over(context: &Context, switch: &mut Switch, watcher: &mut Watcher) -> Done {
    let now = clock();
    loop {
        if let Some(socket) = &mut watcher.socket {
            socket.run(&mut watcher.server).map_err(|e| format!("control socket: {e}"))?;
        }
        // What the switch said before a call is told before it.
        show_all(context, switch, watcher)?;
        obey_calls(context, switch, watcher)?;
        show_all(context, switch, watcher)?;
        if let Some(socket) = &mut watcher.socket {
            socket.run(&mut watcher.server).map_err(|e| format!("control socket: {e}"))?;
        }
        if watcher.over {
            return Ok(());
        }
        // Calls that came in by now are not waited for.
        if obey_calls(context, switch, watcher)? {
            continue;
        }
        let driver = switch.client().driver();
        let timeout = driver.timeout(now());
        let speaks = (!watcher.blocked).then(|| driver.interest()).flatten();
        let speaks = speaks.map(|(fd, interest)| (fd, net::Interest { read: interest.read, write: interest.write }));
        let controls = watcher.socket.as_ref().map(|socket| socket.interest(&watcher.server));
        net::wait(speaks.into_iter().chain(controls.into_iter().flatten()), timeout).map_err(|e| e.to_string())?;
    }
}

/// Shows what the switch said by now, if it is listened to.
fn show_all(context: &Context, switch: &mut Switch, watcher: &mut Watcher) -> Done {
    while !watcher.blocked {
        let Some(frame) = switch.client().try_receive().map_err(|e| lost(&e))? else { break };
        show(context, switch, watcher, &frame)?;
    }
    Ok(())
}

/// Obeys what came in on the control socket. Whether anything did.
fn obey_calls(context: &Context, switch: &mut Switch, watcher: &mut Watcher) -> Result<bool, Failure> {
    let mut any = false;
    while let Some(call) = watcher.server.poll() {
        any = true;
        if let Some(reply) = obey(context, switch, watcher, &call.command, &call.arguments, call.key)? {
            watcher.server.reply(call.key, reply);
        }
    }
    Ok(any)
}

fn lost(error: &ClientError) -> Failure {
    match error {
        ClientError::Closed(CloseReason::Peer) => "vconn_recv (End of file)".into(),
        error => format!("vconn_recv ({error})").into(),
    }
}

/// Writes a message, and does what it asks for.
fn show(context: &Context, switch: &mut Switch, watcher: &mut Watcher, frame: &Frame) -> Done {
    let failed = |e: std::io::Error| Failure::from(format!("output: {e}"));
    let text = shown(context, "", frame.bytes(), context.verbosity(2));
    std::io::stderr().write_all(text.as_bytes()).map_err(failed)?;
    match Message::decode(frame.bytes()) {
        Ok((_, Message::BarrierReply)) => {
            if let Some(key) = watcher.barrier.take() {
                watcher.server.reply(key, Reply::Text(String::new()));
            }
        }
        Ok((_, Message::PacketIn(packet))) if watcher.resumes && packet.continuation.is_some() => {
            let resume = switch.frame(&Message::Resume(packet))?;
            let text = shown(context, "send: ", resume.bytes(), context.verbosity(2));
            std::io::stderr().write_all(text.as_bytes()).map_err(failed)?;
            switch.client().send(resume).map_err(|e| switch.talking(&e))?;
        }
        _ => {}
    }
    Ok(())
}

/// A message as it is written: in words behind a prefix and perhaps the time, or as a line of JSON, in which `sent` says
/// that it goes to the switch.
fn shown(context: &Context, prefix: &str, bytes: &[u8], verbosity: u8) -> String {
    let time = since_1970();
    let stamp =
        (context.options.timestamp && prefix.is_empty()).then(|| format!("{} {}", date(time), time_of_day(time)));
    if !context.options.is_json() {
        let stamp = stamp.map(|stamp| stamp + ": ").unwrap_or_default();
        return format!("{prefix}{stamp}{}", ofp_print_in_names(bytes, verbosity, &*context.names));
    }
    let mut value = as_json(bytes);
    if let Some(object) = value.as_object_mut() {
        if !prefix.is_empty() {
            object.insert("sent".to_string(), true.into());
        }
        if let Some(stamp) = stamp {
            object.insert("time".to_string(), stamp.into());
        }
    }
    format!("{value}\n")
}

/// Does what was said on the control socket. Nothing is answered yet to what takes time.
fn obey(
    context: &Context,
    switch: &mut Switch,
    watcher: &mut Watcher,
    command: &str,
    arguments: &[String],
    key: InvocationKey,
) -> Result<Option<Reply>, Failure> {
    let done = || Ok(Some(Reply::Text(String::new())));
    match command {
        "exit" => {
            watcher.over = true;
            done()
        }
        "ofctl/block" if watcher.blocked => Ok(Some(Reply::Error("already blocking".into()))),
        "ofctl/unblock" if !watcher.blocked => Ok(Some(Reply::Error("already unblocked".into()))),
        "ofctl/block" | "ofctl/unblock" => {
            watcher.blocked = command == "ofctl/block";
            done()
        }
        "ofctl/set-output-file" => match File::create(arguments.first().map_or("", String::as_str)) {
            // What goes wrong later is said there too.
            Ok(file) => match rustix::stdio::dup2_stderr(&file) {
                Ok(()) => done(),
                Err(e) => Ok(Some(Reply::Error(e.to_string()))),
            },
            Err(e) => Ok(Some(Reply::Error(e.to_string()))),
        },
        "ofctl/barrier" => {
            if watcher.barrier.is_some() {
                return Ok(Some(Reply::Error("already waiting for barrier reply".into())));
            }
            let xid = switch.next_xid();
            let barrier = switch.frame(&Message::BarrierRequest)?.with_xid(xid);
            switch.client().send(barrier).map_err(|e| switch.talking(&e))?;
            watcher.barrier = Some(key);
            Ok(None)
        }
        "ofctl/packet-out" => {
            let text = arguments.first().map_or("", String::as_str);
            let read = Parser::default().packet_out(text);
            let message = match read {
                Err(e) => return Ok(Some(Reply::Error(format!("{}\n", e.problem)))),
                Ok(read) if !read.protocols.contains(switch.protocol()) => {
                    let says = "PACKET_OUT actions are incompatible with the OpenFlow connection.\n";
                    return Ok(Some(Reply::Error(says.into())));
                }
                Ok(read) => switch.frame(&Message::PacketOut(read.value))?,
            };
            let text = shown(context, "", message.bytes(), context.verbosity(0));
            std::io::stderr().write_all(text.as_bytes()).map_err(|e| format!("output: {e}"))?;
            switch.client().send(message).map_err(|e| switch.talking(&e))?;
            done()
        }
        _ => send_all(context, switch, arguments).map(Some),
    }
}

/// Sends messages in hexadecimal as they are.
fn send_all(context: &Context, switch: &mut Switch, arguments: &[String]) -> Result<Reply, Failure> {
    let (mut said, mut well) = (String::new(), true);
    for digits in arguments {
        let read = hex(digits).map_err(|_| "Trailing garbage in hex data").and_then(|bytes| match bytes.len() {
            0..8 => Err("Message too short for OpenFlow"),
            _ => Frame::new(bytes).map_err(|_| "Message size does not match length in OpenFlow header"),
        });
        match read {
            Err(says) => {
                well = false;
                said += says;
            }
            Ok(frame) => {
                let text = shown(context, "send: ", frame.bytes(), context.verbosity(0));
                std::io::stderr().write_all(text.as_bytes()).map_err(|e| format!("output: {e}"))?;
                switch.client().send(frame).map_err(|e| switch.talking(&e))?;
                said += "sent";
            }
        }
        said.push('\n');
    }
    Ok(if well { Reply::Text(said) } else { Reply::Error(said) })
}
