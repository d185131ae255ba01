"""The C interface, as include/zeroboot.h declares it. Nothing here converts, checks or frees."""

from __future__ import annotations

import ctypes
import os
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int32, c_size_t, c_uint32, c_uint64, c_uint8, c_void_p
from pathlib import Path
from typing import Any, Dict, List, Tuple

ABI_VERSION = 0

ZB_OK = 0
ZB_LOAD_VERIFY = 1
ZB_LOAD_SEALED_COPY = 2
ZB_LOAD_ANY_CLOCK = 4
ZB_FORK_FRESH = 1
ZB_NONE = 2**32 - 1
ZB_RUN_CONSOLE = 1
ZB_NO_TIMEOUT = 2**64 - 1
ZB_NO_LIMIT = 2**64 - 1
ZB_STREAM_STDOUT = 1
ZB_STREAM_STDERR = 2
ZB_LOG_ERROR = 1
ZB_LOG_WARN = 2
ZB_LOG_INFO = 3
ZB_LOG_DEBUG = 4
ZB_LOG_TRACE = 5
ZB_LOG_LIBRARY = 1
ZB_LOG_GUEST = 2
ZB_KVM_INTEL = 1
ZB_KVM_AMD = 2
ZB_KVM_SOFTWARE = 3
ZB_KVM_OTHER = 4


class zb_error(Structure):
    """Opaque."""


class zb_host(Structure):
    """Opaque."""


class zb_snapshot(Structure):
    """Opaque."""


class zb_sandbox(Structure):
    """Opaque."""


class zb_cancel(Structure):
    """Opaque."""


class zb_result(Structure):
    """Opaque."""


# For text of a given length: c_char_p would look for a NUL at its end.
c_bytes = c_void_p

zb_log_callback = CFUNCTYPE(None, c_void_p, c_uint32, c_uint32, c_bytes, c_size_t)
zb_output_callback = CFUNCTYPE(c_int32, c_void_p, c_uint32, c_bytes, c_size_t)


class zb_load_options(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("flags", c_uint64),
        ("recycle_max", c_uint32),
        ("prewarm", c_uint32),
        ("memory_max_bytes", c_uint64),
    ]


class zb_fork_options(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("flags", c_uint64),
        ("instance_id", c_uint8 * 16),
        ("memory_max_bytes", c_uint64),
    ]


class zb_run_options(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("code", c_char_p),
        ("code_len", c_size_t),
        ("timeout_ms", c_uint64),
        ("max_output_bytes", c_uint64),
        ("cancel", POINTER(zb_cancel)),
        ("on_output", zb_output_callback),
        ("on_output_user", c_void_p),
        ("flags", c_uint64),
        ("until", c_char_p),
        ("until_len", c_size_t),
    ]


error_p = POINTER(zb_error)
host_p = POINTER(zb_host)
snapshot_p = POINTER(zb_snapshot)
sandbox_p = POINTER(zb_sandbox)
cancel_p = POINTER(zb_cancel)
result_p = POINTER(zb_result)

PROTOTYPES: Dict[str, Tuple[Any, List[Any]]] = {
    "zb_version": (c_char_p, []),
    "zb_abi_version": (c_uint32, []),
    "zb_features": (c_uint64, []),
    "zb_error_status": (c_int32, [error_p]),
    "zb_error_errno": (c_int32, [error_p]),
    "zb_error_message": (c_char_p, [error_p]),
    "zb_error_free": (None, [error_p]),
    "zb_log_set_callback": (c_int32, [c_uint32, zb_log_callback, c_void_p, POINTER(error_p)]),
    "zb_host_probe": (c_int32, [POINTER(host_p), POINTER(error_p)]),
    "zb_host_kvm_kind": (c_uint32, [host_p]),
    "zb_host_is_ring0_native": (c_int32, [host_p]),
    "zb_host_is_tsc_settable": (c_int32, [host_p]),
    "zb_host_tsc_khz": (c_uint32, [host_p]),
    "zb_host_free": (None, [host_p]),
    "zb_snapshot_load": (
        c_int32,
        [c_char_p, POINTER(zb_load_options), POINTER(snapshot_p), POINTER(error_p)],
    ),
    "zb_snapshot_runtime": (c_char_p, [snapshot_p]),
    "zb_snapshot_memory_bytes": (c_uint64, [snapshot_p]),
    "zb_snapshot_rootfs_bytes": (c_uint64, [snapshot_p]),
    "zb_snapshot_created_unix_ns": (c_uint64, [snapshot_p]),
    "zb_snapshot_format": (c_uint32, [snapshot_p]),
    "zb_snapshot_free": (None, [snapshot_p]),
    "zb_fork": (
        c_int32,
        [snapshot_p, POINTER(zb_fork_options), POINTER(sandbox_p), POINTER(error_p)],
    ),
    "zb_sandbox_instance_id": (POINTER(c_uint8), [sandbox_p]),
    "zb_sandbox_is_alive": (c_int32, [sandbox_p]),
    "zb_free": (None, [sandbox_p]),
    "zb_cancel_new": (c_int32, [POINTER(cancel_p), POINTER(error_p)]),
    "zb_cancel_trigger": (None, [cancel_p]),
    "zb_cancel_free": (None, [cancel_p]),
    "zb_result_outcome": (c_uint32, [result_p]),
    "zb_result_exit_code": (c_int32, [result_p]),
    "zb_result_signal": (c_int32, [result_p]),
    "zb_result_stdout": (c_bytes, [result_p, POINTER(c_size_t)]),
    "zb_result_stderr": (c_bytes, [result_p, POINTER(c_size_t)]),
    "zb_result_elapsed_ns": (c_uint64, [result_p]),
    "zb_result_message": (c_char_p, [result_p]),
    "zb_result_free": (None, [result_p]),
    "zb_run": (
        c_int32,
        [sandbox_p, POINTER(zb_run_options), POINTER(result_p), POINTER(error_p)],
    ),
}


def library_path() -> Path:
    """The library that came with the package; without one, $ZEROBOOT_LIBRARY."""
    packaged = Path(__file__).with_name("libzeroboot.so")
    if packaged.exists():
        return packaged
    named = os.environ.get("ZEROBOOT_LIBRARY")
    if named:
        return Path(named)
    raise ImportError(
        f"zeroboot has no library: there is no {packaged}, and ZEROBOOT_LIBRARY is not set"
    )


def _open() -> ctypes.CDLL:
    path = library_path()
    try:
        # CDLL, not PyDLL: other Python threads run while a call is under way.
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise ImportError(f"zeroboot needs Linux on x86-64: {path}: {error}") from error
    for name, (result, arguments) in PROTOTYPES.items():
        try:
            function = getattr(library, name)
        except AttributeError:
            raise ImportError(f"{path} lacks {name}: it is not a library that zeroboot can use") from None
        function.restype = result
        function.argtypes = arguments
    found = library.zb_abi_version()
    if found != ABI_VERSION:
        raise ImportError(f"{path} has ABI version {found}; this package needs {ABI_VERSION}")
    return library


lib = _open()
