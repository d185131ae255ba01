//! Where KVM shadows the guest's page tables, or a processor remembers translations, a machine may
//! have the right bytes and still see others: so programs look.

use std::fs;

use zeroboot::{ForkOptions, RunOptions, Sandbox};

use crate::battery::{Hostile, prelude};
use crate::common::{fork, printed, root};
use crate::{pool_of_one, recycle};

fn program(name: &str) -> String {
    let directory = root().join("tests/guest/translations");
    let text = |file: &str| fs::read_to_string(directory.join(file)).unwrap();
    format!("{}\n{}\n{}", prelude(), text("prelude.py"), text(name))
}

fn look(sandbox: &mut Sandbox, program: &str) -> String {
    printed(&sandbox.run(program.as_bytes(), RunOptions::default()).unwrap())
}

#[test]
fn no_translation_of_an_earlier_run_is_left() {
    let steps = std::env::var("ZB_TEST_STEPS").map_or(12, |text| text.parse().unwrap());
    let looks = program("looks.py");
    let expected = look(&mut fork(), &looks);
    assert_eq!(look(&mut fork(), &looks), expected);
    assert!(!expected.contains("False"), "{expected}");
    let names =
        ["leaves_writable.py", "leaves_read_only.py", "leaves_unmapped.py", "takes_away.py"];
    let mut programs: Vec<Hostile> =
        names.iter().map(|name| Hostile::new(name, program(name))).collect();
    programs.push(Hostile::new("nothing", "pass".into()));
    let pool = pool_of_one();
    let mut sandbox = pool.fork(ForkOptions::default()).unwrap();
    let mut random = 4u64;
    for step in 0..steps {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let left_by = &programs[(random >> 33) as usize % programs.len()];
        left_by.run(&mut sandbox);
        let (mut next, how) = recycle(&pool, sandbox);
        // Not each time, so that others follow one another, too.
        if random >> 62 != 0 {
            assert_eq!(look(&mut next, &looks), expected, "{step}: {} {how:?}", left_by.name);
            next = recycle(&pool, next).0;
        }
        sandbox = next;
    }
}
