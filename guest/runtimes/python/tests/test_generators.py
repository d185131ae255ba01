"""Random state is renewed when a host has left a seed, and only then."""

import ctypes
import random
import ssl
import sys
import types
import unittest
import uuid
from unittest import mock

from . import fake
from zeroboot_guest import generators

A, B = bytes(range(32)), bytes(range(1, 33))

PRINT = "import random; print(random.random())"


class Seeds(unittest.TestCase):
    def setUp(self):
        self.addCleanup(random.setstate, random.getstate())
        for name in ("_callbacks", "_kept_globals"):
            patch = mock.patch.object(generators, name, [])
            patch.start()
            self.addCleanup(patch.stop)

    def test_a_seed_decides_what_the_module_random_gives(self):
        first, again, other = (fake.answers(PRINT, seeds=[s])[0].stdout for s in (A, A, B))
        self.assertEqual(first, again)
        self.assertNotEqual(first, other)

    def test_without_a_seed_a_programs_own_one_stays(self):
        first, second = fake.answers("import random; random.seed(1)", PRINT, seeds=[A])
        random.seed(1)
        self.assertEqual(second.stdout, f"{random.random()}\n")
        self.assertEqual(first.exit_code, 0)

    def test_a_callback_gets_bytes_of_its_own_before_the_program(self):
        program = ("import zeroboot_guest, sys; seen = []\n"
                   "for _ in range(2): zeroboot_guest.on_fork(lambda seed: seen.append(seed))\n"
                   "sys.seen = seen")
        self.addCleanup(lambda: delattr(sys, "seen"))
        fake.answers(program, "import sys; assert len(sys.seen) == 2", seeds=[None, A])
        one, two = sys.seen
        self.assertEqual((len(one), len(two)), (32, 32))
        self.assertEqual(len({one, two, A}), 3)

    def test_only_what_can_be_called_is_registered(self):
        with self.assertRaises(TypeError):
            generators.on_fork(None)

    def test_numpys_global_generator_is_seeded_if_it_is_there(self):
        numpy = types.ModuleType("numpy.random")
        numpy.seed = mock.Mock()
        with mock.patch.dict(sys.modules, {"numpy.random": numpy}):
            generators.Generators().reseed(A)
            generators.Generators().reseed(B)
        first, second = (call.args[0] for call in numpy.seed.call_args_list)
        self.assertNotEqual(first, second)
        # What numpy.random.seed takes: 32-bit numbers.
        self.assertTrue(len(first) == 8 and all(0 <= n < 1 << 32 for n in first))

    def test_a_program_does_not_run_when_its_generators_cannot_be_renewed(self):
        generators.on_fork(lambda seed: 1 / 0)
        with mock.patch("os._exit", side_effect=fake.HostGone) as leave:
            result = fake.answers("print('ran')", seeds=[A])[0]
        leave.assert_called_once_with(1)
        self.assertEqual(result.stdout, "")
        self.assertIn("zeroboot: cannot make this fork differ", result.stderr)
        self.assertIn("ZeroDivisionError", result.stderr)


class Rehearsals(unittest.TestCase):
    def test_openssl_asks_the_kernel_anew_behind_each_program_of_a_template(self):
        held = generators.Generators()
        held.forget()
        library = ctypes.CDLL(sys.modules["_ssl"].__file__)
        library.EVP_RAND_get_state.argtypes = [ctypes.c_void_p]

        def states():
            return [library.EVP_RAND_get_state(each) for each in held._openssl._generators]

        self.assertEqual(states(), [0, 0, 0])
        self.assertNotEqual(ssl.RAND_bytes(16), ssl.RAND_bytes(16))
        self.assertEqual(states()[:2], [1, 1])
        held.forget()
        self.assertEqual(states(), [0, 0, 0])

    def test_a_node_is_drawn_when_it_is_asked_for(self):
        kept = uuid._generate_time_safe, uuid._GETTERS, uuid._node, uuid._last_timestamp
        try:
            generators.forget_node()
            random.seed(1)
            first = uuid.uuid1()
            self.assertEqual(first.node, uuid.getnode())
            generators.forget_node()
            self.assertNotEqual(uuid.uuid1().node, first.node)
        finally:
            uuid._generate_time_safe, uuid._GETTERS, uuid._node, uuid._last_timestamp = kept


if __name__ == "__main__":
    unittest.main()
