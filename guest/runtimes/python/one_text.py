"""Makes everything in front of an executable's data one segment: one_text.py FILE.

The linker keeps constants apart from code, in segments of their own that differ in nothing but the
right to execute. As one segment they are one mapping, and what of it fills whole huge pages is
mapped by those: one page fault, in the guest and of the hypervisor's, instead of two hundred.
"""

import struct
import sys

ELF64_LITTLE = b"\x7fELF\x02\x01"
PT_NULL, PT_LOAD = 0, 1
EXECUTE, WRITE, READ = 1, 2, 4
PAGE = 4096


def program_headers(image):
    """Offsets of the program headers."""
    if not image.startswith(ELF64_LITTLE):
        raise SystemExit("not a 64-bit ELF file")
    (at,) = struct.unpack_from("<Q", image, 0x20)
    size, count = struct.unpack_from("<HH", image, 0x36)
    return [at + i * size for i in range(count)]


def join(image):
    """Lets the first segment reach to the end of the last that nobody writes to."""
    first = size = None
    for header in program_headers(image):
        kind, flags, offset, address, _, in_file, in_memory = struct.unpack_from("<IIQQQQQ", image, header)
        if kind != PT_LOAD:
            continue
        if flags & WRITE:
            break
        if first is None:
            first, base, start = header, address, offset
        elif address - base != offset - start or address - base - size >= PAGE or in_file != in_memory:
            raise SystemExit(f"the segment at {address:#x} does not go on where the one before it ends")
        else:
            struct.pack_into("<I", image, header, PT_NULL)
        size = address - base + in_file
    struct.pack_into("<I", image, first + 4, READ | EXECUTE)
    struct.pack_into("<QQ", image, first + 32, size, size)


def main(path):
    with open(path, "r+b") as file:
        image = bytearray(file.read())
        join(image)
        file.seek(0)
        file.write(image)


main(sys.argv[1])
