"""Imports from the standard library's archive without system calls.

zipimport opens, seeks in and reads the archive for each module. Where system calls are slow that is
most of an import's time; here the archive is mapped once, and so every fork has it mapped. Page
faults are slow there too, so the modules that are imported before the first request, which stand
together at the archive's beginning, are read in one piece, and given back afterwards.
"""

import sys
import zipimport
from struct import unpack_from

# A member's local header: lengths of its name and of what else precedes the data. (APPNOTE 4.3.7)
HEAD = 30
LENGTHS = "<HH"
LENGTHS_AT = 26
STORED = 0

# The archive's last record, which ends in a comment: the size of the beginning. (APPNOTE 4.3.16)
END = b"PK\5\6"
END_SIZE = 22


class Archive:
    """The standard library's archive, in zipimport's place."""

    def __init__(self, path):
        # Not at the top: there is not always an archive, and then mmap is a module like others.
        import mmap

        self._path = path
        self._read = zipimport._get_data
        with open(path, "rb", buffering=0) as file:
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self._beginning = file.read(self._beginning_size())

    def _beginning_size(self):
        comment = self._data[self._data.rfind(END) + END_SIZE:]
        return int(comment) if comment.isdigit() else 0

    def forget_beginning(self):
        """Gives memory back, once the modules are loaded."""
        self._beginning = b""

    def get_data(self, path, entry):
        """``zipimport._get_data``."""
        _, compression, size, _, at, *_ = entry
        if path != self._path or compression != STORED:
            return self._read(path, entry)
        data = self._beginning if at < len(self._beginning) else self._data
        name, extra = unpack_from(LENGTHS, data, at + LENGTHS_AT)
        start = at + HEAD + name + extra
        return data[start:start + size]


def map_standard_library():
    """Takes zipimport's place for the archive on sys.path, if there is one, and returns it."""
    archives = [path for path in sys.path if path in zipimport._zip_directory_cache]
    if not archives:
        return None
    archive = Archive(archives[0])
    zipimport._get_data = archive.get_data
    return archive
