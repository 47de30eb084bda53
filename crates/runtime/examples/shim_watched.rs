//! A shim that lists the descriptors of each process on its way into a container, to that process's own output, when
//! it is about to enter the working directory. Only tests use it.

fn main() -> std::io::Result<()> {
    let mut args = std::env::args_os().skip(1);
    match args.next() {
        Some(verb) if verb == "shim" => runtime::shim::main_watched(args, list_descriptors),
        _ => Err(std::io::Error::other("usage: shim_watched shim DIRECTORY")),
    }
}

fn list_descriptors() {
    let own = std::path::Path::new("/proc/self/fd");
    // The directory that is being listed is one of them, and closed by the time its link is read.
    let numbers: Vec<_> = std::fs::read_dir(own).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    for path in numbers {
        if let (Some(number), Ok(target)) = (path.file_name(), std::fs::read_link(&path)) {
            println!("descriptor {} {}", number.display(), target.display());
        }
    }
}
