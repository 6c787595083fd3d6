//! Queueing disciplines.

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage};

use super::Route;
use crate::edge::SocketError;
use crate::message::Flags;

/// A queueing discipline of a device. Handles are as `tc` has them: the major number in the upper half.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Qdisc {
    /// The device.
    pub index: u32,
    /// The kind, as `htb`.
    pub kind: String,
    /// Its own number; 0 where the kernel chooses.
    pub handle: u32,
    /// What it is at: [`Qdisc::ROOT`], [`Qdisc::INGRESS`], or a class.
    pub parent: u32,
}

impl Qdisc {
    /// The device's way out.
    pub const ROOT: u32 = u32::MAX;
    /// The device's way in, and for `clsact` both.
    pub const INGRESS: u32 = 0xffff_fff1;

    fn of(message: TcMessage) -> Option<Qdisc> {
        let mut qdisc = Qdisc {
            index: u32::try_from(message.header.index).ok()?,
            kind: String::new(),
            handle: message.header.handle.into(),
            parent: message.header.parent.into(),
        };
        for attribute in message.attributes {
            if let TcAttribute::Kind(kind) = attribute {
                qdisc.kind = kind;
            }
        }
        Some(qdisc)
    }

    fn message(&self) -> TcMessage {
        let mut message = TcMessage::default();
        message.header.index = i32::try_from(self.index).unwrap_or(i32::MAX);
        message.header.handle = TcHandle::from(self.handle);
        message.header.parent = TcHandle::from(self.parent);
        message.attributes = vec![TcAttribute::Kind(self.kind.clone())];
        message
    }
}

impl Route {
    /// The queueing disciplines of all devices.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn qdiscs(&mut self) -> Result<Vec<Qdisc>, SocketError> {
        self.list(RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default()), |message| match message {
            RouteNetlinkMessage::NewQueueDiscipline(qdisc) => Qdisc::of(qdisc),
            _ => None,
        })
    }

    /// Gives a device a queueing discipline that needs no options, as `ingress` or `clsact`.
    ///
    /// # Errors
    /// [`SocketError`]; a refusal with `EEXIST` when there is one at that place, with `ENOENT` when the kernel does not
    /// know its kind.
    pub fn add_qdisc(&mut self, qdisc: &Qdisc) -> Result<(), SocketError> {
        self.order(RouteNetlinkMessage::NewQueueDiscipline(qdisc.message()), Flags::CREATE | Flags::EXCLUSIVE)
    }

    /// Takes a queueing discipline off a device.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn delete_qdisc(&mut self, qdisc: &Qdisc) -> Result<(), SocketError> {
        self.order(RouteNetlinkMessage::DelQueueDiscipline(qdisc.message()), Flags::empty())
    }
}
