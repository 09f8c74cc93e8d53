//! Runs the examples as programs, like a user.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// A built example.
pub struct Program {
    path: PathBuf,
}

/// The outcome of a program.
#[derive(Debug)]
pub struct Outcome {
    /// Its exit code.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Program {
    /// The example `name`, as built by `cargo test --workspace`; built now if it is missing.
    pub fn example(name: &str) -> Self {
        let test = std::env::current_exe().unwrap();
        let folder = test.parent().and_then(Path::parent).unwrap().join("examples");
        let path = folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
        if !path.exists() {
            let built = Command::new(env!("CARGO"))
                .args(["build", "--workspace", "--examples"])
                .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
                .status();
            assert!(built.is_ok_and(|status| status.success()), "cannot build the examples");
        }
        Self { path }
    }

    /// Runs it to its end.
    pub fn run(&self, arguments: &[&str]) -> Outcome {
        let Output { status, stdout, stderr } =
            self.command(arguments).output().expect("the example starts");
        Outcome {
            code: status.code(),
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        }
    }

    /// Starts it without waiting.
    pub fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the example starts")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.path);
        command.args(arguments);
        command
    }
}
