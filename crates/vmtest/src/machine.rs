//! The emulator's command line, from what a guest shall have.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{
    accelerator::{Accelerator, tsc_khz},
    agent,
    image::{Image, ROOT_SERIAL},
    switch::Plug,
};

/// The program.
pub const PROGRAM: &str = "qemu-system-x86_64";
/// What the guest has on the management network, which leads to the harness only.
const MANAGEMENT_ADDRESS: &str = "10.0.2.15/24";

/// A disk beside the one that the guest boots from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// `/dev/disk/by-id/virtio-SERIAL`; at most 20 characters.
    pub serial: String,
    /// Size in MiB of a new, empty disk.
    #[serde(default)]
    pub mib: Option<u64>,
    /// An existing raw disk instead, which is only read.
    #[serde(default)]
    pub path: Option<PathBuf>,
}

/// A guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Host name; also the name of its files.
    pub name: String,
    /// What it boots from.
    pub image: Image,
    /// Memory in MiB.
    #[serde(default = "memory_default")]
    pub memory_mib: u64,
    /// Processors.
    #[serde(default = "one")]
    pub cpus: u32,
    /// More disks.
    #[serde(default)]
    pub disks: Vec<Disk>,
    /// `ADDRESS/BITS` on the network between guests; without it there is none.
    #[serde(default)]
    pub address: Option<String>,
    /// Ports of the guest that the harness's host reaches.
    #[serde(default)]
    pub forwards: Vec<u16>,
}

fn memory_default() -> u64 {
    256
}

fn one() -> u32 {
    1
}

/// A file that the guest sees as a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// Its serial.
    pub serial: String,
    /// The raw disk.
    pub path: PathBuf,
    /// Whether the guest may not write.
    pub readonly: bool,
}

/// What was made on the host for one guest.
#[derive(Clone, Debug)]
pub struct Resources {
    /// Number of the guest, unique in the laboratory: part of its hardware addresses.
    pub number: u8,
    /// Disks, the one with serial `root` first.
    pub disks: Vec<Attached>,
    /// Its port of the switch.
    pub plug: Option<Plug>,
    /// Port of the host's loopback, and of the guest.
    pub forwards: Vec<(u16, u16)>,
    /// Socket of the agent's serial port.
    pub agent: PathBuf,
    /// Control socket.
    pub qmp: PathBuf,
}

/// Hardware addresses of a guest: on the network between guests, and on the management network.
#[must_use]
pub fn hardware_addresses(number: u8) -> [String; 2] {
    [format!("52:54:00:4d:00:{number:02x}"), format!("52:54:00:4d:01:{number:02x}")]
}

/// The kernel line.
#[must_use]
pub fn kernel_line(spec: &Spec, number: u8, accelerator: Accelerator) -> String {
    let [cluster, management] = hardware_addresses(number);
    let mut words = vec![
        "console=ttyS0".to_owned(),
        "panic=0".into(),
        "net.ifnames=0".into(),
        "loglevel=5".into(),
        format!("systemd.hostname={}", spec.name),
        format!("systemd.machine_id={number:032x}"),
    ];
    if accelerator == Accelerator::Tcg {
        // The kernel's own measurement is wrong by a factor when the emulator is interrupted during it.
        words.extend(tsc_khz().map(|khz| format!("tsc_early_khz={khz}")));
        words.extend(["tsc=reliable", "mitigations=off", "no_timer_check"].map(String::from));
    }
    words.extend(spec.address.as_ref().map(|address| format!("vmtest.net={cluster},{address}")));
    words.push(format!("vmtest.net={management},{MANAGEMENT_ADDRESS}"));
    words.push(spec.image.append.clone());
    words.retain(|word| !word.is_empty());
    words.join(" ")
}

