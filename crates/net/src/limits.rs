//! What the kernel grants this process: pages and descriptors.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Asks for ordinary pages from here on (`PR_SET_THP_DISABLE`, prctl(2)). An allocator that asks for transparent huge pages
/// makes a mostly idle process several times as large; a kernel without them has nothing to switch off.
pub fn without_huge_pages() {
    rustix::thread::disable_transparent_huge_pages(true).ok();
}

/// Raises the soft limit of open descriptors to the hard one (setrlimit(2)): a proxied connection needs two. Whoever started
/// us set the hard limit; the soft one is for programs that use `select`.
pub fn all_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).ok();
}
