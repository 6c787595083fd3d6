//! Actions that the kernel does not have, done to packets that came up.
//!
//! A megaflow with such actions cannot be installed: all its packets come up. Of its actions those that change the packet
//! are done here; the others the kernel is ordered to do, one by one, with the packet as it is then. What is behind the
//! last action that the kernel does not have is one order, so that what belongs together (`ct` and the lookup behind it)
//! stays together as far as it can.

use ovs_netlink::SocketError;
use ovs_packet::field::KeyAttr;
use ovs_packet::{FlowKey, Packet, extract};

use super::datapath::Datapath;
use super::put_action::{MAX_NESTING, unsupported};
use crate::action::DpAction;
use crate::dpif::Origin;
use crate::userspace::{Editor, is_edit};

/// Whether an action is done to what the kernel knows of a packet beside its bytes, so that it goes with every order.
fn goes_along(action: &DpAction) -> bool {
    match action {
        DpAction::Trunc(_) | DpAction::Hash { .. } => true,
        DpAction::Set(attr, _) => matches!(attr, KeyAttr::Priority | KeyAttr::SkbMark | KeyAttr::Tunnel),
        _ => false,
    }
}

fn is_unsupported(action: &DpAction) -> bool {
    unsupported(std::slice::from_ref(action)).is_some()
}

impl Datapath {
    /// Executes actions some of which the kernel does not have.
    ///
    /// # Errors
    /// If an action cannot be done here either, or not to this packet; what is in front of it is done.
    pub(super) fn execute_helped(
        &self,
        packet: &Packet,
        actions: &[DpAction],
        origin: Origin,
    ) -> Result<(), SocketError> {
        self.help(&mut packet.clone(), actions, origin, Vec::new(), 0)
    }

    fn help(
        &self,
        packet: &mut Packet,
        actions: &[DpAction],
        origin: Origin,
        mut along: Vec<DpAction>,
        depth: usize,
    ) -> Result<(), SocketError> {
        if depth > MAX_NESTING {
            return Err(SocketError::NotAMessage);
        }
        let last = actions.iter().rposition(is_unsupported).map_or(0, |last| last + 1);
        let (here, rest) = actions.split_at_checked(last).unwrap_or((actions, &[]));
        let mut editor = Editor::new();
        for action in here {
            match action {
                DpAction::Clone(list) => self.help(&mut packet.clone(), list, origin, along.clone(), depth + 1)?,
                DpAction::CheckPktLen { len, greater, less_equal } => {
                    let list = if packet.len() > usize::from(*len) { greater } else { less_equal };
                    self.help(&mut packet.clone(), list, origin, along.clone(), depth + 1)?;
                }
                action if goes_along(action) && !is_unsupported(action) => along.push(action.clone()),
                action if is_edit(action) => {
                    let mut failed = false;
                    editor.edit(action, std::iter::once((0, &mut *packet)), |_| failed = true);
                    if failed {
                        return Err(SocketError::NotAMessage);
                    }
                }
                action if !is_unsupported(action) => {
                    self.order_one(packet, &along, std::slice::from_ref(action), origin)?;
                    along.retain(|action| !matches!(action, DpAction::Trunc(_)));
                }
                _ => return Err(SocketError::NotAMessage),
            }
        }
        if rest.is_empty() { Ok(()) } else { self.order_one(packet, &along, rest, origin) }
    }

    fn order_one(
        &self,
        packet: &mut Packet,
        along: &[DpAction],
        actions: &[DpAction],
        origin: Origin,
    ) -> Result<(), SocketError> {
        let mut key = FlowKey::ZERO;
        extract::extract(packet, &mut key);
        let actions = [along, actions].concat();
        self.send_order(packet, &key, &actions, origin)
    }
}
