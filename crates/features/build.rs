//! Makes cargo regard the build-dependencies: the features of what macros and build scripts use.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
}
