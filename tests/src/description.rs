//! What the issuer says of its API, held against everything that it answers in the tests.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, StatusCode};
use jsonschema::Validator;
use machineauth_issuer::routes;
use serde_json::{Map, Value, json};

const JSON: &str = "application/json";
/// Where the console is.
const CONSOLE: &str = "/admin";
const FORM: &str = "application/x-www-form-urlencoded";

/// Headers that are always there when they are described.
const CERTAIN: [&str; 4] = ["ETag", "Location", "Retry-After", "WWW-Authenticate"];

/// The description, as it is served.
pub static DESCRIPTION: LazyLock<Value> =
    LazyLock::new(|| serde_json::to_value(routes::description()).expect("it is plain data"));

/// Every operation: its path, its method, what is said of it.
pub fn operations() -> impl Iterator<Item = (&'static str, &'static str, &'static Value)> {
    let paths = DESCRIPTION["paths"].as_object();
    paths.into_iter().flatten().flat_map(|(path, item)| {
        let item = item.as_object().into_iter().flatten();
        item.map(|(method, operation)| (path.as_str(), method.as_str(), operation))
    })
}

/// Schemas that were needed before.
static VALIDATORS: Mutex<BTreeMap<String, Arc<Validator>>> = Mutex::new(BTreeMap::new());

/// Watches an issuer. When it is dropped, it fails the test if an answer was not as described.
#[derive(Debug, Default)]
pub struct Watch(Arc<Discrepancies>);

type Discrepancies = Mutex<Vec<String>>;

impl Watch {
    /// Lets nothing pass `router` unseen.
    pub fn over(&self, router: Router) -> Router {
        router.layer(from_fn_with_state(Arc::clone(&self.0), observe))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A test that has failed says why already.
        if !std::thread::panicking() {
            assert!(
                found.is_empty(),
                "the issuer did what it does not say (`#[utoipa::path]` or a type of the handler):\n{}",
                found.join("\n")
            );
        }
    }
}

async fn observe(
    State(discrepancies): State<Arc<Discrepancies>>,
    request: Request,
    next: Next,
) -> Response {
    let (parts, body) = request.into_parts();
    let sent = Arc::new(Mutex::new(Vec::new()));
    let copy = Arc::clone(&sent);
    let body = body.into_data_stream().inspect(move |chunk| {
        if let (Ok(chunk), Ok(mut copy)) = (chunk, copy.lock()) {
            copy.extend_from_slice(chunk);
        }
    });
    let asked = Asked {
        method: parts.method.clone(),
        path: parts
            .extensions
            .get::<MatchedPath>()
            .map(|path| path.as_str().to_owned()),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers.clone(),
    };
    let response = next
        .run(Request::from_parts(parts, Body::from_stream(body)))
        .await;
    let (parts, mut body) = response.into_parts();
    let mut answered = Bytes::new();
    if media_type(&parts.headers) == JSON {
        answered = to_bytes(body, usize::MAX)
            .await
            .expect("a body of JSON is there whole");
        body = Body::from(answered.clone());
    }
    let sent = std::mem::take(&mut *sent.lock().unwrap_or_else(PoisonError::into_inner));
    if let Err(why) = asked.compare(&sent, parts.status, &parts.headers, &answered) {
        let path = asked.path.as_deref().unwrap_or("an unknown path");
        let what = format!("{} {path}: {}: {why}", asked.method, parts.status);
        discrepancies
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(what);
    }
    Response::from_parts(parts, body)
}

/// What was asked for.
struct Asked {
    method: Method,
    path: Option<String>,
    query: String,
    headers: HeaderMap,
}

