"""Puts libzeroboot.so into the wheel, and gives the wheel the tag that is true of it."""

import os
import re
from pathlib import Path
from typing import Any, Dict

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

RELEASE = Path(__file__).parents[2] / "target" / "release"


class WheelHook(BuildHookInterface):  # type: ignore[type-arg]
    def initialize(self, version: str, build_data: Dict[str, Any]) -> None:
        if self.target_name != "wheel":
            raise ValueError("there is no source distribution: it would lack the library")
        if version == "editable":
            return  # ZEROBOOT_LIBRARY names the library then.
        library = Path(os.environ.get("ZEROBOOT_LIBRARY_DIR") or RELEASE) / "libzeroboot.so"
        if not library.is_file():
            raise FileNotFoundError(f"no {library}: build it, or set ZEROBOOT_LIBRARY_DIR")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform_of(library.read_bytes())}"
        build_data["force_include"][str(library)] = "zeroboot/libzeroboot.so"


def platform_of(library: bytes) -> str:
    """The tag of the oldest glibc that has all versions of symbols that the library names."""
    versions = re.findall(rb"\0GLIBC_(\d+)\.(\d+)", library)
    if not versions:
        raise ValueError("the library names no version of glibc: is it one for Linux?")
    major, minor = max((int(major), int(minor)) for major, minor in versions)
    return f"manylinux_{major}_{minor}_x86_64"
