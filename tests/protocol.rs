//! The guest kernel's driver speaks C; the numbers it shares with the host are compared here.

use std::collections::BTreeMap;
use std::mem::offset_of;

use zeroboot_proto as proto;

#[test]
fn the_kernel_driver_has_the_numbers_of_the_protocol() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/guest/kernel/zeroboot.c");
    let source = std::fs::read_to_string(path).unwrap();
    let defined: BTreeMap<&str, u64> = source
        .lines()
        .filter_map(|line| {
            let mut words = line.strip_prefix("#define")?.split_whitespace();
            let (name, value) = (words.next()?, words.next()?);
            Some((name, number(value)?))
        })
        .collect();
    let expected = [
        ("ZB_MAILBOX_SIZE", u64::from(proto::MAILBOX_SIZE)),
        ("ZB_CONSOLE_START", u64::from(proto::CONSOLE_START)),
        ("ZB_HEADER_CONSOLE_USED", offset_of!(proto::Header, console_used) as u64),
        ("ZB_HEADER_SEQUENCE", offset_of!(proto::Header, sequence) as u64),
        ("ZB_EVENT_CONSOLE", u64::from(proto::ring(proto::Event::Console))),
        ("ZB_STREAM_STDOUT", proto::Stream::Stdout as u64),
        ("ZB_STREAM_STDERR", proto::Stream::Stderr as u64),
        ("ZB_RECORD_ALIGN", u64::from(proto::RECORD_ALIGN)),
        ("ZB_CLONE_FIELDS_START", u64::from(proto::CLONE_FIELDS_START)),
        ("ZB_CLONE_FIELDS_MAX", u64::from(proto::CLONE_FIELDS_MAX)),
        ("ZB_CLONE_FIELD_SIZE", size_of::<proto::CloneField>() as u64),
        ("ZB_CLONE_SECRET", proto::CloneKind::Secret as u64),
        ("ZB_CLONE_GENERATION", proto::CloneKind::Generation as u64),
        ("ZB_CLONE_BOOT_ID", proto::CloneKind::BootId as u64),
        ("ZB_CLONE_INSTANCE_ID", proto::CloneKind::InstanceId as u64),
        ("ZB_CLONE_HOST_NAME", proto::CloneKind::HostName as u64),
        ("ZB_CLONE_TSC", proto::CloneKind::Tsc as u64),
        ("ZB_CLONE_SECONDS", proto::CloneKind::Seconds as u64),
        ("ZB_CLONE_NANOSECONDS", proto::CloneKind::Nanoseconds as u64),
        ("ZB_CLONE_CYC2NS", proto::CloneKind::Cyc2Ns as u64),
    ];
    for (name, value) in expected {
        assert_eq!(defined.get(name), Some(&value), "{name}");
    }
}

fn number(text: &str) -> Option<u64> {
    let text = text.trim_end_matches(['u', 'U', 'l', 'L']);
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}
