//! Putting a text into everything that can be stored, as the API describes what that is: a member that a request gets later is
//! among it by itself.

use machineauth_issuer::routes;
use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::console::Furniture;
use crate::issuer::Issuer;

/// The longest text that a tag or a scope can be.
const SHORT: usize = 64;

/// What else than changes stores what it is sent, and a body that it takes.
fn creations() -> [(&'static str, Value); 4] {
    let keys = "/api/organizations/{organization_id}/api-keys";
    let machines = "/v1/organizations/{organization_id}/machine-clients";
    let invitation = json!({ "email": "bob@example.com", "role": "viewer" });
    [
        (keys, json!({ "name": "a key" })),
        (machines, json!({ "name": "a machine" })),
        ("/api/administrators/invitations", invitation),
        ("/api/webhooks/{webhook_id}/test", json!({})),
    ]
}

/// A text for every place: as it is, and without what many places do not take.
#[derive(Debug, Clone, Copy)]
pub struct Inscription<'a> {
    /// With everything.
    pub text: &'a str,
    /// Without space, quotes and backslashes, and short.
    pub word: &'a str,
}

/// The API's description, as those read it who write clients.
struct Description(Value);

impl Inscription<'_> {
    /// Writes it wherever it is taken. Where it is not, whatever its form, is the answer: the path and the member.
    ///
    /// # Panics
    /// When something cannot be stored for another reason.
    pub async fn write(&self, issuer: &Issuer, furniture: &Furniture) -> Vec<String> {
        let description = Description::read();
        let mut without = Vec::new();
        let changes = description.changes().into_iter();
        let changes = changes.map(|path| (Method::PATCH, path, json!({})));
        let creations = creations().into_iter();
        let creations = creations.map(|(path, body)| (Method::POST, path.to_owned(), body));
        for (method, template, body) in changes.chain(creations) {
            let path = placed(furniture, &template);
            for (member, schema) in description.members(&method, &template) {
                let forms = self.forms(&description, &schema);
                let mut is_taken = forms.is_empty();
                for value in forms {
                    let mut body = body.clone();
                    body[&member] = value;
                    let answer = issuer.admin(method.clone(), &path, Some(body)).await;
                    let is_decided = answer.status.is_success() || answer.status.is_client_error();
                    assert!(is_decided, "{path} {member}: {}", answer.text);
                    is_taken = answer.status.is_success();
                    if is_taken {
                        break;
                    }
                }
                if !is_taken {
                    without.push(format!("{template} {member}"));
                }
            }
        }
        without.sort();
        without
    }

    /// The values of a member that hold the text; none where a member is no text.
    fn forms(&self, description: &Description, schema: &Value) -> Vec<Value> {
        let short: String = self.text.chars().take(SHORT).collect();
        let address = format!("https://example.com/{}", self.word);
        let texts = [self.text, &short, self.word, &address].map(Value::from);
        match description.kind(schema) {
            "string" => texts.to_vec(),
            "array" => texts.map(|text| json!([text])).to_vec(),
            "object" => vec![json!({ (self.text): self.text })],
            _ => Vec::new(),
        }
    }
}

/// A path of the API with what is there in the place of its parameters.
fn placed(furniture: &Furniture, template: &str) -> String {
    let path = template
        .replace("{id}", "{agent}")
        .replace("{client_id}", "{machine}");
    furniture.path(&path.replace("_id}", "}"))
}

impl Description {
    fn read() -> Self {
        let description = serde_json::to_value(routes::description());
        Self(description.expect("the description is JSON"))
    }

    /// The paths at which something can be changed.
    fn changes(&self) -> Vec<String> {
        let paths = self.0["paths"].as_object().into_iter().flatten();
        let with_patch = paths.filter(|(_, path)| path.get("patch").is_some());
        with_patch.map(|(path, _)| path.clone()).collect()
    }

    /// The members of what is sent to `path`.
    fn members(&self, method: &Method, path: &str) -> Map<String, Value> {
        let method = method.as_str().to_ascii_lowercase();
        let body = &self.0["paths"][path][method]["requestBody"]["content"]["application/json"];
        let members = self.resolved(&body["schema"])["properties"].clone();
        let Value::Object(members) = members else {
            panic!("nothing is said of what {path} takes");
        };
        members
    }

    /// `string`, `array` or `object` where texts of one's own can be in it.
    fn kind(&self, schema: &Value) -> &'static str {
        let schema = self.resolved(schema);
        if schema.get("enum").is_some() || schema.get("format").is_some() {
            return "";
        }
        for choice in ["oneOf", "anyOf"] {
            if let Some(choices) = schema[choice].as_array() {
                let mut kinds = choices.iter().map(|schema| self.kind(schema));
                return kinds.find(|kind| !kind.is_empty()).unwrap_or_default();
            }
        }
        let kinds = match &schema["type"] {
            Value::String(kind) => vec![kind.as_str()],
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
            // Nothing is said: anything goes.
            _ => vec!["string"],
        };
        let mut texts = ["string", "array", "object"].into_iter();
        texts.find(|text| kinds.contains(text)).unwrap_or_default()
    }

    fn resolved<'a>(&'a self, schema: &'a Value) -> &'a Value {
        let mut schema = schema;
        while let Some(pointer) = schema["$ref"].as_str() {
            let pointer = pointer.trim_start_matches('#');
            schema = self
                .0
                .pointer(pointer)
                .expect("a reference leads somewhere");
        }
        schema
    }
}
