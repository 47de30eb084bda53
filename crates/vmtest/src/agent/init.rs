//! The first process of a guest that boots from our initial memory file system.
//!
//! It loads the modules beside it in the order of their names, sets the addresses of the kernel line, and then either
//! stays (`tiny`: it runs the agent and reaps) or mounts the disk with the named serial, leaves the agent there in
//! `/run` as a unit of its own, and hands over to the disk's `/sbin/init`.
//!
//! Kernel line: `vmtest.root=SERIAL` (absent: stay), `vmtest.net=MAC,ADDRESS/BITS` for each interface.

use std::{
    fs, io,
    os::unix::{fs::symlink, process::CommandExt},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{CWD, Mode, OFlags},
    mount::{MountFlags, mount, mount_move},
    process::{WaitOptions, chroot, wait},
    system::finit_module,
};

/// Where the new root is mounted.
const ROOT: &str = "/newroot";
/// How long the disk may take to appear.
const DISK: Duration = Duration::from_secs(60);
/// Between two looks.
const RETRY: Duration = Duration::from_millis(20);

const UNIT: &str = "[Unit]
Description=Runs commands for the test harness
DefaultDependencies=no
Conflicts=shutdown.target
[Service]
ExecStart=/run/vmtest/ld.so --library-path /run/vmtest /run/vmtest/agent serve
Restart=always
OOMScoreAdjust=-1000
KillMode=process
[Install]
WantedBy=multi-user.target
";

/// Boots. Returns only when that is impossible.
///
/// # Errors
/// What was tried, and the system's answer; the kernel panics when it is told so by the exit.
pub fn boot() -> Result<std::convert::Infallible, (String, io::Error)> {
    for (kind, at) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")] {
        step(format!("mount {kind}"), mount_kind(kind, at))?;
    }
    let modules = step("list /modules", names_in("/modules"))?;
    for module in modules {
        step(format!("load {}", module.display()), load(&module))?;
    }
    let line = step("read /proc/cmdline", fs::read_to_string("/proc/cmdline"))?;
    for network in values(&line, "vmtest.net") {
        step(format!("set up {network}"), interface(network))?;
    }
    match values(&line, "vmtest.root").next() {
        Some(serial) => hand_over(serial),
        None => stay(),
    }
}

fn step<T>(what: impl Into<String>, result: io::Result<T>) -> Result<T, (String, io::Error)> {
    result.map_err(|error| (what.into(), error))
}

/// Values of all `name=value` words of the kernel line.
fn values<'a>(line: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    line.split_whitespace()
        .filter_map(move |word| word.split_once('=').filter(|(key, _)| *key == name))
        .map(|(_, value)| value)
}

fn mount_kind(kind: &str, at: &str) -> io::Result<()> {
    fs::create_dir_all(at)?;
    Ok(mount(kind, at, kind, MountFlags::empty(), None)?)
}

