# as root
# Everything in the mailbox that this run's own answer does not need.
PAGE, SIZE = 4096, 0x100000
device = os.open("/dev/zeroboot", os.O_RDWR)
box = mmap.mmap(device, SIZE, offset=PAGE)
KEPT.append(box)
DEATH = 36
box[DEATH : DEATH + 8] = struct.pack("<II", 2, 11)
box[44:4096] = b"\xfe" * (4096 - 44)
box[SIZE // 2 : SIZE] = b"half written" * (SIZE // 24) + bytes(SIZE - SIZE // 2 - SIZE // 24 * 12)
