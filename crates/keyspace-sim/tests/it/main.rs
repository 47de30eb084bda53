//! Judges are tested beside their code; here is what needs processes.

mod processes;
mod simulation;
