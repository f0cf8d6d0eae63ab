//! From a configuration to a running server.

use std::net::TcpListener;
use std::num::NonZero;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use machineauth_core::SystemClock;
use pingora_core::apps::HttpServerOptions;
use pingora_core::apps::http_app::HttpServer;
use pingora_core::connectors::ConnectorOptions;
use pingora_core::connectors::http::Connector;
use pingora_core::server::configuration::{Opt, ServerConf};
use pingora_core::server::{RunArgs, Server};
use pingora_core::services::background::background_service;
use pingora_core::services::listening::Service;
use pingora_proxy::ProxyServiceBuilder;
use prometheus_client::registry::Registry;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::access_log::AccessLog;
use super::admin::Admin;
use super::config::{ServerToml, Source};
use super::metrics::Metrics;
use super::proxy::EdgeProxy;
use super::reload::{Fixed, Keeper};
use super::request_id::RequestIds;
use super::snapshot::{Snapshot, Surroundings};
use super::watch::Watch;
use crate::background::Home;

/// How long an idle connection of HTTP/2 is kept.
const HTTP2_IDLE: Duration = Duration::from_secs(300);
/// Pingora's own messages are about its inside, and its debug messages show header fields: never below this.
const PINGORA: [&str; 4] = [
    "pingora_core=warn",
    "pingora_proxy=warn",
    "pingora_pool=warn",
    "pingora_http=warn",
];

/// Everything that is made before anything runs.
pub(crate) struct Assembled {
    pub(crate) source: Source,
    pub(crate) fixed: Fixed,
    pub(crate) snapshot: Snapshot,
    pub(crate) around: Surroundings,
    registry: Registry,
}

impl Assembled {
    /// # Errors
    /// What is wrong with the configuration, in a sentence.
    pub(crate) fn from_file(path: &Path) -> Result<Self, String> {
        // One cryptographic library is enough; Pingora would choose another one.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let (source, mut toml) = Source::read(path).map_err(|error| error.to_string())?;
        let mut registry = Registry::default();
        let around = Surroundings {
            home: Home::default(),
            clock: Arc::new(SystemClock),
            metrics: Metrics::new(&mut registry),
        };
        let fixed = Fixed::take(&source, &mut toml).map_err(|error| error.to_string())?;
        let snapshot = Snapshot::build(&source, toml, &around, None);
        Ok(Self {
            snapshot: snapshot.map_err(|error| error.to_string())?,
            source,
            fixed,
            around,
            registry,
        })
    }
}

/// Runs the edge until it is told to stop.
///
/// # Errors
/// Why it cannot start, in a sentence.
pub(crate) fn run(path: &Path, upgrade: bool) -> Result<(), String> {
    let assembled = Assembled::from_file(path)?;
    start_log(&assembled.fixed.server.log)?;
    let conf = server_conf(&assembled.source, &assembled.fixed.server, upgrade)?;
    if !upgrade {
        check_addresses(&assembled.fixed)?;
    }
    let opt = Opt {
        upgrade,
        ..Opt::default()
    };
    let mut server = Server::new_with_opt_and_conf(opt, conf);
    server.bootstrap();
    add_services(&mut server, assembled, path)?;
    server.run(RunArgs::default());
    Ok(())
}

