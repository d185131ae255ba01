# MXCSR and the x87 control word odd, an x87 exception pending, all vector registers full.
pattern = mmap.mmap(-1, 4096)
pattern[:] = b"\xa5\x5a\xc3" * 1365 + b"x"
load = "".join(
    f"c5{0xfe if n < 8 else 0x7e:02x}6f{0x47 + (n % 8) * 8:02x}{n * 2:02x}" for n in range(16)
)
# ldmxcsr [rsi]; fldcw [rsi+4]; fld1; fldz; load ymm0 to ymm15; ret
words = bytearray(struct.pack("<IHH", 0xFFC0, 0x0C7F, 0))
execute("0fae16" + "d96e04" + "d9e8" + "d9ee" + load + "c3", address(pattern), address(words))
