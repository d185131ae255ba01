//! A tour of Python in a fork: what programs commonly use works as it does elsewhere.

mod common;

use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use common::{fork, printed, run, run_within, stdout, succeed};
use zeroboot::{Outcome, RunOptions};

/// Enough for programs that take thousands of page faults where each costs milliseconds.
const LONG: Duration = Duration::from_secs(120);

/// What the program prints here and in the host's own Python must be the same.
fn same_as_on_the_host(code: &str) {
    let host = succeed(Command::new("python3").args(["-I", "-X", "utf8", "-c", code]));
    assert_eq!(stdout(code), String::from_utf8(host.stdout).unwrap());
}

// Modules.

#[test]
fn json_and_regular_expressions_work() {
    same_as_on_the_host(
        r#"
import json, re
data = {'text': 'a\u00e4\u20ac\U0001f600"\\', 'list': [1, 2.5, -1e300, True, None], 'nested': {'k': []}}
text = json.dumps(data, sort_keys=True, indent=1)
print(text, json.loads(text) == data, json.dumps(data, ensure_ascii=False, sort_keys=True))
print(re.findall(r'(\w+)@(\w+)\.com', 'a@b.com, c@d.com'), re.sub(r'(?i)HELLO', 'bye', 'Hello hello'))
print(re.fullmatch(r'(?P<year>\d{4})-(?P<month>\d\d)', '2024-05').groupdict())
"#,
    );
}

#[test]
fn decimal_and_statistics_are_exact() {
    same_as_on_the_host(
        r"
import decimal, fractions, math, statistics
decimal.getcontext().prec = 60
print(decimal.Decimal(2).sqrt(), decimal.Decimal('0.1') + decimal.Decimal('0.2'), decimal.Decimal(1) / 7)
print(fractions.Fraction(1, 3) + fractions.Fraction(1, 6), math.comb(100, 50), 2 ** 200, math.factorial(30))
data = [x * 0.1 for x in range(100)]
print(statistics.mean(data), statistics.stdev(data), statistics.median(data), statistics.fmean(data))
",
    );
}

#[test]
fn floats_have_the_same_bits_as_on_the_host() {
    same_as_on_the_host(
        r"
import math, struct
values = [0.1 + 0.2, 1 / 3, math.pi, math.e ** 10, -0.0, 5e-324, 1.7976931348623157e308, math.inf]
values += [math.sqrt(i) * i / 7 for i in range(100)]
print([struct.pack('<d', v).hex() for v in values], [struct.pack('<f', v).hex() for v in values[:6] if v < 1e38])
print([repr(v) for v in values], math.fsum([0.1] * 10), round(2.675, 2), float('1e23'))
",
    );
}

#[test]
fn hashes_and_compression_give_known_results() {
    same_as_on_the_host(
        r"
import base64, binascii, bz2, gzip, hashlib, hmac, io, lzma, zlib
data = bytes(range(256)) * 40
for name in ('md5', 'sha1', 'sha256', 'sha512', 'sha3_256', 'blake2b'):
    print(name, hashlib.new(name, data).hexdigest())
print(hmac.new(b'key', data, 'sha256').hexdigest(), zlib.crc32(data), zlib.adler32(data), binascii.crc32(data))
for module in (zlib, bz2, lzma, gzip):
    assert module.decompress(module.compress(data)) == data
print(base64.b64encode(data)[:20], hashlib.pbkdf2_hmac('sha256', b'password', b'salt', 100).hex())
",
    );
}

#[test]
fn a_database_in_memory_works() {
    let code = "
import sqlite3
db = sqlite3.connect(':memory:')
db.execute('create table t (a integer, b text)')
db.executemany('insert into t values (?, ?)', [(i, f'row {i}') for i in range(100)])
print(db.execute('select sum(a), count(*), max(b) from t where a % 2 = 0').fetchone())
";
    assert_eq!(stdout(code), "(2450, 50, 'row 98')\n");
}

#[test]
fn the_standard_librarys_c_modules_are_there() {
    // The image has no readline, curses, tkinter or dbm; everything else imports.
    let code = "
import importlib
for name in '''_ssl ssl _hashlib _sqlite3 sqlite3 zlib bz2 lzma ctypes _decimal _json _pickle pyexpat select
mmap resource termios fcntl grp pwd syslog array audioop binascii cmath math unicodedata _asyncio _queue
_multiprocessing _socket _struct _uuid zoneinfo _elementtree _heapq _bisect _random _statistics _csv _datetime
xml.etree.ElementTree email.message concurrent.futures multiprocessing asyncio unittest'''.split():
    try:
        importlib.import_module(name)
    except ImportError as error:
        print(name, error)
";
    assert_eq!(printed(&run_within(code, LONG)), "");
}

