"""The declarations of _ffi.py against include/zeroboot.h."""

import ctypes
import re
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest

import zeroboot
from zeroboot import _ffi, errors

HEADER = (Path(__file__).parents[3] / "include" / "zeroboot.h").read_text()
DECLARATIONS = re.sub(r"/\*.*?\*/", "", HEADER, flags=re.S)
NUMBERS = {
    "uint8_t": ctypes.c_uint8,
    "int32_t": ctypes.c_int32,
    "uint32_t": ctypes.c_uint32,
    "uint64_t": ctypes.c_uint64,
    "size_t": ctypes.c_size_t,
}
LARGEST = {"UINT32_MAX": 2**32 - 1, "UINT64_MAX": 2**64 - 1}
ALIASES = dict(
    (new, old) for old, new in re.findall(r"typedef (\w+) (\w+);", DECLARATIONS)
)
OPAQUE = re.findall(r"typedef struct (\w+) \1;", DECLARATIONS)
STRUCTS = dict(re.findall(r"typedef struct (\w+) \{(.*?)\} \1;", DECLARATIONS, flags=re.S))
CALLBACKS = {
    name: (result, parameters)
    for result, name, parameters in re.findall(
        r"typedef (\w+) \(\*(\w+)\)\((.*?)\);", DECLARATIONS, flags=re.S
    )
}
FUNCTIONS = {
    name: (result, parameters)
    for result, name, parameters in re.findall(
        r"^((?:const )?\w+ \*?)(zb_\w+)\(([^)]*)\);", DECLARATIONS, flags=re.M
    )
}
CONSTANTS = dict(re.findall(r"^#define (ZB_\w+) (\w+)$", HEADER, flags=re.M))


def split(parameters: str) -> List[Tuple[str, str]]:
    """(type, name) of each parameter or field."""
    found = []
    for parameter in re.split(r"[,;]", parameters):
        text = " ".join(parameter.split())
        if text and text != "void":
            match = re.fullmatch(r"(.*?[ *])(\w+)(\[\d+\])?", text)
            assert match, text
            found.append((match[1].strip() + (match[3] or ""), match[2]))
    return found


def has_length(fields: List[Tuple[str, str]], name: str) -> bool:
    """Whether text goes with a length, so that it need not end with a NUL."""
    return any(other in ("len", f"{name}_len") for _, other in fields)


def of_c(text: str, *, counted: bool) -> Any:
    """The ctypes type of a type of C."""
    text = text.replace("const ", "").strip()
    if text == "void":
        return None
    if text == "void *":
        return ctypes.c_void_p
    if text == "char *":
        return _ffi.c_bytes if counted else ctypes.c_char_p
    array = re.fullmatch(r"(\w+)\[(\d+)\]", text)
    if array:
        return of_c(array[1], counted=counted) * int(array[2])
    if text.endswith("*"):
        return ctypes.POINTER(of_c(text[:-1], counted=counted))
    if text in OPAQUE or text in STRUCTS or text in CALLBACKS:
        return getattr(_ffi, text)
    return NUMBERS[ALIASES.get(text, text)]


def signature(result: str, parameters: str) -> Tuple[Any, List[Any]]:
    fields = split(parameters)
    arguments = [of_c(text, counted=has_length(fields, name)) for text, name in fields]
    return of_c(result, counted=has_length(fields, "")), arguments


def test_every_function_of_the_header_is_declared_and_no_other() -> None:
    assert len(FUNCTIONS) == DECLARATIONS.count("(") - 2 * len(CALLBACKS) - macros()
    assert set(_ffi.PROTOTYPES) == set(FUNCTIONS)


def macros() -> int:
    """Parentheses in the definitions of macros."""
    return sum(line.count("(") for line in DECLARATIONS.splitlines() if line.startswith("#define"))


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_a_function_has_the_types_of_the_header(name: str) -> None:
    assert _ffi.PROTOTYPES[name] == signature(*FUNCTIONS[name])


@pytest.mark.parametrize("name", sorted(CALLBACKS))
def test_a_callback_has_the_types_of_the_header(name: str) -> None:
    declared: Any = getattr(_ffi, name)
    result, arguments = signature(*CALLBACKS[name])
    assert (declared._restype_, list(declared._argtypes_)) == (result, arguments)


@pytest.mark.parametrize("name", sorted(STRUCTS))
def test_a_structure_has_the_fields_of_the_header(name: str) -> None:
    declared = [(field[0], field[1]) for field in getattr(_ffi, name)._fields_]
    # The program is bytes of Python's, which ctypes passes with all NULs as a char *.
    expected = [(field, of_c(text, counted=False)) for text, field in split(STRUCTS[name])]
    assert declared == expected


def test_constants_have_the_values_of_the_header() -> None:
    values: Dict[str, int] = {name: LARGEST.get(text) or int(text) for name, text in CONSTANTS.items()}
    assert values.pop("ZB_ABI_VERSION") == _ffi.ABI_VERSION
    for name, value in values.items():
        kind, rest = re.match(r"ZB_(ERR|OUTCOME|FEATURE)?_?(.*)", name).groups()  # type: ignore[union-attr]
        enum: Any = {"ERR": zeroboot.Status, "OUTCOME": zeroboot.Outcome, "FEATURE": zeroboot.Feature}.get(kind)
        assert (enum[rest] if enum else getattr(_ffi, name)) == value, name
    for prefix, enum in (("ERR", zeroboot.Status), ("OUTCOME", zeroboot.Outcome), ("FEATURE", zeroboot.Feature)):
        assert {f"ZB_{prefix}_{member.name}" for member in enum} <= set(values)


def test_defaults_are_those_of_the_header() -> None:
    milliseconds = re.search(r"in milliseconds; 0 for ([\d,]+)", HEADER)
    most = re.search(r"in bytes of both streams; 0 for ([\d,]+)", HEADER)
    assert milliseconds and most
    assert zeroboot.DEFAULT_TIMEOUT * 1000 == int(milliseconds[1].replace(",", ""))
    assert zeroboot.DEFAULT_MAX_OUTPUT == int(most[1].replace(",", ""))


def test_every_status_has_an_exception_of_its_own() -> None:
    assert set(errors.BY_STATUS) == set(zeroboot.Status)
    assert len(set(errors.BY_STATUS.values())) == len(zeroboot.Status)


def test_the_package_has_the_version_of_the_library() -> None:
    assert zeroboot.__version__ == zeroboot.version()
    assert zeroboot.abi_version() == _ffi.ABI_VERSION
    assert zeroboot.Feature.LOAD_VERIFY in zeroboot.features()
