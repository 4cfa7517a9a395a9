//! What the machine must offer before a lab is started, and what to tell its owner where it does not.
//!
//! In: sysctls and installed programs. Out: every [`Obstacle`] at once. Nothing is changed.

use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
};

/// Something that keeps a lab from starting, and its remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// The setting or program, and its state.
    pub what: String,
    /// What its owner can do.
    pub remedy: String,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (remedy: {})", self.what, self.remedy)
    }
}

/// Checks this machine for the calling user.
pub fn preflight() -> Vec<Obstacle> {
    Facts::read().obstacles()
}

/// Finds a system program in `PATH` or where Debian and others keep what only administrators run.
pub(crate) fn find_tool(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
}

/// The kinds of namespaces that a lab is made of, as the kernel's limits spell them (`namespaces(7)`).
const KINDS: [&str; 6] = ["user", "pid", "mnt", "net", "uts", "ipc"];
/// `setns(2)` takes a pidfd from 5.8 on.
const KERNEL_MIN: (u32, u32) = (5, 8);

/// What the checks look at.
#[derive(Clone, Debug, Default)]
struct Facts {
    root: bool,
    /// Major and minor number; `None` if it cannot be told, which is no obstacle.
    kernel: Option<(u32, u32)>,
    /// `user.max_KIND_namespaces` for each of [`KINDS`]; `None` without kernel support.
    namespaces_max: [Option<u64>; KINDS.len()],
    unprivileged_userns_clone: Option<u64>,
    apparmor_restrict_unprivileged_userns: Option<u64>,
    /// Whether an `AppArmor` profile applies to us, which may then allow what the restriction forbids.
    confined: bool,
    missing_tools: Vec<&'static str>,
}

impl Facts {
    fn read() -> Self {
        let sysctl = |name: &str| fs::read_to_string(Path::new("/proc/sys").join(name)).ok()?.trim().parse().ok();
        let profile = fs::read_to_string("/proc/self/attr/apparmor/current").unwrap_or_default();
        Self {
            root: rustix::process::geteuid().is_root(),
            kernel: kernel_version(&rustix::system::uname().release().to_string_lossy()),
            namespaces_max: KINDS.map(|kind| sysctl(&format!("user/max_{kind}_namespaces"))),
            unprivileged_userns_clone: sysctl("kernel/unprivileged_userns_clone"),
            apparmor_restrict_unprivileged_userns: sysctl("kernel/apparmor_restrict_unprivileged_userns"),
            confined: !matches!(profile.trim(), "" | "unconfined"),
            missing_tools: ["nft", "ip"].into_iter().filter(|name| find_tool(name).is_none()).collect(),
        }
    }

    fn obstacles(&self) -> Vec<Obstacle> {
        let mut found = Vec::new();
        let mut add = |what: String, remedy: &str| found.push(Obstacle { what, remedy: remedy.into() });
        if self.kernel.is_some_and(|version| version < KERNEL_MIN) {
            add("the kernel is too old".into(), "use Linux 5.8 or newer");
        }
        for (kind, limit) in KINDS.iter().zip(self.namespaces_max) {
            let setting = format!("user.max_{kind}_namespaces");
            match limit {
                Some(0) => add(format!("{setting} is 0"), &format!("sudo sysctl -w {setting}=15000")),
                None => add(format!("the kernel has no {kind} namespaces"), "use a kernel with CONFIG_NAMESPACES"),
                Some(_) => {}
            }
        }
        if !self.root && self.unprivileged_userns_clone == Some(0) {
            add("kernel.unprivileged_userns_clone is 0".into(), "sudo sysctl -w kernel.unprivileged_userns_clone=1");
        }
        if !self.root && !self.confined && self.apparmor_restrict_unprivileged_userns == Some(1) {
            add(
                "kernel.apparmor_restrict_unprivileged_userns is 1".into(),
                "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile with `userns,` for \
                 this program",
            );
        }
        if !self.missing_tools.is_empty() {
            add(format!("not installed: {}", self.missing_tools.join(", ")), "sudo apt-get install nftables iproute2");
        }
        found
    }
}

/// From `6.1.0-18-amd64`.
fn kernel_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests;
