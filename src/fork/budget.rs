//! What the sandboxes of a pool may hold together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Error;

/// Memory that is given away in shares, one a sandbox. A share is what its sandbox may come to hold,
/// not what it holds: so nobody who was given one meets the limit later.
#[derive(Debug)]
pub(super) struct Budget {
    max: Option<u64>,
    given: AtomicU64,
}

/// A sandbox's part, until dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Budget {
    pub(super) fn new(max: Option<u64>) -> Self {
        Budget { max, given: AtomicU64::new(0) }
    }

    pub(super) fn give(self: &Arc<Self>, bytes: u64) -> Result<Share, Error> {
        let max = self.max.unwrap_or(u64::MAX);
        let taken = self.given.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |given| {
            given.checked_add(bytes).filter(|sum| *sum <= max)
        });
        match taken {
            Ok(_) => Ok(Share { budget: Arc::clone(self), bytes }),
            Err(given) => Err(Error::MemoryTotal { max, given, wanted: bytes }),
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.given.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_given_up_to_the_limit_and_come_back() {
        let budget = Arc::new(Budget::new(Some(100)));
        let first = budget.give(60).unwrap();
        let error = budget.give(41).unwrap_err().to_string();
        assert!(["100", "60", "41"].iter().all(|n| error.contains(n)), "{error}");
        let second = budget.give(40).unwrap();
        drop(first);
        assert!(budget.give(61).is_err() && budget.give(60).is_ok());
        drop(second);
        assert!(budget.give(100).is_ok());
    }

    #[test]
    fn without_a_limit_there_is_always_another_share() {
        let budget = Arc::new(Budget::new(None));
        let _shares = [budget.give(1 << 40).unwrap(), budget.give(1 << 40).unwrap()];
    }
}
