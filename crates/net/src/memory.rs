//! How the kernel backs this process' memory.

/// Asks for ordinary pages from here on (`PR_SET_THP_DISABLE`, prctl(2)). An allocator that asks for transparent huge pages
/// makes a mostly idle process several times as large; a kernel without them has nothing to switch off.
pub fn without_huge_pages() {
    rustix::thread::disable_transparent_huge_pages(true).ok();
}
