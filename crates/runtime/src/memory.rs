//! What the C library's allocator keeps for itself.
//!
//! Without these two, a server that was busy keeps the most it ever needed: glibc gives each thread
//! an arena of its own (up to eight per processor, mallopt(3)), and memory that was freed between
//! what is still used goes back to the kernel only when asked for (malloc_trim(3)). Other C libraries
//! do not behave so; there both do nothing.

/// Arenas that threads share. A server that waits most of the time needs no more.
#[cfg(target_env = "gnu")]
const ARENAS: libc::c_int = 2;

/// Limits the number of arenas; call it before there are threads.
pub fn limit_arenas() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt(3) takes two integers. A value it does not take changes nothing.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, ARENAS);
    }
}

/// Gives pages that hold nothing back to the kernel. Takes well under a millisecond per ten megabytes
/// of heap, during which other threads may wait to allocate.
pub fn give_back_unused() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) takes an integer and touches free memory only, under the allocator's locks.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(all(test, target_env = "gnu"))]
mod tests {
    use super::*;

    /// Resident memory of this process in pages (proc_pid_statm(5)).
    fn resident() -> Result<usize, Box<dyn std::error::Error>> {
        let text = std::fs::read_to_string("/proc/self/statm")?;
        Ok(text.split(' ').nth(1).ok_or("no second field")?.parse()?)
    }

    #[test]
    fn holes_in_the_heap_are_given_back() -> Result<(), Box<dyn std::error::Error>> {
        limit_arenas();
        // Small enough not to be mapped one by one; every hundredth stays, so that the heap cannot shrink.
        let blocks: Vec<Vec<u8>> = (0..20_000).map(|_| vec![1; 4000]).collect();
        let kept: Vec<Vec<u8>> =
            blocks.into_iter().enumerate().filter(|(index, _)| index % 100 == 0).map(|(_, block)| block).collect();
        let before = resident()?;
        give_back_unused();
        let after = resident()?;
        assert!(after + 10_000 < before, "of {before} pages {after} are left, for {} blocks", kept.len());
        Ok(())
    }
}
