"""What is imported before the first request.

An import that a program makes in a fork is slow on some hosts, and what is here is also shared by
all forks; so be generous.
"""

import builtins
import gc
import importlib
import sys

MODULES = """
abc argparse array ast asyncio base64 binascii bisect bz2 calendar cmath codecs collections
collections.abc concurrent.futures.thread contextlib contextvars copy csv ctypes dataclasses
datetime _strptime decimal difflib dis email.message enum errno fnmatch fractions functools getpass
glob gzip hashlib heapq hmac html html.parser http.client importlib.metadata importlib.util inspect
io itertools json keyword linecache locale logging lzma math mimetypes mmap numbers operator
os os.path pathlib pickle platform pprint queue random re secrets select selectors shlex shutil
signal socket sqlite3 ssl stat statistics string struct subprocess sys tarfile tempfile textwrap
threading time timeit token tokenize traceback types typing unicodedata unittest urllib.error
urllib.parse urllib.request uuid warnings weakref xml.etree.ElementTree zipfile zlib zoneinfo
encodings.ascii encodings.idna encodings.latin_1 encodings.utf_8_sig
""".split()

# Where Debian puts packages. The empty entry, for modules that a program has written, comes last
# because it costs a look at the directory for each import that reaches it.
PATH = ["/usr/local/lib/python3.11/dist-packages", "/usr/lib/python3/dist-packages", ""]


def preload(modules=MODULES):
    """Imports what there is of the list; an image may leave modules out."""
    gc.disable()
    for name in modules:
        try:
            importlib.import_module(name)
        except ImportError as error:
            print(f"zeroboot: not preloaded: {name}: {error}", file=sys.stderr)
    gc.enable()


def set_up_site():
    """What the site module would have done, without its search for packages."""
    import _sitebuiltins

    sys.path.extend(entry for entry in PATH if entry not in sys.path)
    builtins.quit = _sitebuiltins.Quitter("quit", "Ctrl-D (i.e. EOF)")
    builtins.exit = _sitebuiltins.Quitter("exit", "Ctrl-D (i.e. EOF)")
    builtins.help = _sitebuiltins._Helper()
