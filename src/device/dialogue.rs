/// A talk with a guest on its console: what it is told, and what it says until it has said enough.
///
/// All that comes from the guest is bounded: no more is kept than was asked for.
#[derive(Debug)]
pub struct Dialogue {
    input: Vec<u8>,
    given: usize,
    until: Vec<u8>,
    output: Vec<u8>,
    output_max: usize,
    found: bool,
}

/// Whether the guest has said what somebody waits for, or as much as may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Not yet.
    More,
    /// It has.
    Enough,
}

impl Heard {
    pub(super) fn or(self, other: Heard) -> Heard {
        if self == Heard::Enough { self } else { other }
    }
}

impl Dialogue {
    /// The guest is told `input`; it has said enough with `until`, or with `output_max` bytes.
    pub fn new(input: Vec<u8>, until: Vec<u8>, output_max: usize) -> Self {
        Dialogue { input, given: 0, until, output: Vec::new(), output_max, found: false }
    }

    /// Whether what was waited for has come.
    pub fn is_found(&self) -> bool {
        self.found
    }

    /// Whether no more may come.
    pub fn is_full(&self) -> bool {
        self.output.len() >= self.output_max
    }

    /// How much the guest has said.
    pub fn len(&self) -> usize {
        self.output.len()
    }

    /// What it has said from a byte on.
    pub fn from(&self, at: usize) -> &[u8] {
        self.output.get(at..).unwrap_or_default()
    }

    /// All that it has said.
    pub fn into_output(self) -> Vec<u8> {
        self.output
    }

    pub(super) fn next_input(&self, room: usize) -> &[u8] {
        let rest = &self.input[self.given..];
        &rest[..rest.len().min(room)]
    }

    pub(super) fn took(&mut self, bytes: usize) {
        self.given += bytes;
    }

    pub(super) fn hear(&mut self, byte: u8) -> Heard {
        // The guest decides how much this is, so a failure must not abort the process.
        if self.output.try_reserve(1).is_err() {
            self.output_max = self.output.len();
        }
        if self.found || self.is_full() {
            return Heard::Enough;
        }
        self.output.push(byte);
        // Before all of it has been read, what matches is an echo of it.
        let told = self.given == self.input.len();
        self.found = told && !self.until.is_empty() && self.output.ends_with(&self.until);
        if self.found || self.is_full() { Heard::Enough } else { Heard::More }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(dialogue: &mut Dialogue, text: &str) -> Heard {
        text.bytes().fold(Heard::More, |heard, byte| heard.or(dialogue.hear(byte)))
    }

    #[test]
    fn the_marker_ends_it_and_nothing_behind_it_is_kept() {
        let mut dialogue = Dialogue::new(Vec::new(), b"DONE\n".to_vec(), 100);
        assert_eq!(say(&mut dialogue, "reply\nDONE"), Heard::More);
        assert_eq!(say(&mut dialogue, "\nmore"), Heard::Enough);
        assert!(dialogue.is_found());
        assert_eq!(dialogue.into_output(), b"reply\nDONE\n");
    }

    #[test]
    fn no_more_is_kept_than_was_asked_for() {
        let mut dialogue = Dialogue::new(Vec::new(), b"DONE".to_vec(), 4);
        assert_eq!(say(&mut dialogue, "abcdefDONE"), Heard::Enough);
        assert!(dialogue.is_full() && !dialogue.is_found());
        assert_eq!(dialogue.into_output(), b"abcd");
    }

    #[test]
    fn a_marker_in_the_echo_of_the_input_does_not_count() {
        let mut dialogue = Dialogue::new(b"DONE".to_vec(), b"DONE".to_vec(), 100);
        assert_eq!(dialogue.next_input(3), b"DON");
        dialogue.took(3);
        assert_eq!(say(&mut dialogue, "DONE"), Heard::More);
        dialogue.took(1);
        assert_eq!(say(&mut dialogue, "DONE"), Heard::Enough);
    }
}
