//! Shows the kernel's datapaths and their ports, or why there are none; with `create NAME`, makes a datapath and a port,
//! shows them and deletes them again.
//!
//! ```text
//! cargo run --example probe
//! cargo run --example probe -- create dp0      (as root, with the module openvswitch)
//! ```

use std::process::ExitCode;

use ovs_netlink::ovs::{Command, Datapath, IfName, UserFeatures, Vport, VportType};
use ovs_netlink::{Flags, GenericSocket, SocketError, probe_datapath};

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
    socket: GenericSocket,
    datapath: u16,
    vport: u16,
}

impl Kernel {
    fn open() -> std::result::Result<Kernel, SocketError> {
        let mut socket = GenericSocket::open()?;
        let datapath = socket.resolve_family(Datapath::FAMILY)?;
        let vport = socket.resolve_family(Vport::FAMILY)?;
        Ok(Kernel { socket, datapath: datapath.id, vport: vport.id })
    }

    fn datapath(&mut self, datapath: &Datapath, command: Command) -> std::result::Result<Datapath, SocketError> {
        let request = datapath.encode(self.datapath, command, Flags::REQUEST | Flags::ECHO)?;
        self.socket.transact_one(request, Datapath::decode)
    }

    fn vport(&mut self, vport: &Vport, command: Command) -> std::result::Result<Vport, SocketError> {
        let request = vport.encode(self.vport, command, Flags::REQUEST | Flags::ECHO)?;
        self.socket.transact_one(request, Vport::decode)
    }

    fn show(&mut self, datapath: &Datapath) -> Result<()> {
        println!("{datapath:?}");
        let all = Vport { dp_ifindex: datapath.dp_ifindex, ..Vport::default() };
        let request = all.encode(self.vport, Command::Get, Flags::REQUEST)?;
        for port in self.socket.dump(request, 1 << 16, Vport::decode)? {
            println!("  {port:?}");
        }
        Ok(())
    }
}
