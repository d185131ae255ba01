//! Ways to run Python without a virtual machine.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use crate::measure::way::{ANSWER, About, Life, PROGRAM, Result, Session, Way, Worker, check};

const ZYGOTE: About = About {
    id: "zygote",
    name: "fork(2) of a warm Python",
    spawn: None,
    first_result: "from the write of the request to a pipe to the output read from another",
    teardown: Some("until the interpreter says that its child is gone"),
    mapping: None,
};

const COLD: About = About {
    id: "cold",
    name: "python3 -c",
    spawn: None,
    first_result: "from before fork and exec to the end of the output",
    teardown: Some("until the process is waited for"),
    mapping: None,
};

const IN_PROCESS: About = About {
    id: "in-process",
    name: "exec in a warm Python, no isolation",
    spawn: None,
    first_result: "compile and exec by the interpreter's own clock, no pipe",
    teardown: None,
    mapping: None,
};

/// An interpreter on the host.
#[derive(Clone)]
pub struct Interpreter {
    path: PathBuf,
}

impl Interpreter {
    /// The distribution's, which is what guests have, or the first in PATH. A wrapper script would
    /// be measured with it, so it is asked where it really is.
    pub fn find() -> Result<Self> {
        let usual = Path::new("/usr/bin/python3");
        let name = if usual.exists() { usual } else { Path::new("python3") };
        let said = Command::new(name)
            .args(["-c", "import sys; print(sys.executable)"])
            .output()
            .map_err(|e| format!("{}: {e}", name.display()))?;
        Ok(Interpreter { path: PathBuf::from(String::from_utf8(said.stdout)?.trim()) })
    }

    /// Its version and where it is.
    pub fn describe(&self) -> Result<String> {
        let said = Command::new(&self.path).arg("--version").output()?;
        Ok(format!("{}, {}", String::from_utf8(said.stdout)?.trim(), self.path.display()))
    }

    /// The ways that it makes possible.
    pub fn ways(&self) -> Vec<Box<dyn Way>> {
        vec![
            Box::new(Served { about: ZYGOTE, interpreter: self.clone(), mode: "fork" }),
            Box::new(Cold(self.clone())),
            Box::new(Served { about: IN_PROCESS, interpreter: self.clone(), mode: "exec" }),
        ]
    }
}

/// `python3 -c`.
struct Cold(Interpreter);

impl Way for Cold {
    fn about(&self) -> &About {
        &COLD
    }

    fn open(&self) -> Result<Box<dyn Session + '_>> {
        Ok(Box::new(self))
    }
}

impl Session for &Cold {
    fn worker(&self) -> Result<Box<dyn Worker + '_>> {
        Ok(Box::new(&self.0))
    }
}

impl Worker for &Interpreter {
    fn life(&mut self) -> Result<Life> {
        let mut command = Command::new(&self.path);
        command.args(["-c", PROGRAM]).stdin(Stdio::null()).stdout(Stdio::piped());
        let started = Instant::now();
        let mut child = command.spawn()?;
        let mut answer = String::new();
        child.stdout.take().ok_or("no standard output")?.read_to_string(&mut answer)?;
        let answered = Instant::now();
        let status = child.wait()?;
        let gone = Instant::now();
        check(&answer, ANSWER)?;
        if !status.success() {
            return Err(format!("{}: {status}", self.path.display()).into());
        }
        Ok(Life { spawn: None, first_result: answered - started, teardown: Some(gone - answered) })
    }
}

/// A warm interpreter behind two pipes.
struct Served {
    about: About,
    interpreter: Interpreter,
    mode: &'static str,
}

impl Way for Served {
    fn about(&self) -> &About {
        &self.about
    }

    fn open(&self) -> Result<Box<dyn Session + '_>> {
        Ok(Box::new(self))
    }
}

impl Session for &Served {
    fn worker(&self) -> Result<Box<dyn Worker + '_>> {
        let mut child = Command::new(&self.interpreter.path)
            .args(["-c", include_str!("server.py"), self.mode])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        Ok(Box::new(Server {
            requests: child.stdin.take(),
            answers: child.stdout.take().ok_or("no standard output")?,
            child,
            forks: self.mode == "fork",
        }))
    }
}

struct Server {
    child: Child,
    requests: Option<ChildStdin>,
    answers: ChildStdout,
    forks: bool,
}

impl Worker for Server {
    fn life(&mut self) -> Result<Life> {
        let started = Instant::now();
        let mut request = (PROGRAM.len() as u32).to_le_bytes().to_vec();
        request.extend(PROGRAM.as_bytes());
        self.requests.as_mut().ok_or("no standard input")?.write_all(&request)?;
        let mut head = [0; 12];
        self.answers.read_exact(&mut head)?;
        let [a, b, c, d, inside @ ..] = head;
        let mut printed = vec![0; u32::from_le_bytes([a, b, c, d]) as usize];
        self.answers.read_exact(&mut printed)?;
        let answered = Instant::now();
        check(&String::from_utf8(printed)?, ANSWER)?;
        if !self.forks {
            let first_result = Duration::from_nanos(u64::from_le_bytes(inside));
            return Ok(Life { spawn: None, first_result, teardown: None });
        }
        self.answers.read_exact(&mut [0; 4])?;
        let teardown = Some(answered.elapsed());
        Ok(Life { spawn: None, first_result: answered - started, teardown })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // At the end of its input it ends.
        self.requests = None;
        let _ = self.child.wait();
    }
}