/// The emulator's arguments.
#[must_use]
pub fn arguments(spec: &Spec, resources: &Resources, accelerator: Accelerator) -> Vec<String> {
    let [cluster, management] = hardware_addresses(resources.number);
    let path = |path: &PathBuf| escape(&path.to_string_lossy());
    let mut list: Vec<String> = Vec::new();
    let mut add = |name: &str, value: String| list.extend([format!("-{name}"), value]);
    add("name", spec.name.clone());
    add("machine", "q35,smm=off,vmport=off".into());
    match accelerator {
        Accelerator::Kvm => {
            add("accel", "kvm".into());
            add("cpu", "host".into());
        }
        Accelerator::Tcg => {
            add("accel", "tcg,thread=multi,tb-size=256".into());
            // Five-level page tables and AVX cost emulation much and give nothing.
            add("cpu", "max,la57=off,avx=off,avx2=off".into());
        }
    }
    add("smp", spec.cpus.to_string());
    add("m", spec.memory_mib.to_string());
    for (name, value) in [("display", "none"), ("vga", "none"), ("serial", "stdio"), ("rtc", "base=utc")] {
        add(name, value.into());
    }
    add("smbios", format!("type=1,serial={}", spec.name));
    add("qmp", format!("unix:{},server=on,wait=off", path(&resources.qmp)));
    add("chardev", format!("socket,id=agent,path={},server=on,wait=off", path(&resources.agent)));
    add("device", "virtio-serial-pci".into());
    add("device", format!("virtserialport,chardev=agent,name={}", agent::PORT));
    add("device", "virtio-rng-pci".into());
    for (number, disk) in resources.disks.iter().enumerate() {
        let mode = if disk.readonly { "readonly=on" } else { "discard=unmap" };
        add("drive", format!("if=none,id=disk{number},format=raw,file={},{mode}", path(&disk.path)));
        add("device", format!("virtio-blk-pci,drive=disk{number},serial={}", disk.serial));
    }
    if let Some(plug) = &resources.plug {
        let sockets = [("local", &plug.local), ("remote", &plug.remote)];
        let sockets = sockets.map(|(end, file)| format!("{end}.type=unix,{end}.path={}", path(file))).join(",");
        add("netdev", format!("dgram,id=cluster,{sockets}"));
        add("device", format!("virtio-net-pci,id=cluster-card,netdev=cluster,mac={cluster},romfile="));
    }
    let forwards = resources.forwards.iter().map(|(host, guest)| format!(",hostfwd=tcp:127.0.0.1:{host}-:{guest}"));
    add("netdev", format!("user,id=management,restrict=on{}", forwards.collect::<String>()));
    add("device", format!("virtio-net-pci,netdev=management,mac={management},romfile="));
    add("kernel", spec.image.kernel.display().to_string());
    add("initrd", spec.image.initrd.display().to_string());
    add("append", kernel_line(spec, resources.number, accelerator));
    list.extend(["-nodefaults", "-no-user-config"].map(String::from));
    list
}

/// A comma in a value is written twice.
fn escape(value: &str) -> String {
    value.replace(',', ",,")
}

/// The disk that a guest boots from, copied for it at `path`.
#[must_use]
pub fn root_disk(path: PathBuf) -> Attached {
    Attached { serial: ROOT_SERIAL.to_owned(), path, readonly: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> Spec {
        serde_json::from_str(
            r#"{"name": "node01", "image": {"kernel": "/k", "initrd": "/i", "append": "quiet"},
                "address": "10.77.0.11/24", "forwards": [6443]}"#,
        )
        .unwrap()
    }

    fn resources() -> Resources {
        Resources {
            number: 10,
            disks: vec![root_disk("/a,b".into())],
            plug: Some(Plug { local: "/l".into(), remote: "/r".into() }),
            forwards: vec![(7000, 6443)],
            agent: "/agent".into(),
            qmp: "/qmp".into(),
        }
    }

    #[test]
    fn a_guest_becomes_arguments() {
        let list = arguments(&spec(), &resources(), Accelerator::Tcg);
        let has = |name: &str, value: &str| list.windows(2).any(|pair| pair[0] == name && pair[1] == value);
        assert!(has("-drive", "if=none,id=disk0,format=raw,file=/a,,b,discard=unmap"), "{list:?}");
        assert!(has("-device", "virtio-blk-pci,drive=disk0,serial=root"));
        assert!(has("-netdev", "user,id=management,restrict=on,hostfwd=tcp:127.0.0.1:7000-:6443"));
        assert!(has("-netdev", "dgram,id=cluster,local.type=unix,local.path=/l,remote.type=unix,remote.path=/r"));
        assert!(has("-accel", "tcg,thread=multi,tb-size=256") && has("-m", "256"));
    }

    #[test]
    fn the_kernel_is_told_addresses_and_under_emulation_its_clock() {
        let line = kernel_line(&spec(), 10, Accelerator::Tcg);
        assert!(line.contains("vmtest.net=52:54:00:4d:00:0a,10.77.0.11/24"), "{line}");
        assert!(line.contains("vmtest.net=52:54:00:4d:01:0a,10.0.2.15/24") && line.ends_with(" quiet"));
        assert!(line.contains("tsc_early_khz=") && line.contains("systemd.hostname=node01"));
        assert!(!kernel_line(&spec(), 10, Accelerator::Kvm).contains("tsc"));
    }

    #[test]
    fn unknown_words_in_a_description_are_refused() {
        let text = r#"{"name": "a", "image": {"kernel": "/k", "initrd": "/i"}, "memory": 1}"#;
        assert!(serde_json::from_str::<Spec>(text).unwrap_err().to_string().contains("memory"));
    }
}
