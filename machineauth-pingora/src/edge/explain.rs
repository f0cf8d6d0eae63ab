//! What would become of a request, and why.

use std::fmt::Write as _;

use http::Uri;
use http::header::{AUTHORIZATION, HOST};
use machineauth_core::Agent;
use pingora_http::RequestHeader;

use super::admission::answer_of_edge;
use super::issuers;
use super::route::Route;
use super::server::Assembled;
use super::target::Target;

/// What `machineauth-edge explain` prints.
#[derive(Debug)]
pub(crate) struct Explanation {
    pub(crate) text: String,
    pub(crate) allowed: bool,
}

/// # Errors
/// Why there is nothing to explain, in a sentence.
pub(crate) async fn explain(
    assembled: &Assembled,
    method: &str,
    url: &str,
    token: Option<&str>,
) -> Result<Explanation, String> {
    assembled.around.home.settle();
    let request = request(method, url, token)?;
    let mut text = String::new();
    if token.is_some() {
        follow_issuers(assembled, &mut text).await;
    }
    let target = match Target::of(&request) {
        Ok(target) => target,
        Err(problem) => {
            let _ = writeln!(
                text,
                "refused   {} {}",
                problem.status().as_u16(),
                problem.message()
            );
            return Ok(refused(text));
        }
    };
    let snapshot = &assembled.snapshot;
    let route = snapshot.routes.choose(target);
    let own = answer_of_edge(
        snapshot,
        &request.method,
        target,
        route.map(|route| &**route),
    );
    if own.is_some() {
        let _ = writeln!(
            text,
            "allowed   the edge answers by itself: no token is looked at"
        );
        return Ok(Explanation {
            text,
            allowed: true,
        });
    }
    let Some(route) = route else {
        let _ = writeln!(
            text,
            "route     none is for host `{}` and path `{}`",
            target.host, target.path
        );
        let _ = writeln!(text, "refused   404 nothing is served here");
        return Ok(refused(text));
    };
    let (name, upstream) = (&route.name, route.pool.name());
    let _ = writeln!(
        text,
        "route     {name} ({} and below), upstream {upstream}",
        route.path
    );
    judge(route, &request, text).await
}

/// A token that was revoked is none, so that is asked first.
async fn follow_issuers(assembled: &Assembled, text: &mut String) {
    let (issuers, clock) = (&assembled.snapshot.issuers, &assembled.around.clock);
    issuers::start(issuers, assembled.fixed.server.patience.0).await;
    for issuer in issuers {
        if issuer.revocations.is_some() && issuer.staleness(&**clock).is_none() {
            let url = issuer.url();
            let _ = writeln!(
                text,
                "unknown   what {url} has revoked: it cannot be reached"
            );
        }
    }
}

async fn judge(
    route: &Route,
    request: &RequestHeader,
    mut text: String,
) -> Result<Explanation, String> {
    let Some(guard) = route.auth.guard() else {
        let _ = writeln!(text, "allowed   the route is public: no token is looked at");
        return Ok(Explanation {
            text,
            allowed: true,
        });
    };
    let outcome = guard.judge(request, None).await;
    let agent = outcome.agent.as_deref();
    if let Some(agent) = agent {
        describe(agent, &mut text);
    }
    if let Some(policy) = &guard.policy {
        let decision = policy.decide(&request.method, request.uri.path(), agent);
        let _ = writeln!(
            text,
            "rule      {}",
            decision.rule().unwrap_or("none matches")
        );
    }
    let Some(challenge) = outcome.refusal else {
        let _ = writeln!(text, "allowed   every demand is met");
        return Ok(Explanation {
            text,
            allowed: true,
        });
    };
    let (status, code) = (challenge.status().as_u16(), challenge.error_code());
    let _ = writeln!(text, "refused   {status} {code}: {}", challenge.message());
    if !outcome.enforced {
        let _ = writeln!(text, "dry run   the request goes on all the same");
    }
    Ok(Explanation {
        text,
        allowed: !outcome.enforced,
    })
}

fn describe(agent: &Agent, text: &mut String) {
    let claims = agent.claims();
    let _ = writeln!(text, "agent     {} of {}", agent.id(), claims.issuer);
    let _ = writeln!(text, "scopes    {}", agent.scopes());
    let audiences: Vec<_> = claims.audience.iter().collect();
    let _ = writeln!(text, "audience  {}", audiences.join(" "));
    let _ = writeln!(text, "expires   {} (Unix seconds)", claims.expires_at);
}

fn request(method: &str, url: &str, token: Option<&str>) -> Result<RequestHeader, String> {
    let wrong = || {
        format!(
            "`{url}` is no URL; write `https://api.example.com/v1/artifacts` or `/v1/artifacts`"
        )
    };
    let uri: Uri = url.parse().map_err(|_| wrong())?;
    let host = uri
        .authority()
        .map_or("localhost", |authority| authority.as_str());
    let target = uri.path_and_query().ok_or_else(wrong)?.as_str();
    let request = RequestHeader::build(method, target.as_bytes(), None);
    let mut request = request.map_err(|_| format!("`{method}` is no method"))?;
    request.insert_header(HOST, host).map_err(|_| wrong())?;
    if let Some(token) = token {
        request
            .insert_header(AUTHORIZATION, format!("Bearer {token}"))
            .map_err(|_| "the token is none: a header cannot carry it".to_owned())?;
    }
    Ok(request)
}

fn refused(text: String) -> Explanation {
    Explanation {
        text,
        allowed: false,
    }
}
