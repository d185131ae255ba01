"""Random state that is in memory when the machine is forked, and must differ from fork to fork.

The host has renewed the kernel's before a fork runs, so what asks the kernel each time (os.urandom,
secrets, uuid4) needs nothing. What has its state from earlier is here. Some of it is dropped in the
template, behind each program: a fork takes it anew from the kernel when it needs it, and pays for it
then. The rest is reseeded in each fork, without a system call.
"""

import ctypes
import hashlib
import random
import sys
import _thread

_callbacks = []
_kept_globals = []


def on_fork(callback):
    """Has ``callback(seed)`` called in each fork before the first program, with 32 random bytes of
    its own. For whatever holds random state, or anything else that forks must not share, in a
    program that a template is warmed up with. What it raises ends the fork.

    While the template is warmed up it is called before each program. Returns the callback, so that
    it can decorate one. The globals of the program that calls this stay when it ends."""
    if not callable(callback):
        raise TypeError(f"on_fork() wants a callable, not {type(callback).__name__}")
    _callbacks.append(callback)
    _kept_globals.append(sys._getframe(1).f_globals)
    return callback


def keeps(namespace):
    """Whether a callback may need the globals of a program that has ended."""
    return any(kept is namespace for kept in _kept_globals)


class Generators:
    """All that is known to hold random state."""

    def __init__(self):
        self._openssl = None

    def reseed(self, seed):
        """In a fork, before anything else: from a seed of the host's, 32 bytes."""
        # Mersenne Twister can be run backwards to what it was seeded with, so nothing else may
        # depend on that half.
        random.seed(int.from_bytes(seed[:16], "little"))
        if self._openssl and _thread._count():
            # A thread of the template's may have used it since it was dropped.
            self._openssl.renew()
        if _callbacks or "numpy.random" in sys.modules:
            self._reseed_rare(seed[16:])

    def _reseed_rare(self, key):
        def derived(name):
            return hashlib.blake2b(name.encode(), key=key, digest_size=32).digest()

        numpy = sys.modules.get("numpy.random")
        if numpy:
            numpy.seed(list(memoryview(derived("numpy")).cast("I")))
        for number, callback in enumerate(_callbacks):
            callback(derived(f"callback {number}"))

    def forget(self):
        """In a template, behind each program: drops what can be had anew."""
        forget_host_name()
        forget_node()
        share_generator_with_tempfile()
        if "_ssl" in sys.modules:
            if self._openssl is None:
                self._openssl = OpenSsl()
            self._openssl.forget()


def forget_host_name():
    """The platform module asks once and remembers."""
    platform = sys.modules.get("platform")
    if platform:
        platform._uname_cache = None


def forget_node():
    """uuid1 and getnode: libuuid keeps a node and a clock sequence for the process's life, so the
    module's own code has to do, with a random node."""
    uuid = sys.modules.get("uuid")
    if uuid:
        uuid._generate_time_safe = None
        uuid._GETTERS = []
        uuid._node = None
        uuid._last_timestamp = None


def share_generator_with_tempfile():
    """Names of temporary files come from a generator that renews itself in a child process."""
    tempfile = sys.modules.get("tempfile")
    names = tempfile and tempfile._name_sequence
    if names:
        names._rng = random._inst


class OpenSsl:
    """OpenSSL's generators. One that is not instantiated takes its state from the kernel when it is
    used next."""

    def __init__(self):
        # Its symbols are looked up in what the module was linked with, too.
        library = ctypes.CDLL(sys.modules["_ssl"].__file__)
        self._uninstantiate = library.EVP_RAND_uninstantiate
        self._uninstantiate.argtypes = [ctypes.c_void_p]
        self._generators = []
        for name in ("RAND_get0_primary", "RAND_get0_public", "RAND_get0_private"):
            get = getattr(library, name)
            get.argtypes, get.restype = [ctypes.c_void_p], ctypes.c_void_p
            self._generators.append(get(None))
        if not all(self._generators):
            raise RuntimeError("OpenSSL has no random number generators")

    def forget(self):
        for generator in self._generators:
            if self._uninstantiate(generator) != 1:
                raise RuntimeError("OpenSSL keeps its random state")

    def renew(self):
        """The same where other threads have generators of their own: those take a new state when
        the first of these has one."""
        self.forget()
        sys.modules["_ssl"].RAND_bytes(1)
