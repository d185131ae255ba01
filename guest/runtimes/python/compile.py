"""Compiles the image's Python sources: compile.py STDLIB ZIP RUNTIME

The standard library becomes one archive of .pyc files, stored and not compressed, so that an import
needs no look at directories. The runtime's own sources are compiled in their place. No .pyc is ever
compared with a source.
"""

import importlib.util
import marshal
import os
import sys
import zipfile

STDLIB_IN_IMAGE = "/usr/lib/python3.11"
RUNTIME_IN_IMAGE = "/usr/lib/zeroboot/python"
NO_TIME = (1980, 1, 1, 0, 0, 0)
UNCHECKED_HASH = (0b01).to_bytes(4, "little")


def compiled(path, shown_as):
    """The contents of a .pyc file: PEP 552."""
    with open(path, "rb") as file:
        source = file.read()
    code = compile(source, shown_as, "exec", dont_inherit=True, optimize=0)
    head = importlib.util.MAGIC_NUMBER + UNCHECKED_HASH + importlib.util.source_hash(source)
    return head + marshal.dumps(code)


def sources(top, skip=()):
    """Relative paths of the .py files, in one order everywhere."""
    for directory, names, files in os.walk(top):
        names[:] = sorted(name for name in names if name not in skip)
        for name in sorted(files):
            if name.endswith(".py"):
                yield os.path.relpath(os.path.join(directory, name), top)


def preloaded(runtime, stdlib):
    """Sources of the modules that the runtime imports before its first request."""
    sys.path.insert(0, runtime)
    from zeroboot_guest import archive, loop, preload

    del archive, loop, sys.path[0]
    preload.preload()
    files = (getattr(module, "__file__", None) or "" for module in list(sys.modules.values()))
    return {os.path.relpath(file, stdlib) for file in files if file.startswith(stdlib)}


def archive(stdlib, target, first):
    """Writes the standard library's archive, the members in ``first`` before all others. How many
    bytes those take is the archive's comment."""
    skip = ("lib-dynload", "dist-packages", "site-packages", "test", "tests")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as out:
        paths = sorted(sources(stdlib, skip), key=lambda path: path not in first)
        for path in paths:
            if path not in first and not out.comment:
                out.comment = str(out.fp.tell()).encode()
            code = compiled(os.path.join(stdlib, path), f"{STDLIB_IN_IMAGE}/{path}")
            out.writestr(zipfile.ZipInfo(path + "c", NO_TIME), code)


def in_place(top):
    """Replaces the runtime's sources by .pyc files."""
    for path in list(sources(top)):
        code = compiled(os.path.join(top, path), f"{RUNTIME_IN_IMAGE}/{path}")
        with open(os.path.join(top, path + "c"), "wb") as out:
            out.write(code)
        os.unlink(os.path.join(top, path))


def main(stdlib, target, runtime):
    archive(stdlib, target, preloaded(runtime, stdlib))
    in_place(runtime)


main(*sys.argv[1:])
