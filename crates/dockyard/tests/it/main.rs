//! Tests of the crate from outside, by what the files in `testdata/` hold.

mod labels;
mod recipes;
mod resolving;
