//! `_zeroboot`: the channel to the host for `zeroboot_guest`, the Python that runs programs.

#![forbid(unsafe_code)]

use pyo3::prelude::*;

/// The channel to the host, and the numbers that go over it.
#[pymodule]
mod _zeroboot {
    use pyo3::exceptions::{PyRuntimeError, PyValueError};
    use pyo3::prelude::*;
    use pyo3::types::PyBytes;
    use zeroboot_driver as driver;
    use zeroboot_driver::{Device, Event, Request, Seed, Stage, Stream};

    #[pymodule_export]
    const RUN: u32 = Request::Run as u32;
    #[pymodule_export]
    const SETTLE: u32 = Request::Settle as u32;

    /// Doorbell and mailbox. A method that rings holds the interpreter's lock: while a guest
    /// stands at its doorbell, none of its threads runs anyway.
    #[pyclass(module = "_zeroboot")]
    struct Channel(driver::Channel);

    #[pymethods]
    impl Channel {
        /// Maps the device whose open descriptor PID 1 has handed on. It may be closed afterwards.
        #[new]
        fn new(descriptor: i32) -> PyResult<Self> {
            Ok(Channel(driver::Channel::open(&Device::inherited(descriptor)?)?))
        }

        /// Tells people who wait for the boot that Python has started.
        fn started(&mut self) {
            self.0.stage(Stage::Runtime);
        }

        /// Says that the first request may come, and returns its number.
        fn ready(&mut self) -> PyResult<u32> {
            request(self.0.wait(Event::Ready))
        }

        /// Ends a request, and returns the number of the next.
        fn done(&mut self, exit_code: u8) -> PyResult<u32> {
            request(self.0.done(exit_code))
        }

        /// The host's seed if the machine was forked since the last request, or will be, and
        /// whether it will be.
        fn take_seed<'py>(&mut self, py: Python<'py>) -> Option<(Bound<'py, PyBytes>, bool)> {
            let (why, seed) = self.0.take_seed()?;
            Some((PyBytes::new(py, &seed), why == Seed::Rehearsal))
        }

        /// What came with the request.
        fn payload<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
            PyBytes::new_with(py, self.0.payload_len(), |into| {
                self.0.copy_payload(into);
                Ok(())
            })
        }

        /// Appends output to stream 1 or 2.
        fn write(&mut self, stream: u8, bytes: &[u8]) -> PyResult<()> {
            let stream = match stream {
                1 => Stream::Stdout,
                2 => Stream::Stderr,
                other => return Err(PyValueError::new_err(format!("no output stream {other}"))),
            };
            self.0.write(stream, bytes);
            Ok(())
        }
    }

    /// Puts the kernel's output devices behind file descriptors 1 and 2.
    #[pyfunction]
    fn capture_output() -> PyResult<()> {
        Ok(driver::capture_output()?)
    }

    fn request(result: Result<Request, driver::UnknownRequest>) -> PyResult<u32> {
        result.map(|request| request as u32).map_err(|e| PyRuntimeError::new_err(e.to_string()))
    }
}
