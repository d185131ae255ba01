//! No run of a recycled machine finds anything of the runs that had the machine before.

mod common;

use std::env;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use common::{printed, snapshot, template};
use zeroboot::{ForkOptions, Pool, PoolOptions, RunOptions, Sandbox};

const THREADS: usize = 4;

/// All secrets begin so; the rest is a number.
const MARK: &str = "zb-secret-";

fn number_from_environment(name: &str, default: usize) -> usize {
    env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// Looks for what any other run may have left, then leaves its own: in a module, on the heap, in the
/// environment of the process. The mark is put together, so that the program has it only once.
const CHEAP: &str = "
import json, sys
found = [getattr(json, 'kept', None), getattr(sys, 'kept', None)]
secret = 'zb-secret-' + NUMBER
json.kept = secret
sys.kept = [secret.encode() * 50, {secret: secret}]
print(found, NUMBER)
";

/// As above, and in files, which are system calls.
const WITH_FILES: &str = "
import json, os, sys
paths = ('/tmp/kept', '/dev/shm/kept', '/home/sandbox/kept')
found = [getattr(json, 'kept', None), getattr(sys, 'kept', None), os.environ.get('KEPT')]
found = [x for x in found + [path for path in paths if os.path.exists(path)] if x] or [None, None]
secret = 'zb-secret-' + NUMBER
json.kept = secret
sys.kept = [secret.encode() * 50, {secret: secret}]
os.environ['KEPT'] = secret
for path in paths:
    open(path, 'w').write(secret)
print(found, NUMBER)
";

/// Runs it with a secret of its own in a machine of the pool's; whether that was a recycled one.
fn run_with_secret(pool: &Pool, number: usize, with_files: bool) -> bool {
    let mut sandbox = pool.fork(ForkOptions::default()).unwrap();
    let recycled = sandbox.inside().put_back().is_some();
    let number = format!("{number:08}");
    let code =
        if with_files { WITH_FILES } else { CHEAP }.replace("NUMBER", &format!("'{number}'"));
    let result = sandbox.run(code.as_bytes(), RunOptions::default()).unwrap();
    assert_eq!(printed(&result), format!("[None, None] {number}\n"));
    recycled
}

/// The secrets in a machine's memory. The template has none, so they are in pages that are not as
/// in its file.
fn secrets_in(sandbox: &mut Sandbox) -> Vec<String> {
    const PAGE: usize = 4096;
    let inside = sandbox.inside();
    let (mut memory, mut original) = (vec![0; inside.memory.size()], vec![0; inside.memory.size()]);
    let process = File::open("/proc/self/mem").unwrap();
    process.read_exact_at(&mut memory, inside.memory.as_ptr() as u64).unwrap();
    File::open(template().join("memory.img")).unwrap().read_exact(&mut original).unwrap();
    let pages = memory.chunks(PAGE).zip(original.chunks(PAGE));
    let changed: Vec<u8> = pages.filter(|(a, b)| a != b).flat_map(|(a, _)| a.to_vec()).collect();
    let text = String::from_utf8_lossy(&changed);
    text.match_indices(MARK).map(|(at, _)| text[at..].chars().take(18).collect()).collect()
}

#[test]
fn no_run_of_a_recycled_machine_sees_anothers_secret() {
    let runs = number_from_environment("ZB_TEST_SECRETS", 10_000);
    let options = PoolOptions { recycle_max: THREADS, ..PoolOptions::NONE };
    let pool = Pool::new(Arc::clone(snapshot()), options);
    let (next, recycled) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= runs {
                        break;
                    }
                    let was_recycled = run_with_secret(&pool, number, number % 500 == 7);
                    recycled.fetch_add(was_recycled.into(), Ordering::Relaxed);
                }
            });
        }
    });
    let recycled = recycled.into_inner();
    println!("{runs} runs, {recycled} of them recycled, in {:?}", started.elapsed());
    assert!(recycled > runs * 9 / 10, "only {recycled} of {runs} had a recycled machine");
    look_through_all(&pool);
}

/// Nothing is left in the machines that the pool keeps; and what is there would be seen.
fn look_through_all(pool: &Pool) {
    pool.settle();
    let (ready, _) = pool.kept();
    assert!(ready > 0);
    let mut kept: Vec<Sandbox> =
        (0..ready).map(|_| pool.fork(ForkOptions::default()).unwrap()).collect();
    // Of a spare machine that nobody has had yet, there is nothing to be seen.
    assert!(kept.iter_mut().any(|sandbox| sandbox.inside().put_back().is_some()));
    for sandbox in &mut kept {
        assert_eq!(secrets_in(sandbox), [""; 0]);
        let code = CHEAP.replace("NUMBER", "'99999999'");
        printed(&sandbox.run(code.as_bytes(), RunOptions::default()).unwrap());
        let found = secrets_in(sandbox);
        assert!(found.iter().filter(|s| *s == "zb-secret-99999999").count() > 20, "{found:?}");
    }
}
