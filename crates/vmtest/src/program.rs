//! Programs of the host.

use std::process::{Command, Stdio};

use crate::error::{Error, Result};

/// Bytes of a failed program's output that the error repeats.
const OUTPUT_BYTES_MAX: usize = 2000;

/// Runs a program to its end and gives its standard output.
///
/// # Errors
/// When it cannot be started or fails.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|source| Error::Spawn { program: program.clone(), source })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said[said.len().saturating_sub(OUTPUT_BYTES_MAX)..]).trim().to_owned();
    Err(Error::Program { program, status: output.status.to_string(), output: said })
}
