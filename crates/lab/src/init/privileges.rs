//! What a process may keep (`capabilities(7)`).
//!
//! Two things are at work. A user other than root loses capabilities at exec unless they are *ambient*. Root, mapped to
//! itself, gains every capability back at exec unless they are out of its *bounding set* or `SECBIT_NOROOT` is set. Both
//! are handled the same way here, so that a lab behaves alike under either.

use rustix::{
    io::{Errno, Result},
    thread::{
        CapabilitiesSecureBits as SecureBits, CapabilitySet, CapabilitySets, capabilities,
        clear_ambient_capability_set, configure_capability_in_ambient_set, remove_capability_from_bounding_set,
        set_capabilities, set_capabilities_secure_bits,
    },
};

/// Makes everything that the process may do ambient, so that the programs it executes may do the same.
pub(super) fn keep_over_exec() -> Result<()> {
    let held = capabilities(None)?;
    set_capabilities(None, CapabilitySets { inheritable: held.permitted, ..held })?;
    each(held.permitted).try_for_each(|one| configure_capability_in_ambient_set(one, true))
}

/// Gives up every capability but `kept`, for this process and all that it will ever execute.
pub(super) fn reduce_to(kept: CapabilitySet) -> Result<()> {
    clear_ambient_capability_set()?;
    for one in each(kept.complement()) {
        match remove_capability_from_bounding_set(one) {
            Err(Errno::INVAL) => break, // beyond the last capability that this kernel knows
            result => result?,
        }
    }
    let held = capabilities(None)?;
    set_capabilities(None, CapabilitySets { inheritable: kept, ..held })?;
    each(kept).try_for_each(|one| configure_capability_in_ambient_set(one, true))?;
    // Locked, and last, since setting these needs a capability itself.
    set_capabilities_secure_bits(
        SecureBits::NO_ROOT
            | SecureBits::NO_ROOT_LOCKED
            | SecureBits::NO_SETUID_FIXUP
            | SecureBits::NO_SETUID_FIXUP_LOCKED
            | SecureBits::KEEP_CAPS_LOCKED
            | SecureBits::NO_CAP_AMBIENT_RAISE
            | SecureBits::NO_CAP_AMBIENT_RAISE_LOCKED,
    )?;
    set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable: kept })
}

/// The capabilities in `set`, one by one.
fn each(set: CapabilitySet) -> impl Iterator<Item = CapabilitySet> {
    (0..u64::BITS).map(|bit| CapabilitySet::from_bits_retain(1 << bit)).filter(move |one| set.contains(*one))
}
