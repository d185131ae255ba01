use super::{Error, Result};

/// Fills a buffer from the kernel's random number generator.
pub fn fill_random(buffer: &mut [u8]) -> Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        let rest = &mut buffer[filled..];
        // SAFETY: the pointer and the length are those of a live buffer that is ours alone.
        let n = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        match n {
            0.. => filled += n as usize,
            _ => match Error::last("getrandom") {
                // Only a host that has just booted, and whose generator is not ready, waits here.
                error if error.errno() == libc::EINTR => {}
                error => return Err(error),
            },
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_buffers_are_filled_to_the_end_and_differ() {
        let mut buffers = [[0u8; 1000]; 2];
        for buffer in &mut buffers {
            fill_random(buffer).unwrap();
            assert!(buffer[990..].iter().any(|byte| *byte != 0));
        }
        assert_ne!(buffers[0], buffers[1]);
    }
}
