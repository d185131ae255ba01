# as root
for path, text in (
    ("kernel/hostname", "other"),
    ("vm/overcommit_memory", "1"),
    ("vm/drop_caches", "3"),
    ("kernel/panic", "77"),
    ("net/ipv4/ip_local_port_range", "2000 3000"),
):
    open("/proc/sys/" + path, "w").write(text)
syscall(170, address(bytearray(b"othername")), 9)
syscall(171, address(bytearray(b"otherdomain")), 11)
os.setpriority(os.PRIO_PROCESS, 0, -20)
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
libc.mlockall(1)
