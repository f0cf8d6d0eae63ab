//! MCP over HTTP: one JSON-RPC message in, one out. No session, no stream.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use machineauth_tower::VerifiedAgent;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::tools::{Failure, Tools};

const PROTOCOL_VERSION: &str = "2025-06-18";
const METHOD_NOT_FOUND: i32 = -32601;
const INVALID_PARAMS: i32 = -32602;

/// What every message is answered from.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) tools: Tools,
    /// Where the metadata is, for those whose token does not suffice.
    pub(crate) metadata: Arc<str>,
}

/// A request; without `id`, a notification.
#[derive(Deserialize)]
pub(crate) struct Message {
    id: Option<Value>,
    method: String,
    #[serde(default)]
    params: Value,
}

/// `POST /mcp`
pub(crate) async fn handle(
    agent: VerifiedAgent,
    State(server): State<Server>,
    Json(message): Json<Message>,
) -> Response {
    let Some(id) = message.id else {
        return StatusCode::ACCEPTED.into_response();
    };
    let answer = match message.method.as_str() {
        "initialize" => Ok(json!({
            "protocolVersion": PROTOCOL_VERSION,
            "capabilities": { "tools": {} },
            "serverInfo": { "name": "notes", "version": env!("CARGO_PKG_VERSION") },
        })),
        "ping" => Ok(json!({})),
        "tools/list" => Ok(json!({ "tools": server.tools.descriptions() })),
        "tools/call" => {
            let name = message.params["name"].as_str().unwrap_or_default();
            let arguments = &message.params["arguments"];
            match server.tools.call(name, arguments, agent.scopes()) {
                Ok(text) => Ok(json!({ "content": [{ "type": "text", "text": text }] })),
                Err(Failure::Invalid(why)) => Err((INVALID_PARAMS, why)),
                // An answer of HTTP instead of the protocol: clients read in it which token to get next.
                Err(Failure::Refused(refusal)) => {
                    let challenge = refusal.challenge().resource_metadata(&server.metadata);
                    return challenge.to_response();
                }
            }
        }
        _ => Err((METHOD_NOT_FOUND, "there is no such method")),
    };
    Json(match answer {
        Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
        Err((code, message)) => {
            json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } })
        }
    })
    .into_response()
}