#[test]
fn coroutines_run() {
    let code = "
import asyncio
async def step(n):
    await asyncio.sleep(0)
    return n * n
async def main():
    return await asyncio.gather(*(step(n) for n in range(10)))
print(asyncio.run(main()))
";
    assert_eq!(stdout(code), "[0, 1, 4, 9, 16, 25, 36, 49, 64, 81]\n");
}

#[test]
fn threads_run_and_wait_for_each_other() {
    let code = "
import queue, threading
numbers, results, lock = queue.Queue(), [], threading.Lock()
def work():
    while (n := numbers.get()) is not None:
        with lock:
            results.append(n * n)
threads = [threading.Thread(target=work) for _ in range(4)]
for t in threads: t.start()
for n in range(100): numbers.put(n)
for t in threads: numbers.put(None)
for t in threads: t.join()
print(sum(results), len(results), threading.active_count())
";
    assert_eq!(stdout(code), "328350 100 1\n");
}

#[test]
fn a_thread_pool_works_in_run_after_run() {
    let mut sandbox = fork();
    let code = "from concurrent.futures import ThreadPoolExecutor\n\
                with ThreadPoolExecutor(3) as pool: print(sum(pool.map(lambda x: x * x, range(20))))";
    for _ in 0..3 {
        let result = sandbox.run(code.as_bytes(), RunOptions::default()).unwrap();
        assert_eq!(printed(&result), "2470\n");
    }
}

#[test]
fn a_thread_that_is_not_waited_for_still_ends_before_the_run() {
    let code = "import threading\ndef late():\n    event.wait()\n    print('late')\n\
                event = threading.Event()\nthreading.Thread(target=late).start()\n\
                print('main')\nevent.set()";
    assert_eq!(stdout(code), "main\nlate\n");
}

// Time.

#[test]
fn the_wall_clock_is_the_hosts() {
    let seconds_since_1970 =
        || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    let before = seconds_since_1970();
    let guest: f64 = stdout(
        "import datetime, time\n\
         now = datetime.datetime.now(datetime.timezone.utc).timestamp()\n\
         assert abs(datetime.datetime.now().timestamp() - time.time()) < 1\n\
         print(now)",
    )
    .trim()
    .parse()
    .unwrap();
    let after = seconds_since_1970();
    println!(
        "the guest's clock: {:.3} s after the run began, {:.3} s before its end",
        guest - before,
        after - guest
    );
    assert!(guest > before - 1.0 && guest < after + 1.0, "{before} {guest} {after}");
}

#[test]
fn clocks_go_forward_at_the_hosts_rate() {
    let started = Instant::now();
    let guest: f64 = stdout(
        "import time\nstart = time.monotonic(), time.perf_counter(), time.time()\n\
         while time.monotonic() - start[0] < 0.5: pass\n\
         took = [b - a for a, b in zip(start, (time.monotonic(), time.perf_counter(), time.time()))]\n\
         assert max(took) - min(took) < 0.1, took\nprint(took[0])",
    )
    .trim()
    .parse()
    .unwrap();
    let host = started.elapsed().as_secs_f64();
    assert!(guest >= 0.5 && guest <= host, "{guest} s in the guest, {host} s on the host");
}

#[test]
fn a_sleep_lasts_as_long_as_it_should() {
    let started = Instant::now();
    assert_eq!(stdout("import time; time.sleep(0.3); print('awake')"), "awake\n");
    assert!(started.elapsed() >= Duration::from_millis(300));
}

#[test]
fn time_zones_are_known() {
    let code = "from datetime import datetime\nfrom zoneinfo import ZoneInfo\n\
                print(datetime(2024, 7, 1, 12, tzinfo=ZoneInfo('Europe/Berlin')).isoformat())";
    assert_eq!(stdout(code), "2024-07-01T12:00:00+02:00\n");
}

// Processes and files.

#[test]
fn programs_of_the_image_run_as_children() {
    let code = r"
import subprocess
run = lambda *a, **k: subprocess.run(a, capture_output=True, text=True, **k)
ls = run('ls', '/usr')
print(ls.returncode, 'bin' in ls.stdout.split(), 'lib' in ls.stdout.split())
print(run('sh', '-c', 'echo $((6 * 7)); exit 3'))
print(run('cat', input='through a pipe').stdout)
print(run('ls', '/nowhere').returncode != 0, run('false').returncode)
try:
    run('/no/such/program')
except FileNotFoundError as error:
    print(error.filename)
";
    assert_eq!(
        printed(&run_within(code, LONG)),
        "0 True True\nCompletedProcess(args=('sh', '-c', 'echo $((6 * 7)); exit 3'), returncode=3, \
         stdout='42\\n', stderr='')\nthrough a pipe\nTrue 1\n/no/such/program\n"
    );
}

