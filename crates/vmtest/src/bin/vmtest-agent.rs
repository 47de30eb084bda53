//! Inside the guest: the first process of the initial memory file system, and the agent.

use vmtest::agent::{init, serve};

fn main() {
    if std::env::args().nth(1).as_deref() == Some("serve")
        && let Err(error) = serve::serve()
    {
        eprintln!("vmtest-agent: the port broke: {error}");
        std::process::exit(1);
    }
    let Err((what, error)) = init::boot();
    // The harness looks for these words on the serial console.
    eprintln!("vmtest-agent: cannot boot: {what}: {error}");
    std::process::exit(1);
}
