//! The devices of a Firecracker snapshot, as windows of a machine.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use virtio_queue::QueueState;

use super::firecracker::{self, Device, Kind};
use super::foreign::VMSTATE;
use super::load::open;
use super::{Error, Result};
use crate::device::{Disk, Model, Selected, WindowState};

/// Virtio 1.2, 5.2.3: VIRTIO_BLK_F_RO.
const BLOCK_READ_ONLY: u64 = 1 << 5;
/// Virtio 1.2, 2.1: DRIVER_OK.
const DRIVER_OK: u32 = 4;
/// Virtio 1.2, 6: VIRTIO_F_EVENT_IDX.
const EVENT_IDX: u64 = 1 << 29;

/// The windows; a device that does nothing is warned of.
pub(super) fn windows(
    dir: &Path,
    vmstate: &Path,
    devices: &[Device],
    warnings: &mut Vec<String>,
) -> Result<Vec<WindowState>> {
    let mut windows = Vec::new();
    for device in devices {
        let model = model(dir, device)?;
        if let Model::Inert { .. } = model {
            let what = name(&device.kind);
            warnings.push(format!("device {} ({what}) is there and does nothing", device.id));
        }
        let gsi = device.gsi.ok_or_else(|| {
            Error::corrupt(vmstate, format!("device {} has no interrupt line", device.id))
        })?;
        windows.push(window(device, model, gsi));
    }
    Ok(windows)
}

fn window(device: &Device, model: Model, gsi: u32) -> WindowState {
    let transport = &device.transport;
    let event_idx_enabled = device.accepted & EVENT_IDX != 0;
    let queue = |q: &firecracker::Queue| QueueState {
        max_size: q.max_size,
        next_avail: q.next_available,
        next_used: q.next_used,
        event_idx_enabled,
        size: q.size,
        ready: q.ready,
        desc_table: q.descriptors,
        avail_ring: q.available,
        used_ring: q.used,
    };
    WindowState {
        id: device.id.clone(),
        model,
        address: device.address,
        gsi,
        offered: device.offered,
        accepted: device.accepted,
        selected: Selected {
            features: transport.features_select,
            driver_features: transport.driver_features_select,
            queue: transport.queue_select,
        },
        // A device that was never set up has no rings to look at, whatever its status says.
        status: if device.activated { transport.status } else { transport.status & !DRIVER_OK },
        config_generation: transport.config_generation,
        interrupt: transport.interrupt,
        queues: device.queues.iter().map(queue).collect(),
    }
}

fn model(dir: &Path, device: &Device) -> Result<Model> {
    Ok(match &device.kind {
        Kind::Block { path } => {
            let image = image(dir, &device.id, path)?;
            let read_only = device.offered & BLOCK_READ_ONLY != 0;
            let disk = Disk::new(open(&image)?, &device.id, read_only);
            Model::Block(Arc::new(disk.map_err(Error::file(&image))?))
        }
        Kind::Vsock { cid } => Model::Vsock { cid: *cid },
        Kind::Entropy => Model::Entropy,
        Kind::VhostUserBlock => Model::Inert { device_type: 2 },
        Kind::Net => Model::Inert { device_type: 1 },
        Kind::Balloon => Model::Inert { device_type: 5 },
        Kind::HotplugMemory => Model::Inert { device_type: 24 },
        Kind::Pmem => Model::Inert { device_type: 27 },
    })
}

/// The image of a disk: in the directory, by the last part of the path that the state has.
fn image(dir: &Path, id: &str, path: &str) -> Result<PathBuf> {
    let name = Path::new(path).file_name();
    let name = name.ok_or_else(|| {
        Error::corrupt(&dir.join(VMSTATE), format!("disk {id} has no file's name: {path:?}"))
    })?;
    Ok(dir.join(name))
}

fn name(kind: &Kind) -> &'static str {
    match kind {
        Kind::Block { .. } => "virtio-block",
        Kind::VhostUserBlock => "vhost-user block",
        Kind::Net => "virtio-net",
        Kind::Vsock { .. } => "virtio-vsock",
        Kind::Balloon => "virtio-balloon",
        Kind::Entropy => "virtio-rng",
        Kind::Pmem => "virtio-pmem",
        Kind::HotplugMemory => "virtio-mem",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_looked_for_in_the_directory_whatever_its_path_was() {
        let dir = Path::new("/snapshots/db");
        for path in ["/etc/shadow", "../../etc/shadow", "shadow"] {
            assert_eq!(image(dir, "d0", path).unwrap(), dir.join("shadow"));
        }
        assert!(image(dir, "d0", "..").is_err() && image(dir, "d0", "").is_err());
    }
}