fn names_in(folder: &str) -> io::Result<Vec<PathBuf>> {
    let mut names = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

fn load(module: &Path) -> io::Result<()> {
    let file = rustix::fs::openat(CWD, module, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    match finit_module(file, c"", 0) {
        Err(rustix::io::Errno::EXIST) => Ok(()),
        result => Ok(result?),
    }
}

/// `MAC,ADDRESS/BITS`: the interface with that hardware address gets the address and is switched on.
fn interface(network: &str) -> io::Result<()> {
    let (mac, address) = network.split_once(',').ok_or_else(|| io::Error::other("write it as MAC,ADDRESS/BITS"))?;
    let until = Instant::now() + DISK;
    let name = loop {
        let found = names_in("/sys/class/net")?
            .into_iter()
            .find(|path| fs::read_to_string(path.join("address")).is_ok_and(|text| text.trim_end() == mac));
        match found.as_deref().and_then(Path::file_name).and_then(|name| name.to_str()) {
            Some(name) => break name.to_owned(),
            None if Instant::now() > until => return Err(io::Error::other("no interface has this address")),
            None => thread::park_timeout(RETRY),
        }
    };
    for arguments in [["addr", "add", address, "dev", &name], ["link", "set", "dev", &name, "up"]] {
        let status = Command::new("/bin/busybox").arg("ip").args(arguments).status()?;
        if !status.success() {
            return Err(io::Error::other(format!("ip {} failed", arguments.join(" "))));
        }
    }
    Ok(())
}

/// Runs the agent, again when it ends, and waits for every process that lost its parent.
fn stay() -> Result<std::convert::Infallible, (String, io::Error)> {
    let path = "/bin:/sbin:/usr/bin:/usr/sbin";
    loop {
        let agent = Command::new("/init").arg("serve").env("PATH", path).spawn();
        let agent = step("start the agent", agent)?;
        loop {
            match wait(WaitOptions::empty()) {
                Ok(Some((pid, _))) if pid.as_raw_nonzero().get().unsigned_abs() == agent.id() => break,
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(("wait for processes".into(), error.into())),
            }
        }
    }
}

fn hand_over(serial: &str) -> Result<std::convert::Infallible, (String, io::Error)> {
    let disk = step(format!("find the disk {serial}"), find_disk(serial))?;
    step("make the mount point", fs::create_dir_all(ROOT))?;
    let mounted = mount(&disk, ROOT, "ext4", MountFlags::NOATIME, None);
    step(format!("mount {}", disk.display()), mounted.map_err(Into::into))?;
    step("leave the agent in /run", leave_agent())?;
    for at in ["/dev", "/sys", "/proc"] {
        let moved = mount_move(at, format!("{ROOT}{at}"));
        step(format!("move {at}"), moved.map_err(Into::into))?;
    }
    // The memory of what has done its work.
    for old in ["/modules", "/lib", "/lib64", "/bin", "/init"] {
        let path = Path::new(old);
        let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    }
    step("enter the disk", std::env::set_current_dir(ROOT))?;
    step("move the disk to /", mount_move(".", "/").map_err(Into::into))?;
    step("make it the root", chroot(".").map_err(Into::into))?;
    step("enter the root", std::env::set_current_dir("/"))?;
    Err(("start /sbin/init".into(), Command::new("/sbin/init").exec()))
}

fn find_disk(serial: &str) -> io::Result<PathBuf> {
    let until = Instant::now() + DISK;
    loop {
        let found = names_in("/sys/block")?
            .into_iter()
            .find(|path| fs::read_to_string(path.join("serial")).is_ok_and(|text| text.trim_end() == serial));
        match found.as_deref().and_then(Path::file_name) {
            Some(name) => return Ok(Path::new("/dev").join(name)),
            None if Instant::now() > until => return Err(io::Error::other("no disk has this serial")),
            None => thread::park_timeout(RETRY),
        }
    }
}

fn leave_agent() -> io::Result<()> {
    let run = Path::new(ROOT).join("run");
    fs::create_dir_all(&run)?;
    mount("tmpfs", &run, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, Some(c"mode=0755"))?;
    let folder = run.join("vmtest");
    fs::create_dir_all(&folder)?;
    fs::copy("/init", folder.join("agent"))?;
    for library in names_in("/lib/vmtest")? {
        fs::copy(&library, folder.join(library.file_name().unwrap_or_default()))?;
    }
    let units = run.join("systemd/system");
    fs::create_dir_all(units.join("multi-user.target.wants"))?;
    fs::write(units.join("vmtest-agent.service"), UNIT)?;
    symlink("../vmtest-agent.service", units.join("multi-user.target.wants/vmtest-agent.service"))
}

#[cfg(test)]
mod tests {
    use super::values;

    #[test]
    fn words_of_the_kernel_line_are_found_by_their_whole_name() {
        let line = "quiet vmtest.root=disk vmtest.net=a,1/8 xvmtest.net=no vmtest.net=b,2/8\n";
        assert_eq!(values(line, "vmtest.net").collect::<Vec<_>>(), ["a,1/8", "b,2/8"]);
        assert_eq!(values(line, "vmtest.root").next(), Some("disk"));
        assert_eq!(values(line, "root").next(), None);
    }
}