impl Asked {
    fn compare(
        &self,
        sent: &[u8],
        status: StatusCode,
        headers: &HeaderMap,
        answered: &[u8],
    ) -> Result<(), String> {
        // Browsers ask so whether a page may ask: no part of the API.
        if self.method == Method::OPTIONS {
            return Ok(());
        }
        // Its pages are no part of the API.
        if self
            .path
            .as_deref()
            .is_some_and(|path| path.starts_with(CONSOLE))
        {
            return Ok(());
        }
        let media_type = media_type(headers);
        let Some(operation) = self.operation() else {
            return match status.as_u16() {
                403 | 404 | 405 | 429 => valid(
                    "Error",
                    &json!({ "$ref": "#/components/schemas/Error" }),
                    true,
                    answered,
                ),
                _ => Err("nothing is said of this method at this path".to_owned()),
            };
        };
        let answer = resolved(&operation["responses"][status.as_str()]);
        if answer.is_null() {
            return Err("nothing is said of this status".to_owned());
        }
        if status.is_success() {
            self.compare_request(operation, sent)?;
        }
        let described = answer["headers"].as_object().into_iter().flatten();
        let missing = described
            .map(|(name, _)| name.as_str())
            .find(|name| CERTAIN.contains(name) && !headers.contains_key(*name));
        if let Some(name) = missing {
            return Err(format!("there is no header {name}, and one is described"));
        }
        let Some(content) = answer["content"].as_object() else {
            return match media_type {
                "" => Ok(()),
                _ => Err(format!(
                    "nothing is said of a body, and there is one of {media_type:?}"
                )),
            };
        };
        let described = content.get(media_type).or_else(|| content.get("*/*"));
        let Some(described) = described else {
            return Err(format!("nothing is said of a body of {media_type:?}"));
        };
        if self.method == Method::HEAD || media_type != JSON {
            return Ok(());
        }
        let name = format!("{} {:?} {status}", self.method, self.path);
        valid(&name, &described["schema"], true, answered)
    }

    /// What was done is something that is said to be possible.
    fn compare_request(&self, operation: &Value, sent: &[u8]) -> Result<(), String> {
        let parameters = operation["parameters"].as_array();
        for (name, _) in form_urlencoded::parse(self.query.as_bytes()) {
            let is_known = parameters.is_some_and(|known| {
                let mut known = known.iter();
                known.any(|known| known["in"] == "query" && known["name"] == *name)
            });
            if !is_known {
                return Err(format!("nothing is said of a parameter {name}"));
            }
        }
        if sent.is_empty() {
            return Ok(());
        }
        let media_type = media_type(&self.headers);
        let schema = &operation["requestBody"]["content"][media_type]["schema"];
        if schema.is_null() {
            return Err(format!(
                "a body of {media_type:?} was taken, and nothing is said of it"
            ));
        }
        let name = format!("{} {:?} request", self.method, self.path);
        match media_type {
            FORM => {
                let form: Map<_, _> = form_urlencoded::parse(sent)
                    .map(|(name, value)| (name.into_owned(), Value::from(value.into_owned())))
                    .collect();
                valid(
                    &name,
                    schema,
                    false,
                    Value::Object(form).to_string().as_bytes(),
                )
            }
            _ => valid(&name, schema, false, sent),
        }
        .map_err(|why| format!("a request was taken that is not as described: {why}"))
    }

    fn operation(&self) -> Option<&'static Value> {
        let method = match self.method {
            Method::HEAD => "get".to_owned(),
            _ => self.method.as_str().to_ascii_lowercase(),
        };
        DESCRIPTION["paths"].get(self.path.as_deref()?)?.get(method)
    }
}

fn media_type(headers: &HeaderMap) -> &str {
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    value
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
}

/// Whether `text` is JSON as `schema` has it, and where that is to be `closed`, nothing but what is in it.
fn valid(name: &str, schema: &Value, closed: bool, text: &[u8]) -> Result<(), String> {
    let json: Value = serde_json::from_slice(text).map_err(|error| format!("no JSON: {error}"))?;
    let validator = {
        let mut validators = VALIDATORS.lock().unwrap_or_else(PoisonError::into_inner);
        let compile = || {
            let options = jsonschema::draft202012::options().should_validate_formats(true);
            let validator = options.build(&whole(schema, closed));
            Arc::new(validator.unwrap_or_else(|error| panic!("the schema of {name}: {error}")))
        };
        Arc::clone(validators.entry(name.to_owned()).or_insert_with(compile))
    };
    let errors: Vec<_> = validator
        .iter_errors(&json)
        .map(|error| format!("{} at {:?}", error.masked(), error.instance_path().as_str()))
        .collect();
    match errors.is_empty() {
        true => Ok(()),
        false => Err(errors.join("; ")),
    }
}

