//! The guest's network: the loopback interface and nothing else.

use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socket_with};

use crate::Result;

const RTM_NEWLINK: u16 = 16;
const NLM_F_REQUEST: u16 = 1;
const IFF_UP: u32 = 1;
/// The loopback interface is the first of every network namespace.
const LOOPBACK_INDEX: u32 = 1;

/// Brings the loopback interface up; the kernel then gives it 127.0.0.1.
pub fn loopback_up() -> Result<()> {
    match set_up(LOOPBACK_INDEX) {
        // A kernel without networks.
        Ok(()) | Err(Errno::AFNOSUPPORT) => Ok(()),
        Err(error) => Err(format!("bring the loopback interface up: {error}")),
    }
}

fn set_up(index: u32) -> std::result::Result<(), Errno> {
    // Protocol 0 is NETLINK_ROUTE.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    send(&socket, &new_link(index), SendFlags::empty())?;
    Ok(())
}

/// `struct nlmsghdr` and `struct ifinfomsg`, see netlink(7) and rtnetlink(7).
fn new_link(index: u32) -> [u8; 32] {
    let mut message = [0; 32];
    message[0..4].copy_from_slice(&32u32.to_ne_bytes());
    message[4..6].copy_from_slice(&RTM_NEWLINK.to_ne_bytes());
    message[6..8].copy_from_slice(&NLM_F_REQUEST.to_ne_bytes());
    message[20..24].copy_from_slice(&index.to_ne_bytes());
    message[24..28].copy_from_slice(&IFF_UP.to_ne_bytes());
    message[28..32].copy_from_slice(&IFF_UP.to_ne_bytes());
    message
}
