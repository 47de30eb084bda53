//! Judges are tested beside their code; here is what needs processes.

#![expect(clippy::disallowed_methods, reason = "tests start programs and tasks, and end them")]

mod processes;
mod simulation;
