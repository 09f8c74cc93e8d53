//! Running the examples as a user does: as programs.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// A built example.
pub struct Program {
    path: PathBuf,
}

/// What a program left behind.
#[derive(Debug)]
pub struct Outcome {
    /// Its exit code.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

impl Program {
    /// The example `name`, as `cargo test --workspace` builds it; built now if it is not there.
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

    /// Starts it and does not wait.
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