/// What a reference refers to, or the value itself.
pub fn resolved(value: &'static Value) -> &'static Value {
    match value["$ref"].as_str() {
        Some(reference) => DESCRIPTION
            .pointer(reference.trim_start_matches('#'))
            .unwrap_or_else(|| panic!("{reference} leads nowhere")),
        None => value,
    }
}

/// The schema with everything in it that it refers to. Where it is to be `closed`, its objects have no members but those
/// described.
fn whole(schema: &Value, closed: bool) -> Value {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = DESCRIPTION.pointer(reference.trim_start_matches('#'));
        let target = target.unwrap_or_else(|| panic!("{reference} leads nowhere"));
        return whole(target, closed);
    }
    let Some(keywords) = schema.as_object() else {
        return schema.clone();
    };
    let within = |name: &str, value: &Value| match (name, value) {
        ("properties", Value::Object(members)) => members
            .iter()
            .map(|(name, member)| (name.clone(), whole(member, closed)))
            .collect(),
        // The parts are open, so that the whole can be closed.
        ("allOf", Value::Array(parts)) => parts.iter().map(|part| whole(part, false)).collect(),
        ("oneOf" | "anyOf", Value::Array(choices)) => {
            choices.iter().map(|choice| whole(choice, closed)).collect()
        }
        ("items", items) => whole(items, closed),
        (_, value) => value.clone(),
    };
    let mut keywords: Map<_, _> = keywords
        .iter()
        .map(|(name, value)| (name.clone(), within(name, value)))
        .collect();
    if closed && (keywords.contains_key("properties") || keywords.contains_key("allOf")) {
        keywords.insert("unevaluatedProperties".to_owned(), false.into());
    }
    Value::Object(keywords)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compare(
        method: Method,
        path: &str,
        status: u16,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Result<(), String> {
        let asked = Asked {
            method,
            path: Some(path.to_owned()),
            query: String::new(),
            headers: HeaderMap::new(),
        };
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        let status = StatusCode::from_u16(status).unwrap();
        asked.compare(&[], status, &headers, body.to_string().as_bytes())
    }

    #[test]
    fn whatever_is_not_described_is_noticed() {
        let json = [("content-type", JSON)];
        let ok = json!({ "status": "ok" });
        let health = |status, headers: &[_], body: &Value| {
            compare(Method::GET, "/health", status, headers, body)
        };
        assert_eq!(health(200, &json, &ok), Ok(()));
        for (status, headers, body, why) in [
            (
                200,
                &json[..],
                json!({ "status": "ok", "more": 1 }),
                "unevaluated",
            ),
            (200, &json, json!({}), "required"),
            (200, &json, json!({ "status": null }), "string"),
            (200, &[("content-type", "text/plain")], ok.clone(), "body"),
            (202, &json, ok.clone(), "status"),
            (429, &json, ok.clone(), "header retry-after"),
            (
                429,
                &[json[0], ("retry-after", "1")],
                ok.clone(),
                "required",
            ),
        ] {
            let found = health(status, headers, &body).unwrap_err();
            assert!(found.to_lowercase().contains(why), "{found}");
        }
        for (method, path) in [(Method::PUT, "/health"), (Method::GET, "/nowhere")] {
            assert!(compare(method, path, 200, &json, &ok).is_err(), "{path}");
        }
    }

    #[test]
    fn a_whole_may_have_the_members_of_all_its_parts_and_no_others() {
        let schema = &json!({ "$ref": "#/components/schemas/CreatedMachineClient" });
        let mut client = json!({
            "id": "mc_1", "clientId": "dyc_1", "name": "n", "scopes": [], "tokenFormat": "jwt", "isActive": true,
            "organizationId": "00000000-0000-4000-8000-000000000000", "clientSecret": "dys_1",
            "createdAt": "2026-03-01T12:00:00Z", "updatedAt": "2026-03-01T12:00:00Z",
        });
        let valid = |client: &Value| valid("part", schema, true, client.to_string().as_bytes());
        assert_eq!(valid(&client), Ok(()));
        client["more"] = true.into();
        assert!(valid(&client).is_err());
    }

    #[test]
    #[should_panic(expected = "nothing is said of this status")]
    fn a_discrepancy_fails_the_test() {
        let watch = Watch::default();
        let what = "nothing is said of this status".to_owned();
        watch.0.lock().unwrap().push(what);
    }
}
