use machineauth_core::policy::PathFault;
use pingora_http::RequestHeader;

/// The path that an upstream will see, of a target in origin or absolute form (RFC 9112 §3.2).
///
/// # Errors
/// [`PathFault`] for a target of which Pingora shows something else than it sends.
pub(crate) fn path_of(request: &RequestHeader) -> Result<&str, PathFault> {
    let target = request.raw_path();
    if !request.raw_path_is_utf8() {
        return Err(PathFault::NotUtf8);
    }
    if !target.starts_with(b"/") && !is_absolute(target) {
        return Err(PathFault::NotAbsolute);
    }
    Ok(request.uri.path())
}

fn is_absolute(target: &[u8]) -> bool {
    [&b"http://"[..], b"https://"].iter().any(|scheme| {
        let start = target.get(..scheme.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    })
}
