//! Who an image's program runs as: names looked up in the image's own files.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rooted::{Links, UserIds};

/// Largest `/etc/passwd` or `/etc/group` read.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// Most supplementary groups (the kernel's NGROUPS_MAX is 65536).
const GROUPS_MAX: usize = 1024;

/// Resolves `user[:group]` (names or numbers) against the layers of an image, lowest first. Empty
/// is root. Supplementary groups come from `/etc/group`, unless a group is given.
pub(crate) fn resolve(user: &str, layers: &[PathBuf]) -> Result<UserIds, String> {
    let read = |name: &str| read(layers, name).map_err(|error| format!("/etc/{name} cannot be read: {error}"));
    select(user, || read("passwd"), || read("group"))
}

fn select(
    user: &str,
    passwd: impl FnOnce() -> Result<String, String>,
    group: impl FnOnce() -> Result<String, String>,
) -> Result<UserIds, String> {
    let (user, wanted_group) = match user.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (user, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let passwd = passwd()?;
    let by_number: Option<u32> = user.parse().ok();
    let entry = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| match by_number {
        Some(number) => fields.get(2).and_then(|field| field.parse().ok()) == Some(number),
        None => fields.first() == Some(&user),
    });
    let number = |index: usize| entry.as_ref().and_then(|fields| fields.get(index)?.parse::<u32>().ok());
    let uid = by_number.or_else(|| number(2)).ok_or("it is not in the image's /etc/passwd")?;
    let name = entry.as_ref().and_then(|fields| fields.first().copied());
    let groups = group()?;
    let groups = groups.lines().map(|line| line.split(':').collect::<Vec<_>>());
    if let Some(wanted) = wanted_group {
        let found = wanted.parse().ok().or_else(|| {
            groups.clone().find(|fields| fields.first() == Some(&wanted)).and_then(|fields| fields.get(2)?.parse().ok())
        });
        let gid = found.ok_or_else(|| format!("group {wanted:?} is not in the image's /etc/group"))?;
        return Ok(UserIds { uid, gid, groups: Vec::new() });
    }
    let gid = number(3).unwrap_or(0);
    let member = |fields: &Vec<&str>| {
        let members = fields.get(3).copied().unwrap_or_default();
        name.is_some_and(|name| members.split(',').any(|member| member == name))
    };
    let supplementary = groups.filter(member).filter_map(|fields| fields.get(2)?.parse().ok());
    let mut list: Vec<u32> = supplementary.filter(|other| *other != gid).take(GROUPS_MAX).collect();
    list.sort_unstable();
    list.dedup();
    Ok(UserIds { uid, gid, groups: list })
}

/// A file of `/etc` as the stacked layers show it; empty when there is none.
fn read(layers: &[PathBuf], name: &str) -> io::Result<String> {
    for layer in layers.iter().rev() {
        let etc = layer.join("etc");
        match std::fs::symlink_metadata(&etc) {
            Ok(meta) if meta.is_dir() => {}
            // Removed by this layer.
            Ok(meta) if is_whiteout(&meta) => break,
            Ok(_) => return Err(io::Error::other("/etc is a link; name the user by number")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        }
        match std::fs::symlink_metadata(etc.join(name)) {
            Ok(meta) if is_whiteout(&meta) => break,
            Ok(_) => return read_file(layer, name),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        if xattr::get(&etc, "trusted.overlay.opaque")?.as_deref() == Some(b"y") {
            break;
        }
    }
    Ok(String::new())
}

fn is_whiteout(meta: &std::fs::Metadata) -> bool {
    meta.file_type().is_char_device() && meta.rdev() == 0
}

fn read_file(layer: &Path, name: &str) -> io::Result<String> {
    let root = std::fs::File::open(layer)?;
    match rooted::read_regular(&root, &Path::new("etc").join(name), Links::StayBeneath, FILE_BYTES_MAX) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EXDEV | libc::ELOOP | libc::ENOENT)) => {
            Err(io::Error::other("it is a link out of its layer; name the user by number"))
        }
        read => read,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\nmysql:x:105:106::/var/lib/mysql:/bin/false\n7:x:1007:1007:::\n";
    const GROUP: &str = "root:x:0:\nmysql:x:106:\nssl-cert:x:110:mysql,www\nadm:x:4:mysql\nmysql2:x:106:mysql\n";

    fn ids(user: &str) -> Result<(u32, u32, Vec<u32>), String> {
        let ids = select(user, || Ok(PASSWD.to_owned()), || Ok(GROUP.to_owned()))?;
        Ok((ids.uid, ids.gid, ids.groups))
    }

    #[test]
    fn names_numbers_and_groups() {
        assert_eq!(ids(""), Ok((0, 0, vec![])));
        assert_eq!(ids("mysql"), Ok((105, 106, vec![4, 110])));
        assert_eq!(ids("105"), Ok((105, 106, vec![4, 110])), "a known number has its name's groups");
        assert_eq!(ids("4242"), Ok((4242, 0, vec![])), "an unknown number is itself");
        assert_eq!(ids("7"), Ok((7, 0, vec![])), "digits are a number, never a name");
        assert_eq!(ids("mysql:adm"), Ok((105, 4, vec![])));
        assert_eq!(ids("mysql:12"), Ok((105, 12, vec![])));
        assert!(ids("nobody").is_err());
        assert!(ids("mysql:nogroup").is_err_and(|problem| problem.contains("nogroup")));
    }

    #[test]
    fn the_highest_layer_counts_and_whiteouts_hide() -> io::Result<()> {
        let root = tempfile::tempdir()?;
        let layers: Vec<PathBuf> = ["a", "b"].iter().map(|name| root.path().join(name)).collect();
        std::fs::create_dir_all(layers[0].join("etc"))?;
        std::fs::create_dir_all(layers[1].join("etc"))?;
        std::fs::write(layers[0].join("etc/passwd"), "app:x:1:1:::\n")?;
        assert_eq!(resolve("app", &layers).map(|ids| ids.uid), Ok(1));
        std::fs::write(layers[1].join("etc/passwd"), "app:x:2:2:::\n")?;
        assert_eq!(resolve("app", &layers).map(|ids| ids.uid), Ok(2));
        std::fs::remove_file(layers[1].join("etc/passwd"))?;
        xattr::set(layers[1].join("etc"), "trusted.overlay.opaque", b"y")?;
        assert!(resolve("app", &layers).is_err());
        std::os::unix::fs::symlink("/etc/passwd", layers[1].join("etc/passwd"))?;
        assert!(resolve("root", &layers).is_err_and(|problem| problem.contains("link")), "the host's file is not read");
        Ok(())
    }
}
