//! What is in the docks, in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use chrono::{DateTime, SecondsFormat};
use machineauth_core::{Clock as _, SystemClock};
use machineauth_tower::VerifiedAgent;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::upload::Upload;

const LARGEST_PAGE: usize = 100;
const USUAL_PAGE: usize = 20;

/// An artifact, as the API shows it.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Artifact {
    id: String,
    filename: String,
    content_type: String,
    /// In bytes.
    size: usize,
    hash: String,
    storage_key: String,
    metadata: Map<String, Value>,
    created_at: String,
    updated_at: String,
}

/// What is in which dock: whatever a path names, nobody sees another organization's.
#[derive(Clone, Default)]
pub(crate) struct Docks(Arc<Mutex<HashMap<Dock, Vec<Artifact>>>>);

#[derive(PartialEq, Eq, Hash)]
struct Dock {
    owner: String,
    id: String,
}

/// Which part of a list is wanted.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Page {
    page: usize,
    page_size: usize,
}

impl Default for Page {
    fn default() -> Self {
        Self {
            page: 1,
            page_size: USUAL_PAGE,
        }
    }
}

/// A part of a list.
#[derive(Serialize)]
pub(crate) struct Listed {
    data: Vec<Artifact>,
    meta: Meta,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    total: usize,
    page: usize,
    page_size: usize,
}

/// `GET /v1/machine/docks/{dockId}/artifacts`
pub(crate) async fn list(
    agent: VerifiedAgent,
    State(docks): State<Docks>,
    Path(dock): Path<String>,
    Query(wanted): Query<Page>,
) -> Json<Listed> {
    let (page, page_size) = (wanted.page.max(1), wanted.page_size.clamp(1, LARGEST_PAGE));
    let docks = docks.0.lock().unwrap_or_else(PoisonError::into_inner);
    let artifacts = docks
        .get(&Dock::of(&agent, dock))
        .map_or(&[][..], Vec::as_slice);
    let skipped = (page - 1).saturating_mul(page_size);
    Json(Listed {
        data: artifacts
            .iter()
            .skip(skipped)
            .take(page_size)
            .cloned()
            .collect(),
        meta: Meta {
            total: artifacts.len(),
            page,
            page_size,
        },
    })
}

/// `POST /v1/machine/docks/{dockId}/artifacts`
pub(crate) async fn create(
    agent: VerifiedAgent,
    State(docks): State<Docks>,
    Path(dock): Path<String>,
    upload: Upload,
) -> (StatusCode, Json<Artifact>) {
    let artifact = Artifact::of(upload, &dock);
    tracing::info!(agent.id = agent.id(), dock, artifact.id, "artifact created");
    let mut docks = docks.0.lock().unwrap_or_else(PoisonError::into_inner);
    let artifacts = docks.entry(Dock::of(&agent, dock)).or_default();
    artifacts.push(artifact.clone());
    (StatusCode::CREATED, Json(artifact))
}

impl Dock {
    /// Who belongs to no organization has docks of its own.
    fn of(agent: &VerifiedAgent, id: String) -> Self {
        let owner = agent.organization_id().unwrap_or(agent.id()).to_owned();
        Self { owner, id }
    }
}

impl Artifact {
    fn of(upload: Upload, dock: &str) -> Self {
        let id = format!("art_{}", Uuid::new_v4().simple());
        let now = now();
        Self {
            storage_key: format!("docks/{dock}/artifacts/{id}"),
            id,
            content_type: upload
                .content_type
                .unwrap_or_else(|| content_type_of(&upload.filename).to_owned()),
            size: upload.content.len(),
            hash: sha256(&upload.content),
            filename: upload.filename,
            metadata: upload.metadata,
            created_at: now.clone(),
            updated_at: now,
        }
    }
}

fn now() -> String {
    let millis = i64::try_from(SystemClock.now().as_millis()).unwrap_or(i64::MAX);
    DateTime::from_timestamp_millis(millis)
        .unwrap_or_default()
        .to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn sha256(content: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA256, content);
    let hex = hash.as_ref().iter().map(|byte| format!("{byte:02x}"));
    format!("sha256:{}", hex.collect::<String>())
}

/// By the name's ending, for uploads that do not say it.
fn content_type_of(filename: &str) -> &'static str {
    let ending = filename.rsplit_once('.').map(|(_, ending)| ending);
    match ending.map(str::to_ascii_lowercase).as_deref() {
        Some("pdf") => "application/pdf",
        Some("json") => "application/json",
        Some("txt") => "text/plain",
        Some("png") => "image/png",
        _ => "application/octet-stream",
    }
}
