# as root
os.makedirs("/run/m", exist_ok=True)
for source, target, kind, flags in (
    (b"tmpfs", b"/run/m", b"tmpfs", 0),
    (b"/usr", b"/run/m", None, 4096),
    (b"proc", b"/home", b"proc", 0),
):
    if libc.mount(source, target, kind, flags, None):
        raise OSError(ctypes.get_errno(), target)
if libc.umount2(b"/dev/shm", 2):
    raise OSError(ctypes.get_errno(), "umount")
os.chroot("/run")
