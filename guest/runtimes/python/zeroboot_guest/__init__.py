"""A warm Python that waits at a doorbell and runs the programs that a host sends.

One module a concern:

    loop        requests, one after the other
    headroom    memory for small objects, taken in advance
    prefault    pages of libraries, mapped in advance
    archive     imports without system calls
    preload     what is imported before the first request
    generators  random state, renewed in each fork
    program     one program: namespace, execution, exit code
    ending      what CPython does when a program ends, so that another can follow
    report      tracebacks as CPython prints them, without our frames
    streams     sys.stdin, sys.stdout and sys.stderr

Nothing in the path of a request makes a system call or takes memory from the operating system.

A program that a template is warmed up with may ``from zeroboot_guest import on_fork``.
"""

from .generators import on_fork

__all__ = ["on_fork"]
