//! Taking over the objects of a document.
//!
//! Every object is read and judged first, against the store and against the objects before it; only then is anything
//! written, each object whole or not at all. A dry run stops in between and so says the same.

mod convert;
mod judge;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use super::document::Document;
use super::report::{Kind, LeftOut, ObjectReport, Outcome, Report};
use crate::app::App;
use crate::domain::agent::Agent;
use crate::domain::agents::AgentError;
use crate::domain::api_keys::{ApiKeyError, BroughtApiKey};
use crate::domain::event::By;
use crate::domain::id::OrganizationId;
use crate::domain::organization::Organization;
use crate::domain::organizations::{self, OrganizationError};
use crate::domain::teams::{Team, TeamError};
use crate::domain::usage::Usage;
use crate::domain::webhooks::{BroughtWebhook, WebhookError};
use crate::store::StoreError;
use judge::Judge;

/// How many objects are written at the same time: they share disk syncs and round trips.
const WRITTEN_AT_ONCE: usize = 64;

/// An object that will be here, and where the report speaks of it.
#[derive(Debug)]
struct Accepted {
    line: usize,
    object: Object,
}

#[derive(Debug)]
enum Object {
    Organization(Organization),
    Team(Team),
    Agent(Box<(Agent, Usage)>),
    ApiKey(OrganizationId, BroughtApiKey),
    Webhook(Box<BroughtWebhook>),
}

/// Imports the document, or with `dry_run` says what that would do.
///
/// # Errors
/// The store's failure. What was imported until then stays, and another run goes on. Objects that cannot be imported are
/// in the report instead.
pub async fn import(app: &App, document: Document, dry_run: bool) -> Result<Report, StoreError> {
    let mut judge = Judge::new(app);
    judge.organizations(&document.organizations).await?;
    judge.teams(&document.teams).await?;
    judge.agents(&document.agents).await?;
    judge.api_keys(&document.api_keys).await?;
    judge.webhooks(&document.webhooks).await?;
    let (mut objects, accepted) = judge.finish();
    if !dry_run {
        write_all(app, accepted, &mut objects).await?;
    }
    let left_out = document.others.into_iter().map(|(what, count)| LeftOut {
        reason: why_left_out(&what),
        what,
        count,
    });
    Ok(Report {
        dry_run,
        objects,
        left_out: left_out.collect(),
    })
}

/// Writes the accepted objects, those of a kind beside each other and after those that they may belong to.
async fn write_all(
    app: &App,
    mut accepted: Vec<Accepted>,
    objects: &mut [ObjectReport],
) -> Result<(), StoreError> {
    for kind in Kind::ALL {
        let of_others = accepted
            .split_off(accepted.partition_point(|accepted| objects[accepted.line].kind == kind));
        let writes = accepted
            .into_iter()
            .map(|Accepted { line, object }| async move {
                write(app, object).await.map(|written| (line, written))
            });
        let mut written = stream::iter(writes).buffer_unordered(WRITTEN_AT_ONCE);
        while let Some((line, written)) = written.try_next().await? {
            if let Err(reason) = written {
                objects[line].outcome = Outcome::Refused { reason };
            }
        }
        accepted = of_others;
    }
    Ok(())
}

/// Writes an accepted object. What can still go wrong is what others do to the store at the same time: the inner error
/// says what.
async fn write(app: &App, object: Object) -> Result<Result<(), String>, StoreError> {
    let written = match object {
        Object::Organization(organization) => {
            match app.organizations.import(organization, &By::CLI).await {
                Ok(_) => Ok(()),
                Err(OrganizationError::Store(error)) => return Err(error),
                Err(error) => Err(error.to_string()),
            }
        }
        Object::Team(team) => {
            let Some(organization) = organizations::read(&*app.store, team.organization_id).await?
            else {
                return Ok(Err(TeamError::NoSuchOrganization.to_string()));
            };
            match app.teams.import(&organization, team, &By::CLI).await {
                Ok(_) => Ok(()),
                Err(TeamError::Store(error)) => return Err(error),
                Err(error) => Err(error.to_string()),
            }
        }
        Object::Agent(agent) => {
            let (agent, usage) = &*agent;
            match app.agents.import(agent, usage, &By::CLI).await {
                Ok(()) => Ok(()),
                Err(AgentError::Store(error)) => return Err(error),
                Err(error) => Err(error.to_string()),
            }
        }
        Object::ApiKey(organization, key) => {
            let Some(organization) = organizations::read(&*app.store, organization).await? else {
                return Ok(Err("there is no such organization".to_owned()));
            };
            match app.api_keys.import(&organization, key, &By::CLI).await {
                Ok(()) => Ok(()),
                Err(ApiKeyError::Store(error)) => return Err(error),
                Err(error) => Err(error.to_string()),
            }
        }
        Object::Webhook(webhook) => match app.webhooks.import(*webhook, &By::CLI).await {
            Ok(()) => Ok(()),
            Err(WebhookError::Store(error)) => return Err(error),
            Err(error) => Err(error.to_string()),
        },
    };
    Ok(written)
}

fn why_left_out(what: &str) -> &'static str {
    match what {
        "webhook_deliveries" => "the history of webhooks stays with the other server",
        "refresh_tokens" => "clients get new ones with their next token",
        "revoked_tokens" => "no token of the other server is good here anyway",
        "audit_logs" => "the trail of this server begins with it: keep the file",
        "admin_users" => {
            "ADMIN_EMAIL and ADMIN_PASSWORD say who administers, or `admin reset-password`"
        }
        "org_members" => "this server has one administrator, and API keys for organizations",
        "org_signing_keys" => {
            "an organization that issues under its own name gets new keys; one can be imported as a key"
        }
        "metrics" => "counters of the whole server begin anew; those of agents are kept",
        _ => "nothing here knows what this is",
    }
}
