use crate::device::{Ports, Window};

/// All devices that an exit may be meant for.
#[derive(Debug)]
pub(super) struct Peripherals {
    pub(super) ports: Ports,
    pub(super) windows: Vec<Window>,
    /// Whether there is a doorbell, behind which our own software stands.
    pub(super) has_doorbell: bool,
}

impl Peripherals {
    /// The window that an address lies in, and the offset in it.
    pub(super) fn window(&mut self, address: u64) -> Option<(&mut Window, u64)> {
        self.windows.iter_mut().find_map(|window| {
            let offset = window.offset_of(address)?;
            Some((window, offset))
        })
    }
}
