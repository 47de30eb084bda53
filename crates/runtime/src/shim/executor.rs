//! The end of libcontainer's init: from a process in the container to the program.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::CString;
use std::os::fd::{BorrowedFd, RawFd};
use std::rc::Rc;

use libcontainer::oci_spec::runtime::Spec;
use libcontainer::workload::{Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError};

use super::confine;
use crate::container::UserIds;
use crate::seccomp::Filter;

/// Executes the container's first program. Holds what must not be in any file.
#[derive(Clone)]
pub(super) struct Program(Rc<Inner>);

struct Inner {
    argv: Vec<CString>,
    env: Vec<(String, String)>,
    user: UserIds,
    filter: Option<Filter>,
    /// Whether no capability may be left.
    powerless: bool,
    /// Where a failure after the start is told.
    failures: RawFd,
    ready: RefCell<Option<(CString, Vec<CString>)>>,
}

impl Program {
    pub(super) fn new(
        argv: &[String],
        env: Vec<(String, String)>,
        user: UserIds,
        filter: Option<Filter>,
        powerless: bool,
        failures: RawFd,
    ) -> std::io::Result<Self> {
        let argv = argv.iter().map(|argument| confine::c_string(argument)).collect::<Result<_, _>>()?;
        Ok(Self(Rc::new(Inner { argv, env, user, filter, powerless, failures, ready: RefCell::new(None) })))
    }

    fn prepare(&self) -> Result<(), String> {
        let home = confine::home_of(self.0.user.uid).unwrap_or_else(|| "/".to_owned());
        let env = confine::environment(&self.0.env, Some(&home)).map_err(|error| error.to_string())?;
        let name = self.0.argv.first().and_then(|name| name.to_str().ok()).ok_or("no program given")?;
        let path = confine::find_program(name, &env)?;
        self.0.ready.replace(Some((path, env)));
        Ok(())
    }

    fn execute(&self) -> Result<(), String> {
        let (path, env) = self.0.ready.take().ok_or("the program was not looked up")?;
        let told = |step: &'static str| move |error: std::io::Error| format!("{step}: {error}");
        confine::reset_signals().map_err(told("reset signals"))?;
        if self.0.powerless {
            confine::require_powerless().map_err(told("drop capabilities"))?;
        }
        confine::lock_down(self.0.filter.as_ref()).map_err(told("install the system call filter"))?;
        let error = confine::execute(&path, &self.0.argv, &env);
        Err(format!("execute {path:?}: {error}"))
    }
}

impl Executor for Program {
    fn exec(&self, _: &Spec) -> Result<(), ExecutorError> {
        self.execute().map_err(|problem| {
            // SAFETY: this process has inherited the descriptor and nothing here closes it.
            let failures = unsafe { BorrowedFd::borrow_raw(self.0.failures) };
            // If even this fails, the shim sees the exit code.
            let _ = nix::unistd::write(failures, problem.as_bytes());
            ExecutorError::Other(problem)
        })
    }

    /// Runs in the container as its user, before the start: what is wrong here fails the creation.
    fn validate(&self, _: &Spec) -> Result<(), ExecutorValidationError> {
        self.prepare().map_err(ExecutorValidationError::ArgValidationError)
    }

    /// The environment goes to execve(2) directly, not through this process'.
    fn setup_envs(&self, _: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        Ok(())
    }
}
