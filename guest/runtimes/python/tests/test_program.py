import unittest

from .fake import answers, run


class Namespaces(unittest.TestCase):
    def test_a_program_prints(self):
        result = run("print(6*7)")
        self.assertEqual((result.stdout, result.stderr, result.exit_code), ("42\n", "", 0))

    def test_a_program_is_the_module_main(self):
        result = run("import sys\nprint(__name__, sys.argv, '__file__' in globals())\n"
                     "print(sys.modules['__main__'].__dict__ is globals(), __builtins__.__name__)")
        self.assertEqual(result.stdout, "__main__ [''] False\nTrue builtins\n")

    def test_a_program_does_not_see_the_last_ones_names(self):
        results = answers("x = 1", "print('x' in globals())")
        self.assertEqual(results[1].stdout, "False\n")

    def test_a_class_of_a_program_can_be_pickled(self):
        result = run("import pickle\nclass A: pass\n"
                     "print(type(pickle.loads(pickle.dumps(A()))) is A)")
        self.assertEqual(result.stdout, "True\n")

    def test_globals_are_destroyed_with_what_they_need_still_there(self):
        result = run("def bye(name): print('bye', name)\n"
                     "class A:\n def __init__(self, n): self.n = n\n"
                     " def __del__(self): bye(self.n)\n"
                     "a, b = A('a'), A('b')")
        self.assertEqual(result.stdout, "bye b\nbye a\n")

    def test_future_statements_of_the_runtime_do_not_leak(self):
        self.assertEqual(run("def f(x: undefined): pass").exit_code, 1)


class ExitCodes(unittest.TestCase):
    def check(self, program, code, stderr=""):
        result = run(program)
        self.assertEqual((result.exit_code, result.stderr), (code, stderr))

    def test_sys_exit(self):
        self.check("import sys; sys.exit()", 0)
        self.check("import sys; sys.exit(7)", 7)
        self.check("import sys; sys.exit(-1)", 255)
        self.check("import sys; sys.exit(1 << 70)", 0)
        self.check("import sys; sys.exit(True)", 1)
        self.check("import sys; sys.exit('went wrong')", 1, "went wrong\n")

    def test_an_interrupt_is_130(self):
        result = run("raise KeyboardInterrupt")
        self.assertEqual(result.exit_code, 130)
        self.assertTrue(result.stderr.endswith("\nKeyboardInterrupt\n"), result.stderr)

    def test_quit_leaves_a_usable_stdin(self):
        results = answers("import _sitebuiltins; _sitebuiltins.Quitter('quit', '')(3)",
                          "import sys; print(repr(sys.stdin.read()))")
        self.assertEqual([r.exit_code for r in results], [3, 0])
        self.assertEqual(results[1].stdout, "''\n")

    def test_input_is_at_its_end(self):
        self.assertIn("EOFError", run("input()").stderr)


class Exceptions(unittest.TestCase):
    def test_a_traceback_begins_with_the_program(self):
        result = run("def f():\n    return 1/0\n\nf()\n")
        self.assertEqual(result.exit_code, 1)
        self.assertEqual(result.stdout, "")
        lines = result.stderr.splitlines()
        self.assertEqual(lines[:3], ["Traceback (most recent call last):",
                                     '  File "<zeroboot>", line 4, in <module>', "    f()"])
        self.assertIn("    return 1/0", lines)
        self.assertEqual(lines[-1], "ZeroDivisionError: division by zero")

    def test_a_chain_is_shown(self):
        result = run("try:\n    {}['k']\nexcept KeyError as e:\n    raise ValueError('v') from e")
        self.assertIn("KeyError: 'k'", result.stderr)
        self.assertIn("direct cause", result.stderr)
        self.assertNotIn("zeroboot_guest", result.stderr)

    def test_a_syntax_error_shows_its_place(self):
        result = run("x = 1\nprint(x\n")
        self.assertEqual(result.exit_code, 1)
        self.assertTrue(result.stderr.startswith('  File "<zeroboot>", line 2\n    print(x\n'),
                        result.stderr)
        self.assertIn("SyntaxError: '(' was never closed", result.stderr)

    def test_a_source_that_is_not_utf8_is_a_syntax_error(self):
        result = run(b"print('\xff')")
        self.assertEqual((result.exit_code, result.stdout), (1, ""))
        self.assertIn("SyntaxError: (unicode error) 'utf-8' codec can't decode byte 0xff",
                      result.stderr)

    def test_a_null_byte_is_an_error(self):
        result = run(b"print(1)\0")
        self.assertEqual(result.exit_code, 1)
        self.assertIn("null bytes", result.stderr)

    def test_a_byte_order_mark_is_ignored(self):
        self.assertEqual(run(b"\xef\xbb\xbfprint(1)").stdout, "1\n")

    def test_endless_recursion_ends(self):
        result = run("def f(): f()\nf()")
        self.assertEqual(result.exit_code, 1)
        self.assertIn("RecursionError", result.stderr)

    def test_lines_are_those_of_the_program_that_failed(self):
        results = answers("first = 1/0", "import traceback\ntry: second = 1/0\n"
                          "except ZeroDivisionError: traceback.print_exc()", None, "third = 1/0")
        self.assertIn("    first = 1/0", results[0].stderr)
        self.assertIn("second = 1/0", results[1].stderr)
        self.assertIn("    third = 1/0", results[3].stderr)

    def test_lines_of_another_source_are_not_shown(self):
        self.assertNotIn("exec(", run("exec('1/0')").stderr.split("<string>")[1])

    def test_a_hook_of_the_program_is_called_and_does_not_stay(self):
        results = answers("import sys\nsys.excepthook = lambda t, v, tb: print('hook', v)\n1/0",
                          "1/0")
        self.assertEqual(results[0].stdout, "hook division by zero\n")
        self.assertIn("ZeroDivisionError", results[1].stderr)

    def test_a_hook_that_fails_is_reported(self):
        result = run("import sys\ndef hook(*a): raise OSError('no')\nsys.excepthook = hook\n1/0")
        self.assertIn("Error in sys.excepthook:", result.stderr)
        self.assertIn("OSError: no", result.stderr)
        self.assertIn("ZeroDivisionError", result.stderr)


class Settling(unittest.TestCase):
    def test_programs_run_after_it(self):
        results = answers("print(1)", None, "print(2)")
        self.assertEqual([r.exit_code for r in results], [0, 0, 0])
        self.assertEqual(results[2].stdout, "2\n")