#[test]
fn a_forked_child_runs_on_its_own() {
    let code = "
import os
pid = os.fork()
if pid == 0:
    print('child', flush=True)
    os._exit(5)
print('parent', os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
";
    assert_eq!(printed(&run_within(code, LONG)), "child\nparent 5\n");
}

#[test]
fn files_in_tmp_and_home_are_written_and_read() {
    let code = r"
import os, pathlib, shutil, tempfile
print(os.getcwd() == os.path.expanduser('~') == os.environ['HOME'])
for directory in ('/tmp', os.path.expanduser('~'), '.', tempfile.mkdtemp(), '/dev/shm'):
    path = pathlib.Path(directory) / 'file'
    path.write_bytes(bytes(range(256)) * 16)
    with path.open('ab') as file:
        file.write(b'more')
    assert path.stat().st_size == 4100 and path.read_bytes()[-5:] == b'\xffmore'
    os.rename(path, str(path) + '.new')
    os.remove(str(path) + '.new')
    assert not path.exists()
os.makedirs('a/b/c')
os.symlink('b', 'a/link')
print(sorted(os.listdir('a')), os.path.realpath('a/link/c'))
shutil.rmtree('a')
with tempfile.TemporaryFile() as file:
    file.write(b'x' * 10000)
    file.seek(5000)
    print(len(file.read()))
";
    assert_eq!(printed(&run_within(code, LONG)), "True\n['b', 'link'] /home/sandbox/a/b/c\n5000\n");
}

#[test]
fn a_program_is_an_ordinary_user() {
    let code = r"
import os
print(os.getuid() != 0, os.geteuid() != 0, os.getgid() != 0, os.getgroups())
def denied(action):
    try:
        action()
    except PermissionError:
        return True
    except FileNotFoundError:
        return 'absent'
    return False
print(denied(lambda: open('/usr/bin/new', 'w')), denied(lambda: open('/etc/passwd', 'a')))
print(denied(lambda: os.remove('/etc/passwd')), denied(lambda: os.setuid(0)), denied(lambda: os.kill(1, 9)))
print(denied(lambda: os.listdir('/proc/1/fd')), denied(lambda: open('/proc/1/environ').read()))
print(denied(lambda: open('/etc/shadow')) is not False, denied(lambda: os.mknod('/tmp/mem', 0o20666, os.makedev(1, 1))))
print(denied(lambda: os.sethostname('other') if hasattr(os, 'sethostname') else open('/proc/sys/kernel/hostname', 'w')))
print(denied(lambda: open('/proc/sysrq-trigger', 'w')) is not False, denied(lambda: open('/dev/zeroboot')) is not False)
";
    assert_eq!(
        stdout(code),
        "True True True []\nTrue True\nTrue True True\nTrue True\nTrue True\nTrue\nTrue True\n"
    );
}

#[test]
fn a_program_sees_names_and_an_environment() {
    let code = "
import getpass, os, platform, pwd, socket, sys
print(socket.gethostname()[:9], platform.node() == socket.gethostname(), platform.system(), platform.machine())
print(getpass.getuser(), pwd.getpwuid(os.getuid()).pw_dir, os.environ['PATH'], sys.argv)
print(os.cpu_count(), sys.version_info[:2] >= (3, 11), [v for v in os.environ if v.startswith('ZB_')])
";
    assert_eq!(
        stdout(code),
        "zeroboot- True Linux x86_64\nsandbox /home/sandbox /usr/local/bin:/usr/bin:/bin ['']\n1 True []\n"
    );
}

#[test]
fn sockets_work_on_the_loopback_interface_and_nowhere_else() {
    let code = "
import socket
server = socket.create_server(('127.0.0.1', 0))
client = socket.create_connection(server.getsockname())
peer, _ = server.accept()
client.sendall(b'over the loopback')
print(peer.recv(100))
try:
    socket.create_connection(('192.0.2.1', 80), timeout=5)
except OSError as error:
    print(type(error).__name__, error.strerror)
";
    assert_eq!(
        printed(&run_within(code, LONG)),
        "b'over the loopback'\nOSError Network is unreachable\n"
    );
}

// Memory and depth.

#[test]
fn twenty_megabytes_are_allocated_and_used() {
    let code = "
data = bytearray(20_000_000)
data[::4096] = b'x' * len(data[::4096])
print(len(data), data.count(b'x'), data.count(0))
";
    let result = run_within(code, LONG);
    println!("20 MB in {:?}", result.elapsed);
    assert_eq!(printed(&result), "20000000 4883 19995117\n");
}

#[test]
fn one_print_of_ten_megabytes_is_whole() {
    let result = run_within("print('0123456789' * 1_000_000)", LONG);
    println!("10 MB in {:?}", result.elapsed);
    assert!(printed(&result) == "0123456789".repeat(1_000_000) + "\n");
}

#[test]
fn a_recursion_of_the_usual_depth_works_and_a_deeper_one_is_an_exception() {
    let code = "
import sys
def depth(n):
    return 0 if n == 0 else 1 + depth(n - 1)
print(depth(900), sys.getrecursionlimit())
try:
    depth(2000)
except RecursionError as error:
    print(str(error).removesuffix(' in comparison'))
sys.setrecursionlimit(20000)
print(depth(15000))
";
    assert_eq!(
        printed(&run_within(code, LONG)),
        "900 1000\nmaximum recursion depth exceeded\n15000\n"
    );
}

// Text and streams.

#[test]
fn unicode_goes_both_ways() {
    let text = "\u{e4}\u{f6}\u{fc}\u{df} \u{20ac} \u{4f60}\u{597d} \u{1f600}\u{1f468}\u{200d}\u{1f469} \u{0301}";
    assert_eq!(
        stdout(&format!("text = '{text}'\nprint(text)\nprint(len(text))")),
        format!("{text}\n{}\n", text.chars().count())
    );
    assert_eq!(
        stdout("\u{e4}nderung = 1; print(\u{e4}nderung, 'stra\u{df}e'.upper())"),
        "1 STRASSE\n"
    );
    let result = run(&format!("import sys; print('{text}', file=sys.stderr)"));
    assert_eq!(String::from_utf8(result.output.stderr).unwrap(), format!("{text}\n"));
}

#[test]
fn bytes_that_are_no_text_survive_as_surrogates() {
    let result = run(
        "import os\nname = b'/tmp/\\xff\\x80'\nopen(name, 'w').close()\nprint(os.listdir('/tmp')[0])",
    );
    assert_eq!(result.outcome, Outcome::Exited(0), "{result:?}");
    assert_eq!(result.output.stdout, b"\xff\x80\n");
}

#[test]
fn a_lone_surrogate_that_stands_for_no_byte_is_an_error_on_stdout_and_shown_on_stderr() {
    let result = run("print('\\ud800')");
    assert_eq!(result.outcome, Outcome::Exited(1));
    assert!(String::from_utf8(result.output.stderr).unwrap().contains("UnicodeEncodeError"));
    let result = run("import sys; print('\\ud800', file=sys.stderr)");
    assert_eq!(result.output.stderr, b"\\ud800\n");
}

#[test]
fn standard_input_is_at_its_end() {
    let code = "
import os, sys
print(repr(sys.stdin.read()), repr(sys.stdin.readline()), list(sys.stdin), sys.stdin.buffer.read(), os.read(0, 10))
print(sys.stdin.isatty(), sys.stdout.isatty())
try:
    input('prompt: ')
except EOFError as error:
    print(error)
";
    assert_eq!(stdout(code), "'' '' [] b'' b''\nFalse False\nprompt: EOF when reading a line\n");
}

#[test]
fn classes_pickle_and_dataclasses_find_main() {
    let code = "
import dataclasses, pickle, inspect
@dataclasses.dataclass
class Point:
    x: int
    y: int = 2
copy = pickle.loads(pickle.dumps(Point(1)))
print(copy, copy == Point(1), Point.__module__)
if __name__ == '__main__':
    print('main')
";
    assert_eq!(stdout(code), "Point(x=1, y=2) True __main__\nmain\n");
}

#[test]
fn a_module_that_the_program_has_written_can_be_imported() {
    let code = "open('own_module.py', 'w').write('answer = 42\\n')\nimport own_module\nprint(own_module.answer)";
    assert_eq!(stdout(code), "42\n");
}

#[test]
fn warnings_and_logging_go_to_standard_error() {
    let result =
        run("import logging, warnings\nwarnings.warn('careful')\nlogging.warning('logged')");
    let error = String::from_utf8(result.output.stderr).unwrap();
    assert!(
        error.contains("UserWarning: careful") && error.contains("WARNING:root:logged"),
        "{error}"
    );
    assert!(result.output.stdout.is_empty());
}
