"""The library's log, and that of the guests' kernels."""

from __future__ import annotations

import logging
from ctypes import string_at
from typing import Optional

from . import _ffi, errors
from ._ffi import lib

_LEVELS = {
    _ffi.ZB_LOG_ERROR: logging.ERROR,
    _ffi.ZB_LOG_WARN: logging.WARNING,
    _ffi.ZB_LOG_INFO: logging.INFO,
    _ffi.ZB_LOG_DEBUG: logging.DEBUG,
    _ffi.ZB_LOG_TRACE: logging.DEBUG,
}

_logger: Optional[logging.Logger] = None


def log_to(logger: Optional[logging.Logger], level: int = logging.INFO) -> None:
    """Sends the log of the library to a logger of the logging module; None for nowhere.

    Lines of the guests' consoles go to the logger's child "guest", at INFO; the guests decide what
    is in them. Records may come from any thread that uses zeroboot.

    level: messages below it are not even made.
    """
    global _logger
    if logger is None:
        errors.call(lib.zb_log_set_callback, _ffi.ZB_LOG_ERROR, _NO_CALLBACK, None)
        _logger = None
        return
    _logger = logger
    errors.call(lib.zb_log_set_callback, _most_verbose(level), _on_message, None)


def _most_verbose(level: int) -> int:
    fitting = [ours for ours, theirs in _LEVELS.items() if theirs >= level]
    return max(fitting, default=_ffi.ZB_LOG_ERROR)


def _message(_user: int, level: int, source: int, text: int, length: int) -> None:
    logger = _logger
    if logger is None:
        return
    if source == _ffi.ZB_LOG_GUEST:
        logger = logger.getChild("guest")
    number = _LEVELS.get(level, logging.ERROR)
    logger.log(number, "%s", string_at(text, length).decode("utf-8", "replace"))


_NO_CALLBACK = _ffi.zb_log_callback(0)
_on_message = _ffi.zb_log_callback(_message)
