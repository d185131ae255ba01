import unittest

from .fake import answers, run


class Output(unittest.TestCase):
    def test_each_line_is_written_in_one_piece(self):
        result = run("for i in range(100): print(i, 'and', i)")
        self.assertEqual(len(result.pieces), 100)

    def test_a_line_without_an_end_is_written_at_the_end(self):
        result = run("for i in range(100): print(i, end=' ')")
        self.assertEqual(len(result.pieces), 1)

    def test_errors_are_written_line_by_line_in_order(self):
        result = run("import sys\nprint('a', flush=True)\nprint('b', file=sys.stderr)\nprint('c')")
        self.assertEqual([d for _, d in result.pieces], [b"a\n", b"b\n", b"c\n"])

    def test_bytes_can_be_written(self):
        result = run("import sys\nsys.stdout.buffer.write(b'\\x41')\n"
                     "sys.stdout.buffer.write(memoryview(bytearray(b'BC')))\n"
                     "sys.stdout.buffer.writelines([b'D', b'E'])")
        self.assertEqual(result.stdout, "ABCDE")

    def test_a_stream_is_what_programs_expect(self):
        result = run("import sys, io\no = sys.stdout\n"
                     "print(o.fileno(), o.isatty(), o.writable(), o.readable(), o.seekable(),"
                     " o.encoding, o.name, o.mode, isinstance(o.buffer, io.RawIOBase))")
        self.assertEqual(result.stdout, "1 False True False False utf-8 <stdout> w True\n")

    def test_text_that_is_not_unicode_is_written_as_cpython_does(self):
        result = run("import sys\nprint('\\udc80' == '\\udc80')\nprint('\\ud800', file=sys.stderr)")
        self.assertEqual(result.stderr, "\\ud800\n")

    def test_no_text_is_no_record(self):
        self.assertEqual(run("print(end='')").pieces, [])


class Survival(unittest.TestCase):
    """Whatever a program does to its streams, the next program has good ones."""

    PROGRAMS = (
        "import sys, io; sys.stdout = sys.stderr = io.StringIO(); print('x')",
        "import sys; sys.stdout = None; sys.stderr = None",
        "import sys; del sys.stdout, sys.stderr, sys.stdin",
        "import sys; sys.stdout.close(); sys.stderr.close(); sys.stdin.close()",
        "import sys; sys.__stdout__.close()",
        "import sys; sys.stdout.buffer.close()",
        "import sys; sys.stdout.detach(); sys.stderr.detach()",
        "import sys; sys.stdout.reconfigure(encoding='utf-16', line_buffering=True)",
        "import sys; sys.stdout.write = lambda text: None",
        "import sys, io; sys.stdout = io.TextIOWrapper(sys.stdout.buffer); print('x')",
    )

    def test_the_next_program_prints(self):
        for program in self.PROGRAMS:
            with self.subTest(program):
                results = answers(program, "import sys\nprint('\u00e9')\nprint(2, file=sys.stderr)")
                self.assertEqual((results[1].stdout, results[1].stderr), ("\u00e9\n", "2\n"))
                self.assertEqual(results[1].exit_code, 0)

    def test_text_behind_another_wrapper_is_flushed(self):
        result = run("import sys, io\nsys.stdout = io.TextIOWrapper(sys.stdout.buffer)\nprint('x')")
        self.assertEqual(result.stdout, "x\n")

    def test_output_that_is_lost_shows_in_the_exit_code(self):
        result = run("import sys\nclass Bad:\n def write(self, text): pass\n"
                     " closed = False\n def flush(self): raise OSError('full')\nsys.stdout = Bad()")
        self.assertEqual(result.exit_code, 120)
        self.assertIn("OSError: full", result.stderr)

    def test_an_error_without_a_stderr_is_shown(self):
        self.assertIn("ZeroDivisionError", run("import sys\nsys.stderr = None\n1/0").stderr)
