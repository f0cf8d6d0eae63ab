//! What a webhook is told: the documented flat object, alone or as the data of a CloudEvent.

use machineauth_core::clock::Timestamp;
use serde_json::{Map, Value, json};

use crate::date::Date;
use crate::domain::event::{Action, Event, Outcome, Target};
use crate::domain::id::EventId;
use crate::domain::webhooks::{Delivery, Format, Status, Webhook};

/// The delivery of `event`, which stands at `position` in its log, to `webhook`. `source` names this server in CloudEvents.
pub fn delivery(webhook: &Webhook, event: &Event, position: String, source: &str) -> Delivery {
    let flat = flat(event, &position);
    let (body, content_type) = match webhook.format {
        Format::Flat => (Value::Object(flat), "application/json"),
        Format::CloudEvents => (
            cloud_event(event, &flat, source),
            "application/cloudevents+json",
        ),
    };
    Delivery {
        id: Delivery::id_of(webhook.id, event.id, event.at),
        webhook_id: webhook.id,
        event: event.action.to_string(),
        body: body.to_string(),
        content_type: content_type.to_owned(),
        position: Some(position),
        status: Status::Pending,
        attempts: 0,
        due_at: Some(event.at),
        last_attempt_at: None,
        last_status_code: None,
        last_error: String::new(),
        created_at: event.at,
    }
}

/// The documented members, and ours. All are there only where there is something to say.
fn flat(event: &Event, position: &str) -> Map<String, Value> {
    let mut flat = event.details.clone();
    let mut say = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            flat.insert(name.to_owned(), value.into());
        }
    };
    say("id", Some(event.id.to_string()));
    say("event", Some(event.action.to_string()));
    say("timestamp", Some(Date(event.at).to_string()));
    say("position", Some(position.to_owned()));
    say("outcome", Some(event.outcome.as_str().to_owned()));
    say("reason", event.reason.as_ref().map(ToString::to_string));
    say(
        "organization_id",
        event.organization_id.map(|id| id.to_string()),
    );
    say("team_id", event.team_id.map(|id| id.to_string()));
    say("agent_id", event.agent_id.map(|id| id.to_string()));
    say("actor_type", Some(event.actor.kind().to_owned()));
    say("actor_id", event.actor.name());
    say(
        "ip_address",
        event.address.map(|address| address.to_string()),
    );
    say(
        "user_agent",
        event.user_agent.as_ref().map(ToString::to_string),
    );
    say("request_id", event.request_id.as_deref().map(str::to_owned));
    if let Some(Target { kind, id, name }) = &event.target {
        say("target_type", Some(kind.to_string()));
        say("target_id", Some(id.clone()));
        say("target_name", name.clone());
        match kind.as_ref() {
            "agent" => say("agent_name", name.clone()),
            "webhook" => say("webhook_id", Some(id.clone())),
            _ => {}
        }
    }
    if matches!(
        Action::find(&event.action),
        Some(Action::TokenValidationSuccess | Action::TokenValidationFailed)
    ) {
        let success = event.outcome == Outcome::Success;
        flat.insert("success".to_owned(), success.into());
    }
    flat
}

/// CloudEvents 1.0.2 §3, in the structured mode of its JSON format.
fn cloud_event(event: &Event, data: &Map<String, Value>, source: &str) -> Value {
    let mut cloud_event = json!({
        "specversion": "1.0",
        "id": event.id.to_string(),
        "source": source,
        "type": event.action,
        "time": Date(event.at).to_string(),
        "datacontenttype": "application/json",
        "data": data,
    });
    if let Some(target) = &event.target {
        cloud_event["subject"] = target.id.clone().into();
    }
    cloud_event
}

/// The body of a test, when whoever asks for it brings none.
pub fn test_body(webhook: &Webhook, event: Action, now: Timestamp) -> String {
    json!({
        "event": event.as_str(),
        "webhook_id": webhook.id.to_string(),
        "timestamp": Date(now).to_string(),
        "test": true,
    })
    .to_string()
}

/// The delivery of a test with this body.
pub fn test(webhook: &Webhook, event: Action, body: String, now: Timestamp) -> Delivery {
    Delivery {
        id: Delivery::id_of(webhook.id, EventId::random(), now),
        webhook_id: webhook.id,
        event: event.as_str().to_owned(),
        body,
        content_type: "application/json".to_owned(),
        position: None,
        status: Status::Pending,
        attempts: 0,
        due_at: None,
        last_attempt_at: None,
        last_status_code: None,
        last_error: String::new(),
        created_at: now,
    }
}
