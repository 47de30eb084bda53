//! The smallest program that can be a container's shim, for the tests of this crate. The real one is the `nanocloud`
//! binary.

fn main() -> std::io::Result<()> {
    let mut args = std::env::args_os().skip(1);
    match args.next() {
        Some(verb) if verb == "shim" => runtime::shim::main(args),
        _ => Err(std::io::Error::other("usage: shim shim DIRECTORY")),
    }
}
