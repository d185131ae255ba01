import os
import unittest

from .fake import answers, run


class Threads(unittest.TestCase):
    def test_a_thread_is_waited_for(self):
        result = run("import threading, time\n"
                     "def f():\n time.sleep(0.1)\n print('late')\n"
                     "threading.Thread(target=f).start()\nprint('early')")
        self.assertEqual((result.stdout, result.exit_code), ("early\nlate\n", 0))

    def test_a_thread_that_a_thread_starts_is_waited_for(self):
        result = run("import threading, time\n"
                     "def g():\n time.sleep(0.1)\n print('g')\n"
                     "def f(): threading.Thread(target=g).start()\n"
                     "threading.Thread(target=f).start()")
        self.assertEqual(result.stdout, "g\n")

    def test_a_daemon_is_not_waited_for_and_keeps_its_globals(self):
        results = answers("import threading\ngo, name = threading.Event(), 'daemon'\n"
                          "def f():\n go.wait()\n print(name)\n"
                          "import builtins; builtins.go = go\n"
                          "builtins.thread = threading.Thread(target=f, daemon=True)\n"
                          "builtins.thread.start()",
                          "go.set(); thread.join()\nimport builtins; del builtins.go, builtins.thread")
        self.assertEqual([r.exit_code for r in results], [0, 0], results[1].stderr)
        self.assertEqual(results[1].stdout, "daemon\n")

    def test_a_pool_that_was_not_shut_down_ends_and_the_next_works(self):
        program = ("from concurrent.futures import ThreadPoolExecutor\n"
                   "pool = ThreadPoolExecutor(2)\nprint(list(pool.map(len, ['a', 'bb'])))")
        self.assertEqual([r.stdout for r in answers(program, program)], ["[1, 2]\n"] * 2)

    def test_an_exception_in_a_thread_is_shown(self):
        result = run("import threading\nthreading.Thread(target=lambda: 1/0).start()")
        self.assertIn("ZeroDivisionError", result.stderr)
        self.assertEqual(result.exit_code, 0)


class ExitHandlers(unittest.TestCase):
    def test_they_are_called_once_and_last(self):
        results = answers("import atexit\natexit.register(print, 'bye')\nprint('hello')", "pass")
        self.assertEqual(results[0].stdout, "hello\nbye\n")
        self.assertEqual(results[1].stdout, "")

    def test_they_are_called_after_an_error(self):
        result = run("import atexit\natexit.register(print, 'bye')\n1/0")
        self.assertEqual((result.stdout, result.exit_code), ("bye\n", 1))

    def test_finalizers_work_in_every_program(self):
        program = ("import weakref\nclass A: pass\na = A()\nweakref.finalize(a, print, 'end')\n"
                   "b = A()\nweakref.finalize(b, print, 'del')\ndel b")
        self.assertEqual([r.stdout for r in answers(program, program)], ["del\nend\n"] * 2)

    def test_temporary_directories_go(self):
        program = "import tempfile\nd = tempfile.TemporaryDirectory()\nprint(d.name)"
        for result in answers(program, program):
            self.assertFalse(os.path.exists(result.stdout.strip()))


class Children(unittest.TestCase):
    def test_a_forked_child_does_not_answer_the_host(self):
        result = run("import os, sys\nr, w = os.pipe()\npid = os.fork()\n"
                     "if pid == 0:\n"
                     "    os.dup2(w, 1)\n    print('child')\n    sys.exit(5)\n"
                     "os.close(w)\n"
                     "_, status = os.waitpid(pid, 0)\n"
                     "print(os.waitstatus_to_exitcode(status), os.read(r, 99))")
        self.assertEqual(result.stdout, "5 b'child\\n'\n")
        self.assertEqual(result.exit_code, 0)
