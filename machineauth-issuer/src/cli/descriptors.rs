//! How many connections fit into the number of files that the system lets this process open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors kept for the store, the log, and whatever else is open beside connections.
const RESERVE: u64 = 128;

/// Makes room for `wanted` connections as far as the system allows, and says how many there is room for.
pub(super) fn make_room(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let needed = u64::try_from(wanted)
        .unwrap_or(u64::MAX)
        .saturating_add(RESERVE);
    let current = limit.current.unwrap_or(u64::MAX);
    if current >= needed {
        return wanted;
    }
    // A process may raise its own limit up to one that only the system's administrator moves.
    let raised = needed.min(limit.maximum.unwrap_or(u64::MAX)).max(current);
    let is_raised = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(raised),
            maximum: limit.maximum,
        },
    );
    let open = if is_raised.is_ok() { raised } else { current };
    let fitting = usize::try_from(open.saturating_sub(RESERVE))
        .unwrap_or(usize::MAX)
        .clamp(1, wanted);
    if fitting < wanted {
        tracing::warn!(
            wanted,
            fitting,
            "this process may open too few files for MAX_CONNECTIONS; raise its limit (ulimit -n, LimitNOFILE)"
        );
    }
    fitting
}
