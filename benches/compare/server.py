"""A warm interpreter that runs programs, for the comparison of `make bench`.

    python3 server.py fork    a child of fork(2) for each program
    python3 server.py exec    all in this process

A request on standard input is 4 bytes of length and a program. The answer is 4 bytes of length, 8
bytes of nanoseconds (of compile and exec, in this process' clock) and what the program printed.
In the first way another 4 zero bytes follow when the child is gone.
"""

import io
import os
import struct
import sys
import time


def read(length):
    data = b""
    while len(data) < length:
        piece = os.read(0, length - len(data))
        if not piece:
            sys.exit(0)
        data += piece
    return data


def run(program):
    out = io.StringIO()
    sys.stdout = out
    started = time.perf_counter_ns()
    exec(compile(program, "<program>", "exec"), {"__name__": "__main__"})
    took = time.perf_counter_ns() - started
    printed = out.getvalue().encode()
    os.write(1, struct.pack("<IQ", len(printed), took) + printed)


def serve(fork):
    while True:
        program = read(struct.unpack("<I", read(4))[0])
        if not fork:
            run(program)
            continue
        child = os.fork()
        if child == 0:
            run(program)
            os._exit(0)
        os.waitpid(child, 0)
        os.write(1, bytes(4))


serve(sys.argv[1] == "fork")
