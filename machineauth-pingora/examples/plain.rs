//! What `bench/edge` measures the edge against: Pingora with one worker and the usual time limits, which sends every request
//! on and looks at nothing. `plain 127.0.0.1:8000 127.0.0.1:3000` listens on the first address, before the server on the second.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use mimalloc::MiMalloc;
use pingora_core::server::Server;
use pingora_core::server::configuration::ServerConf;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_error::Result;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};

/// The edge's own, which says nothing about either.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const TIMEOUT: Duration = Duration::from_secs(60);

struct Plain {
    upstream: SocketAddr,
}

#[async_trait]
impl ProxyHttp for Plain {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        let mut peer = HttpPeer::new(self.upstream, false, String::new());
        // No proxy is in service without them, and they cost something.
        peer.options.connection_timeout = Some(TIMEOUT);
        peer.options.read_timeout = Some(TIMEOUT);
        peer.options.write_timeout = Some(TIMEOUT);
        Ok(Box::new(peer))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(listen), Some(upstream)) = (arguments.next(), arguments.next()) else {
        return Err("say where to listen, and where the upstream is".into());
    };
    let plain = Plain {
        upstream: upstream.parse()?,
    };
    let conf = ServerConf {
        threads: 1,
        // It ends when it is told to.
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(0),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, plain);
    service.add_tcp(&listen);
    server.add_service(service);
    server.run_forever();
}
