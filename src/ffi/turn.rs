//! One call at a time.

use std::sync::{Mutex, PoisonError, TryLockError};

/// Why there was no turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Somebody else has it.
    Busy,
    /// A panic ended an earlier turn, so the object is in no state to be relied on.
    Broken,
    /// The object is gone.
    Closed,
}

/// An object that one caller at a time may use. Nobody waits but [`Turn::close`].
#[derive(Debug)]
pub struct Turn<T>(Mutex<Option<T>>);

impl<T> Turn<T> {
    pub fn new(object: T) -> Self {
        Turn(Mutex::new(Some(object)))
    }

    /// Uses the object, unless somebody else does.
    pub fn take<R>(&self, body: impl FnOnce(&mut T) -> R) -> Result<R, Refused> {
        let mut slot = self.0.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => Refused::Busy,
            TryLockError::Poisoned(_) => Refused::Broken,
        })?;
        slot.as_mut().map(body).ok_or(Refused::Closed)
    }

    /// Whether a panic ended a turn.
    pub fn is_broken(&self) -> bool {
        self.0.is_poisoned()
    }

    /// Drops the object, after the turn that somebody has.
    pub fn close(&self) {
        let object = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(object);
    }

    /// Drops the object if nobody has a turn; says whether that was so.
    pub fn try_close(&self) -> bool {
        let object = match self.0.try_lock() {
            Ok(mut slot) => slot.take(),
            Err(TryLockError::Poisoned(slot)) => slot.into_inner().take(),
            Err(TryLockError::WouldBlock) => return false,
        };
        drop(object);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::{Arc, mpsc};
    use std::thread;
    use std::time::Duration;

    #[test]
    fn a_turn_inside_a_turn_is_refused() {
        let turn = Turn::new(1);
        let inner = turn.take(|_| turn.take(|n| *n)).unwrap();
        assert_eq!(inner, Err(Refused::Busy));
        assert_eq!(turn.take(|_| turn.try_close()), Ok(false));
        assert_eq!(turn.take(|n| *n), Ok(1));
    }

    #[test]
    fn a_panic_in_a_turn_is_the_last_of_the_object() {
        let turn = Turn::new(1);
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _ = turn.take(|_| std::panic::resume_unwind(Box::new("silent")));
        }));
        assert!(panicked.is_err() && turn.is_broken());
        assert_eq!(turn.take(|n| *n), Err(Refused::Broken));
        turn.close();
    }

    #[test]
    fn closing_waits_for_the_turn_and_drops_the_object() {
        let object = Arc::new(());
        let turn = Arc::new(Turn::new(Arc::clone(&object)));
        let (inside, is_inside) = mpsc::channel();
        let user = thread::spawn({
            let turn = Arc::clone(&turn);
            move || {
                turn.take(|_| {
                    inside.send(()).unwrap();
                    thread::sleep(Duration::from_millis(50));
                    Arc::new(())
                })
            }
        });
        is_inside.recv().unwrap();
        turn.close();
        assert_eq!(Arc::strong_count(&object), 1);
        assert_eq!(turn.take(|_| ()), Err(Refused::Closed));
        assert!(user.join().unwrap().is_ok());
    }
}
