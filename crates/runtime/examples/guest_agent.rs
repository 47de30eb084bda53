//! The first process of the guest in which the tests of containers run again: vmtest's agent, built with these tests.

use vmtest::agent::{init, serve};

fn main() {
    if std::env::args().nth(1).as_deref() == Some("serve")
        && let Err(error) = serve::serve()
    {
        eprintln!("agent: the port broke: {error}");
        std::process::exit(1);
    }
    let Err((what, error)) = init::boot();
    // The harness looks for these words on the serial console.
    eprintln!("vmtest-agent: cannot boot: {what}: {error}");
    std::process::exit(1);
}
