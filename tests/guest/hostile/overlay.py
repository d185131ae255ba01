# as root
for name in ("/usr/lib/zeroboot/python/runtime.conf", "/etc/passwd"):
    with open(name, "r+b") as file:
        file.write(b"overwritten")
os.unlink("/usr/lib/zeroboot/python/runtime.pyc")
os.makedirs("/etc/new/deep/tree")
open("/etc/new/deep/tree/file", "w").write("x" * 100_000)
os.chown("/tmp", 7, 7)
