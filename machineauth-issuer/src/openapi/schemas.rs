//! Texts that have a form of their own, each described once; and what holds for everything that we answer.

use serde_json::json;
use utoipa::openapi::schema::{ArrayItems, SchemaType};
use utoipa::openapi::{Array, KnownFormat, Object, RefOr, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::domain::administrators::{Role, SessionKind};
use crate::domain::agent::{ForeignId, MAX_FOREIGN_ID, MAX_SCOPE, TokenFormat};
use crate::domain::event::Outcome;
use crate::domain::id::{
    AdministratorId, AgentId, ApiKeyId, ClientId, DeliveryId, EventId, OrganizationId, SecretId,
    SessionId, TeamId, WebhookId,
};
use crate::domain::organization::{MAX_SLUG, Plan, Slug};
use crate::domain::webhooks::{Format, TokenEvents};

/// Scopes, as JSON has them.
#[derive(Debug)]
pub struct Scopes;

/// Describes types of the domain, which knows nothing of this.
macro_rules! described {
    ($($name:ident: $meaning:literal, $form:expr;)+) => {
        $(
            impl PartialSchema for $name {
                fn schema() -> RefOr<Schema> {
                    let mut text = Object::with_type(Type::String);
                    text.description = Some($meaning.to_owned());
                    ($form)(&mut text);
                    RefOr::T(text.into())
                }
            }

            impl ToSchema for $name {}
        )+
    };
}

described! {
    AgentId: "Names an agent.", uuid;
    DeliveryId: "Names a delivery, over all of its attempts.", uuid;
    WebhookId: "Names a webhook.", uuid;
    Format: "In which form an event is delivered.", |text| words(text, &["flat", "cloudevents"]);
    TokenEvents: "How a webhook is told of tokens.", |text| words(text, &["each", "aggregate", "off"]);
    AdministratorId: "Names an administrator of the server.", uuid;
    SessionId: "Names a session of an administrator.", uuid;
    Role: "What an administrator may do: everything; everything but to other administrators; see.", |text| words(text, &["owner", "admin", "viewer"]);
    SessionKind: "Where a session's token is good: at the API, or in the console.", |text| words(text, &["api", "console"]);
    ApiKeyId: "Names an API key.", uuid;
    ClientId: "Names an agent in OAuth (RFC 6749 §2.2).", uuid;
    EventId: "Names an event, everywhere and for good.", uuid;
    OrganizationId: "Names an organization.", uuid;
    SecretId: "Names a client secret.", uuid;
    TeamId: "Names a team.", uuid;
    ForeignId: "An identifier that another system made.", |text| pattern(text, "^[A-Za-z0-9_.:-]+$", MAX_FOREIGN_ID);
    Slug: "Names an organization in URLs.", |text| pattern(text, "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", MAX_SLUG);
    Outcome: "Whether what was tried was done.", |text| words(text, &["success", "failure", "other"]);
    Plan: "Which quotas an organization has.", |text| words(text, &["free", "pro", "enterprise"]);
    TokenFormat: "What access tokens look like: sealed, or signed for everybody to verify.", |text| words(text, &["opaque", "jwt"]);
}

impl PartialSchema for Scopes {
    fn schema() -> RefOr<Schema> {
        let mut scope = Object::with_type(Type::String);
        pattern(&mut scope, "^[!#-\\[\\]-~]+$", MAX_SCOPE);
        let mut scopes = Array::new(scope);
        scopes.description = Some("Scopes (RFC 6749 §3.3).".to_owned());
        scopes.examples = vec![json!(["read", "write"])];
        RefOr::T(scopes.into())
    }
}

impl ToSchema for Scopes {}

fn uuid(text: &mut Object) {
    text.format = Some(SchemaFormat::KnownFormat(KnownFormat::Uuid));
}

fn pattern(text: &mut Object, pattern: &str, longest: usize) {
    text.pattern = Some(pattern.to_owned());
    text.max_length = Some(longest);
}

fn words(text: &mut Object, words: &[&str]) {
    text.enum_values = Some(words.iter().map(|word| (*word).into()).collect());
}

/// Takes null out of a schema: a member without a value is left out of our answers.
pub(super) fn without_nulls(schema: &mut RefOr<Schema>) {
    if let RefOr::T(Schema::OneOf(choice)) = schema {
        choice.items.retain(|item| !is_null(item));
        if let [only] = choice.items.as_slice() {
            let mut only = only.clone();
            if let (RefOr::Ref(reference), Some(meaning)) = (&mut only, &choice.description) {
                reference.description.clone_from(meaning);
            }
            *schema = only;
        }
    }
    let RefOr::T(schema) = schema else { return };
    match schema {
        Schema::Object(object) => {
            leave_out_null(&mut object.schema_type);
            object.properties.values_mut().for_each(without_nulls);
        }
        Schema::Array(array) => {
            leave_out_null(&mut array.schema_type);
            if let ArrayItems::RefOrSchema(items) = &mut array.items {
                without_nulls(items);
            }
        }
        Schema::AllOf(all) => all.items.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

fn is_null(schema: &RefOr<Schema>) -> bool {
    matches!(schema, RefOr::T(Schema::Object(object)) if object.schema_type == SchemaType::Type(Type::Null))
}

fn leave_out_null(schema_type: &mut SchemaType) {
    if let SchemaType::Array(types) = schema_type {
        types.retain(|one| *one != Type::Null);
        if let [only] = types.as_slice() {
            *schema_type = SchemaType::Type(only.clone());
        }
    }
}
