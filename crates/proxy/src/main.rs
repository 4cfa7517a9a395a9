//! `mizzen-proxy`: see the library.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    // Before anything is allocated: a page of 2 MiB that holds one connection's buffers is a page of 2 MiB resident.
    mizzen_net::limits::without_huge_pages();
    mizzen_net::limits::all_descriptors();
    mizzen_proxy::run()
}
