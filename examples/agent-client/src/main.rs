//! An agent that sends an artifact to the axum-api example every now and then.
//!
//! Its token is fetched when the first request needs one, renewed ahead of time, and replaced when the API refuses it.
//! The secret may lie in a file that is rewritten when the secret is rotated: nobody has to restart the agent.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use machineauth_core::client::{ClientCredentials, ClientSecret, TokenSource};
use reqwest::header::AUTHORIZATION;
use reqwest::{Client, Response, StatusCode};
use serde_json::json;

/// An agent that sends an artifact every now and then.
#[derive(Debug, Parser)]
struct Args {
    /// Who hands out tokens
    #[arg(long, env = "ISSUER", default_value = "http://127.0.0.1:8080")]
    issuer: String,
    /// The agent's name at the issuer
    #[arg(long, env = "CLIENT_ID")]
    client_id: String,
    /// The file that holds its secret; without it, the environment variable CLIENT_SECRET does
    #[arg(long, env = "CLIENT_SECRET_FILE")]
    client_secret_file: Option<PathBuf>,
    /// What tokens must be meant for
    #[arg(long, env = "AUDIENCE", default_value = "machineauth-api")]
    audience: String,
    /// The API
    #[arg(long, env = "API", default_value = "http://127.0.0.1:3000")]
    api: String,
    /// How many artifacts to send
    #[arg(long, default_value_t = 3)]
    count: u32,
    /// Seconds between two artifacts
    #[arg(long, default_value_t = 1)]
    every: u64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    let secret = match args.client_secret_file {
        Some(path) => ClientSecret::in_file(path),
        None => ClientSecret::from_env("CLIENT_SECRET")?,
    };
    let tokens = ClientCredentials::discover(&args.issuer)
        .client(args.client_id, secret)
        .audience(args.audience)
        .scope("write")
        .build()?;
    let client = Client::builder().timeout(Duration::from_secs(10)).build()?;
    let url = format!("{}/artifacts", args.api);
    for number in 1..=args.count {
        let answer = send(&client, &tokens, &url, number).await?;
        println!("{} {}", answer.status(), answer.text().await?);
        tokio::time::sleep(Duration::from_secs(args.every)).await;
    }
    Ok(())
}

/// Sends an artifact, and once more with another token where the first is refused.
async fn send(
    client: &Client,
    tokens: &impl TokenSource,
    url: &str,
    number: u32,
) -> Result<Response, Box<dyn std::error::Error>> {
    let artifact = json!({ "filename": format!("report-{number}.txt") });
    loop {
        let token = tokens.token().await?;
        let request = client.post(url).json(&artifact);
        let request = request.header(AUTHORIZATION, token.authorization().clone());
        let answer = request.send().await?;
        if answer.status() != StatusCode::UNAUTHORIZED || !tokens.refused(&token) {
            return Ok(answer);
        }
    }
}
