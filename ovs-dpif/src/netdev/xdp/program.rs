//! The program that the kernel runs for each frame of an interface: five instructions, which hand the frame to the socket of its
//! queue. A queue that has none keeps the frame: it goes the way that it would have gone without the program.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::sys;

/// `XDP_PASS`: what becomes of frames of queues without a socket.
const PASS: i32 = 2;

/// The helper function `bpf_redirect_map`.
const REDIRECT_MAP: i32 = 51;

/// Where `struct xdp_md` has the number of the queue.
const RX_QUEUE_INDEX: i16 = 16;

/// A loaded program, and the map that it looks sockets up in.
#[derive(Debug)]
pub(super) struct Program {
    map: OwnedFd,
    program: OwnedFd,
}

impl Program {
    /// Loads it, for an interface with so many queues.
    pub(super) fn load(queues: u32) -> io::Result<Program> {
        let map = sys::make_map(queues)?;
        let program = sys::load_program(&instructions(map.as_raw_fd()))?;
        Ok(Program { map, program })
    }

    /// Has frames of a queue go to a socket.
    pub(super) fn set_socket(&self, queue: u32, socket: BorrowedFd<'_>) -> io::Result<()> {
        sys::set_socket(self.map.as_fd(), queue, socket)
    }

    /// Puts it before an interface, for as long as the descriptor that comes back is open.
    pub(super) fn attach(&self, interface: u32, flags: u32) -> io::Result<OwnedFd> {
        sys::attach(self.program.as_fd(), interface, flags)
    }
}

/// `redirect_map(map, context.rx_queue_index, PASS)`, in the machine's byte order.
fn instructions(map: i32) -> [u64; 6] {
    [
        // r2 = *(u32 *)(r1 + rx_queue_index)
        instruction(0x61, 2, 1, RX_QUEUE_INDEX, 0),
        // r1 = map, an address of 64 bits: two instructions' room, of which the first says that it is a map's number.
        instruction(0x18, 1, 1, 0, map),
        0,
        // r3 = PASS
        instruction(0xb7, 3, 0, 0, PASS),
        // r0 = redirect_map(r1, r2, r3)
        instruction(0x85, 0, 0, 0, REDIRECT_MAP),
        // return r0
        instruction(0x95, 0, 0, 0, 0),
    ]
}

/// `struct bpf_insn`: operation, registers, offset, immediate.
fn instruction(op: u8, to: u8, from: u8, offset: i16, immediate: i32) -> u64 {
    let registers = if cfg!(target_endian = "little") { to | from << 4 } else { to << 4 | from };
    let [o0, o1] = offset.to_ne_bytes();
    let [i0, i1, i2, i3] = immediate.to_ne_bytes();
    u64::from_ne_bytes([op, registers, o0, o1, i0, i1, i2, i3])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn instructions_are_laid_out_as_the_kernel_reads_them() {
        let bytes = instructions(0x0102).map(u64::to_le_bytes);
        assert_eq!(bytes[0], [0x61, 0x12, 16, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[1..3], [[0x18, 0x11, 0, 0, 2, 1, 0, 0], [0; 8]]);
        assert_eq!(
            bytes[3..],
            [[0xb7, 3, 0, 0, 2, 0, 0, 0], [0x85, 0, 0, 0, 51, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]]
        );
    }
}
