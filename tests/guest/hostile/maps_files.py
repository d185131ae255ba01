for name in ("/usr/bin/python3.11", "/tmp/a", "/dev/shm/b", "/home/sandbox/c"):
    if not name.startswith("/usr"):
        open(name, "wb").write(os.urandom(1) * 70000)
    for flags, prot in ((mmap.MAP_PRIVATE, 3), (mmap.MAP_SHARED, 1)):
        with open(name, "rb") as file:
            area = mmap.mmap(file.fileno(), 65536, flags=flags, prot=prot)
            if prot & 2:
                area[4096] = 0x5A
            sum(area[::4096])
            KEPT.append(area)
KEPT[0].close()
