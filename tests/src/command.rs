//! The commands of the real binary.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// A binary, with nothing in its environment but what is set here.
#[derive(Debug, Clone)]
pub struct Commands {
    program: PathBuf,
    variables: BTreeMap<String, String>,
}

/// What a command did.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code.
    pub code: i32,
    /// What it wrote to its standard output.
    pub stdout: String,
    /// What it wrote to its standard error.
    pub stderr: String,
}

impl Commands {
    /// The commands of `program` for the server at `base`.
    pub fn new(program: &str, base: &str) -> Self {
        Self::here(program).with("MACHINEAUTH_URL", base)
    }

    /// The commands of `program`, which is not told where the server is.
    pub fn here(program: &str) -> Self {
        Self {
            program: program.into(),
            variables: BTreeMap::new(),
        }
    }

    /// The same with a variable.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut with = self.clone();
        with.variables.insert(name.to_owned(), value.to_owned());
        with
    }

    /// Runs the command that `line` says, with its words between spaces, and nothing on its standard input.
    pub async fn run(&self, line: &str) -> Ran {
        self.piped(line, "").await
    }

    /// Runs the command that `line` says, which must succeed and have nothing to complain about, and says what it printed.
    ///
    /// # Panics
    /// When it does not.
    pub async fn done(&self, line: &str) -> String {
        self.run(line).await.done()
    }

    /// Runs the command that `line` says with `--json`, which must succeed, and reads what it printed.
    ///
    /// # Panics
    /// When it does not, or prints no JSON.
    pub async fn json(&self, line: &str) -> Value {
        let text = self.done(&format!("{line} --json")).await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{line}: {error} in {text:?}"))
    }

    /// Runs the command that `line` says, with `input` on its standard input.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn piped(&self, line: &str, input: &str) -> Ran {
        let mut command = Command::new(&self.program);
        command.args(line.split_whitespace());
        self.run_with(command, input).await
    }

    /// Runs a script for the shell, in which the binary is called `machineauth-issuer`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn shell(&self, script: &str) -> Ran {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let name = directory.path().join("machineauth-issuer");
        std::os::unix::fs::symlink(&self.program, name).expect("a link can be made");
        let path = format!("{}:/usr/bin:/bin", directory.path().display());
        let mut command = Command::new("/bin/sh");
        command.args(["-e", "-c", script]);
        command.current_dir(directory.path());
        self.with("PATH", &path).run_with(command, "").await
    }

    async fn run_with(&self, mut command: Command, input: &str) -> Ran {
        let mut child = command
            .env_clear()
            .envs(&self.variables)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the program starts");
        let mut stdin = child.stdin.take().expect("the input is piped");
        // A command that needs no input may have ended before it is written.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        let output = child.wait_with_output().await.expect("the program ends");
        let text = |bytes| String::from_utf8(bytes).expect("what is printed is UTF-8");
        Ran {
            code: output.status.code().expect("no signal ends the program"),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// The exit code and the complaints of a command whose output nobody reads.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn unread(&self, line: &str) -> (Option<i32>, String) {
        let mut child = Command::new(&self.program)
            .args(line.split_whitespace())
            .env_clear()
            .envs(&self.variables)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        drop(child.stdout.take());
        let output = child.wait_with_output().await.expect("the program ends");
        let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), complaints)
    }
}

impl Ran {
    /// What it printed, when it succeeded and had nothing to complain about.
    ///
    /// # Panics
    /// When it did not.
    pub fn done(self) -> String {
        assert!(self.code == 0 && self.stderr.is_empty(), "{self:?}");
        self.stdout.trim_end().to_owned()
    }

    /// Checks the exit code of a failure and that it is explained in one line, which it returns.
    ///
    /// # Panics
    /// When it is another one.
    pub fn failed(&self, code: i32) -> &str {
        assert_eq!(self.code, code, "{self:?}");
        let line = self.stderr.trim_end();
        assert!(
            line.starts_with("machineauth-issuer: ") && !line.contains('\n'),
            "{self:?}"
        );
        line
    }
}

/// The lines of the first `sh` block under `heading` in a Markdown file.
///
/// # Panics
/// When there is none.
pub fn lines_of_document(path: &Path, heading: &str) -> String {
    let text = std::fs::read_to_string(path).expect("the document is there");
    let section = text
        .split_once(&format!("\n{heading}\n"))
        .expect("the heading is there")
        .1;
    let block = section
        .split_once("```sh\n")
        .expect("there is a block of commands")
        .1;
    block
        .split_once("```")
        .expect("the block has an end")
        .0
        .to_owned()
}
