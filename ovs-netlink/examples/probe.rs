//! Shows the kernel's datapaths, their ports and flows, or why there are none; with `create NAME`, makes a datapath and a
//! port, shows them and deletes them again.
//!
//! ```text
//! cargo run --example probe
//! cargo run --example probe -- create dp0      (as root, with the module openvswitch)
//! ```

use std::process::ExitCode;

use ovs_netlink::ovs::{Command, Datapath, Flow, IfName, UserFeatures, Vport, VportType};
use ovs_netlink::{Families, Flags, Protocol, Socket, SocketError, probe_datapath};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        [] => show(),
        ["create", name] => name.parse().map_err(Into::into).and_then(create),
        _ => Err("usage: probe [create NAME]".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn show() -> Result<()> {
    let datapaths = probe_datapath()?;
    println!("{} datapaths", datapaths.len());
    let mut kernel = Kernel::open()?;
    for datapath in datapaths {
        kernel.show(&datapath)?;
    }
    Ok(())
}

fn create(name: IfName) -> Result<()> {
    let mut kernel = Kernel::open()?;
    let request = Datapath {
        name: Some(name),
        upcall_pid: Some(0),
        user_features: Some(UserFeatures::UNALIGNED | UserFeatures::VPORT_PIDS),
        ..Datapath::default()
    };
    let datapath = kernel.datapath(&request, Command::New)?;
    println!("made datapath {name} with index {}", datapath.dp_ifindex);
    let port = Vport {
        dp_ifindex: datapath.dp_ifindex,
        name: Some("probe0".parse()?),
        ty: Some(VportType::INTERNAL),
        upcall_pids: Some(vec![0]),
        ..Vport::default()
    };
    let made = kernel.vport(&port, Command::New)?;
    println!("made port {:?} with number {:?}", made.name, made.port_no);
    show()?;
    // Once more, to see how the kernel refuses.
    for (what, refusal) in [
        ("the same datapath again", kernel.datapath(&request, Command::New).err()),
        ("a port of no type", kernel.vport(&Vport { ty: None, ..port }, Command::New).err()),
        (
            "a port of an unknown type",
            kernel.vport(&Vport { ty: Some(VportType(99)), ..made.clone() }, Command::New).err(),
        ),
    ] {
        println!("{what}: {}", refusal.map_or("accepted!".to_owned(), |error| error.to_string()));
    }
    let one = Vport { dp_ifindex: made.dp_ifindex, port_no: made.port_no, ..Vport::default() };
    let deleted = kernel.vport(&one, Command::Delete)?;
    println!("deleted port {:?}", deleted.name);
    let deleted = kernel.datapath(&Datapath { name: Some(name), ..Datapath::default() }, Command::Delete)?;
    println!("deleted datapath {:?}", deleted.name);
    show()
}

/// A socket and the numbers of the families.
struct Kernel {
    socket: Socket,
    families: Families,
}

impl Kernel {
    fn open() -> Result<Kernel> {
        let mut socket = Socket::open(Protocol::Generic)?;
        let families = Families::resolve(&mut socket)?;
        Ok(Kernel { socket, families })
    }

    fn datapath(&mut self, datapath: &Datapath, command: Command) -> std::result::Result<Datapath, SocketError> {
        let mut request = Vec::new();
        datapath.encode(&mut request, self.families.datapath.id, command, Flags::ECHO)?;
        self.socket.transact_one(&mut request, Datapath::decode)
    }

    fn vport(&mut self, vport: &Vport, command: Command) -> std::result::Result<Vport, SocketError> {
        let mut request = Vec::new();
        vport.encode(&mut request, self.families.vport.id, command, Flags::ECHO)?;
        self.socket.transact_one(&mut request, Vport::decode)
    }

    fn show(&mut self, datapath: &Datapath) -> Result<()> {
        println!("{datapath:?}");
        let mut request = Vec::new();
        let all = Vport { dp_ifindex: datapath.dp_ifindex, ..Vport::default() };
        all.encode(&mut request, self.families.vport.id, Command::Get, Flags::empty())?;
        for port in self.socket.dump(&mut request, 1 << 16, Vport::decode)? {
            println!("  {port:?}");
        }
        let mut request = Vec::new();
        let flows = Flow { dp_ifindex: datapath.dp_ifindex, ..Flow::default() };
        flows.encode(&mut request, self.families.flow.id, Command::Get, Flags::empty())?;
        self.socket.dump_each(&mut request, |message| {
            println!("  {:?}", Flow::decode(message)?);
            Ok(())
        })?;
        Ok(())
    }
}
