"""The wheel, installed where nothing else is."""

import os
import re
import subprocess
import venv
import zipfile
from pathlib import Path
from typing import List

import pytest

import zeroboot

README = Path(__file__).parents[1] / "README.md"
EXAMPLES: List[str] = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.S)
EXPECTED = [
    r"42\n 0 0\.\d+\n",
    r"1\nb'so far\\n'\nDEAD the sandbox is dead: .*\n(b'.*'\n)+",
    r"328350\n",
]
WHEEL = os.environ.get("ZEROBOOT_TEST_WHEEL", "")
needs_wheel = pytest.mark.skipif(not WHEEL, reason="ZEROBOOT_TEST_WHEEL names no wheel: run test.sh")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    environment = tmp_path_factory.mktemp("clean")
    venv.create(environment, with_pip=True)
    pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-index", WHEEL]
    subprocess.run(pip, check=True, env=clean())
    return environment / "bin" / "python"


def clean() -> "dict[str, str]":
    """An environment that leads to no library and no package but the installed ones."""
    unwanted = ("PYTHONPATH", "ZEROBOOT_LIBRARY", "ZEROBOOT_LIBRARY_DIR", "LD_LIBRARY_PATH")
    return {name: value for name, value in os.environ.items() if name not in unwanted}


@needs_wheel
@pytest.mark.parametrize("number", range(len(EXPECTED)))
def test_an_example_of_the_readme_runs_in_a_clean_environment(number: int, python: Path, tmp_path: Path) -> None:
    assert len(EXAMPLES) == len(EXPECTED)
    program = tmp_path / "example.py"
    program.write_text(EXAMPLES[number])
    done = subprocess.run(
        [python, "-W", "error", program], capture_output=True, text=True, env=clean(), cwd=tmp_path
    )
    assert done.returncode == 0 and done.stderr == "", done
    assert re.fullmatch(EXPECTED[number], done.stdout), done.stdout


@needs_wheel
def test_the_wheel_has_the_library_and_the_types_and_says_what_it_needs(python: Path) -> None:
    names = zipfile.ZipFile(WHEEL).namelist()
    assert {"zeroboot/libzeroboot.so", "zeroboot/py.typed", "zeroboot/__init__.py"} <= set(names)
    assert not [name for name in names if "test" in name or "__pycache__" in name]
    tag = re.search(r"zeroboot-([\d.]+)-py3-none-manylinux_2_(\d+)_x86_64\.whl$", WHEEL)
    assert tag and tag[1] == zeroboot.version()
    with zipfile.ZipFile(WHEEL) as wheel:
        library = wheel.read("zeroboot/libzeroboot.so")
    assert f"GLIBC_2.{tag[2]}".encode() in library
    assert f"GLIBC_2.{int(tag[2]) + 1}".encode() not in library


def test_the_tests_use_an_installed_package() -> None:
    assert not Path(zeroboot.__file__).is_relative_to(Path(__file__).parents[1])
