//! What is decided about a request before a server is sought for it.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Response};
use machineauth_core::Agent;
use machineauth_core::forwarded::client_address;
use pingora_proxy::Session;

use super::answers::Problem;
use super::exchange::Exchange;
use super::limits::{Counted, is_trusted};
use super::proxy::EdgeProxy;
use super::route::Route;
use super::snapshot::Snapshot;
use super::target::{Target, check_fields, check_head};
use crate::respond::declared_length;

/// Answered by the edge itself, unless a route is for just this path.
const HEALTH: &str = "/healthz";

impl EdgeProxy {
    /// Everything that is known before the token is looked at: what the request is for, whether its address has done too
    /// much, and whether the edge answers by itself.
    pub(super) fn admit(
        &self,
        session: &Session,
        exchange: &mut Exchange,
    ) -> Result<Option<Response<Bytes>>, Problem> {
        self.count_address(session, exchange)?;
        let request = session.req_header();
        match session.as_http1() {
            Some(_) => check_head(&session.to_h1_raw())?,
            None => check_fields(&request.headers)?,
        }
        if request.method == Method::CONNECT {
            return Err(Problem::Tunnel);
        }
        let target = Target::of(request)?;
        let snapshot = Arc::clone(&exchange.snapshot);
        exchange.route = snapshot.routes.choose(target).cloned();
        let answer = answer_of_edge(
            &snapshot,
            &request.method,
            target,
            exchange.route.as_deref(),
        );
        if answer.is_some() {
            return Ok(answer);
        }
        let route = exchange.route.clone().ok_or(Problem::NoRoute)?;
        if let Some(client) = exchange.client {
            let counted = route.limits.count_address(client, exchange.began);
            self.keep_count(exchange, &route, counted)?;
        }
        if let Some(preflight) = route.cors.as_ref().and_then(|cors| cors.preflight(request)) {
            return preflight.map(Some);
        }
        if declared_length(&request.headers).is_some_and(|length| length > route.max_body) {
            return Err(Problem::TooLarge);
        }
        Ok(None)
    }

    fn count_address(&self, session: &Session, exchange: &mut Exchange) -> Result<(), Problem> {
        let peer = session.client_addr().and_then(|address| address.as_inet());
        let Some(peer) = peer.map(SocketAddr::ip) else {
            return Ok(());
        };
        let trusted = &exchange.snapshot.trusted_proxies;
        let headers = &session.req_header().headers;
        // Where proxies in front are believed (I7).
        let client = client_address(peer, headers, |address| is_trusted(address, trusted));
        exchange.client = Some(client);
        exchange.proxied = is_trusted(peer, trusted);
        let counted = exchange
            .snapshot
            .limits
            .count_address(client, exchange.began)?;
        exchange.counted.extend(counted);
        Ok(())
    }

    pub(super) fn count_agent(
        &self,
        exchange: &mut Exchange,
        agent: &Agent,
    ) -> Result<(), Problem> {
        let Some(route) = exchange.route.clone() else {
            return Ok(());
        };
        let of_all = &exchange.snapshot.limits;
        let counted = of_all.count_agent(agent, exchange.began)?;
        exchange.counted.extend(counted);
        let counted = route.limits.count_agent(agent, exchange.began);
        self.keep_count(exchange, &route, counted)
    }

    /// A route's dry run counts and refuses nobody. What holds over all routes holds there as well.
    fn keep_count(
        &self,
        exchange: &mut Exchange,
        route: &Route,
        counted: Result<Option<Counted>, Problem>,
    ) -> Result<(), Problem> {
        match counted {
            Err(problem) if route.dry_run => {
                self.metrics
                    .refused(Some(&route.name), problem.code(), false);
                Ok(())
            }
            counted => {
                exchange.counted.extend(counted?);
                Ok(())
            }
        }
    }
}

/// What everybody may ask the edge itself, whatever the routes demand.
pub(super) fn answer_of_edge(
    snapshot: &Snapshot,
    method: &Method,
    target: Target<'_>,
    route: Option<&Route>,
) -> Option<Response<Bytes>> {
    let is_named = route.is_some_and(|route| route.path.as_str() == HEALTH);
    if target.path == HEALTH && is_read(method) && !is_named {
        return Some(Response::new(Bytes::from_static(b"ok\n")));
    }
    let authenticator = snapshot.authenticator.as_ref()?;
    authenticator.document_for(method, target.path)
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}