fn add_services(server: &mut Server, assembled: Assembled, path: &Path) -> Result<(), String> {
    let Assembled {
        source,
        fixed,
        snapshot,
        around,
        registry,
    } = assembled;
    let clock = Arc::clone(&around.clock);
    let metrics = around.metrics.clone();
    let current = Arc::new(ArcSwap::from_pointee(snapshot));
    let (access_log, lines) = AccessLog::new(&metrics);
    let access_log = fixed.server.access_log.then_some(access_log);
    lines.write();
    let proxy = EdgeProxy {
        current: Arc::clone(&current),
        clock: Arc::clone(&clock),
        metrics: metrics.clone(),
        access_log: access_log.clone(),
        ids: RequestIds::new(),
        connector: Connector::new(Some(ConnectorOptions::from_server_conf(
            &server.configuration,
        ))),
    };
    let service = proxy_service(server, proxy, &fixed)?;
    let admin = fixed.admin.as_ref().map(|admin| {
        let app = Admin {
            registry,
            metrics,
            current: Arc::clone(&current),
            clock,
        };
        admin_service(app, &admin.address.0.to_string())
    });
    let keeper = Keeper {
        path: path.to_owned(),
        around,
        current,
        fixed,
        access_log,
        watch: Mutex::new(Watch::over(source.contents())),
    };
    let keeper = server.add_service(background_service("edge", keeper));
    server.add_service(service).add_dependency(&keeper);
    if let Some(admin) = admin {
        server.add_service(admin);
    }
    Ok(())
}

fn proxy_service(
    server: &Server,
    proxy: EdgeProxy,
    fixed: &Fixed,
) -> Result<Service<pingora_proxy::HttpProxy<EdgeProxy>>, String> {
    let mut options = HttpServerOptions::default();
    options.h2c = fixed.server.h2c;
    options.h2_idle_timeout = Some(HTTP2_IDLE);
    // It is refused all the same, with an answer of our own.
    options.allow_connect_method_proxying = true;
    let mut service = ProxyServiceBuilder::new(&server.configuration, proxy)
        .name("edge")
        .server_options(options)
        .build();
    for (listener, tls) in fixed.listeners.iter().zip(&fixed.tls) {
        let address = listener.address.0.to_string();
        match tls {
            None => service.add_tcp(&address),
            Some(tls) => {
                let settings = tls.settings().map_err(|error| error.to_string())?;
                service.add_tls_with_settings(&address, None, settings);
            }
        }
    }
    Ok(service)
}

fn admin_service(admin: Admin, address: &str) -> Service<HttpServer<Admin>> {
    let mut service = Service::new("admin".to_owned(), HttpServer::new_app(admin));
    service.threads = Some(1);
    service.add_tcp(address);
    service
}

fn server_conf(source: &Source, toml: &ServerToml, upgrade: bool) -> Result<ServerConf, String> {
    let processors = || std::thread::available_parallelism().map_or(1, NonZero::get);
    let mut conf = ServerConf {
        threads: toml.threads.map_or_else(processors, NonZero::get),
        grace_period_seconds: Some(toml.grace_period.0.as_secs().max(1)),
        graceful_shutdown_timeout_seconds: Some(1),
        upstream_keepalive_pool_size: toml.upstream_connections.get(),
        ..ServerConf::default()
    };
    match &toml.upgrade_socket {
        Some(socket) => {
            let path = source.path_of(socket).into_os_string().into_string();
            conf.upgrade_sock = path.map_err(|_| "the path of `upgrade_socket` is not UTF-8")?;
        }
        None if upgrade => {
            return Err(
                "an upgrade needs `upgrade_socket` in `[server]`, the same as the old process has"
                    .to_owned(),
            );
        }
        // Pingora's own default is a place where everybody may write.
        None => conf.upgrade_sock.clear(),
    }
    Ok(conf)
}

/// Pingora would find out in a thread of its own, and go on without the listener.
fn check_addresses(fixed: &Fixed) -> Result<(), String> {
    let listeners = fixed.listeners.iter().map(|listener| listener.address.0);
    let admin = fixed.admin.iter().map(|admin| admin.address.0);
    // All at once: an address that stands there twice is taken the second time.
    let all = listeners.chain(admin).map(|address| {
        TcpListener::bind(address).map_err(|error| format!("cannot listen on {address}: {error}"))
    });
    all.collect::<Result<Vec<_>, _>>().map(drop)
}

fn start_log(directives: &str) -> Result<(), String> {
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .parse(directives)
        .map_err(|error| format!("`log` in `[server]`: {error}"))?;
    let filter = PINGORA.iter().fold(filter, |filter, directive| {
        filter.add_directive(directive.parse().expect("it is a directive"))
    });
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    Ok(())
}
