# as root
# The guest's kernel has neither iopl nor ioperm; where it has a device for ports, through that.
if os.path.exists("/dev/port"):
    ports = os.open("/dev/port", os.O_RDWR)
    for port, value in ((0x3FF, 0x5A), (0x3FC, 0x13), (0x3FB, 0x83), (0x3F8, 0x77), (0x70, 0x0D)):
        os.pwrite(ports, bytes([value]), port)
    print("ports")
if os.path.exists("/dev/mem"):
    print("memory")
