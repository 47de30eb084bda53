//! Memory that a waiting shim does without.

/// Gives back the pages of program code that starting the container needed and waiting does not.
/// They are in the page cache and come back by themselves when used.
pub(super) fn forget_program_pages() {
    let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else { return };
    for line in maps.lines() {
        let mut fields = line.split_whitespace();
        let (Some(range), Some("r-xp")) = (fields.next(), fields.next()) else { continue };
        // Only files: the kernel's own pages (vdso) are not ours to give back.
        if fields.nth(3).is_none_or(|path| !path.starts_with('/')) {
            continue;
        }
        let Some((begin, end)) = range.split_once('-') else { continue };
        let (Ok(begin), Ok(end)) = (usize::from_str_radix(begin, 16), usize::from_str_radix(end, 16)) else { continue };
        // SAFETY: code mapped private, read-only and executable from a file is never changed in
        // memory, so dropping its pages only means reading the same bytes from the file again.
        unsafe { libc::madvise(begin as *mut libc::c_void, end - begin, libc::MADV_DONTNEED) };
    }
}
