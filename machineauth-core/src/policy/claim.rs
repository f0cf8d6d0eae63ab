//! The claim that a path parameter is bound to.

use serde_json::Value;

use super::path::decoded;
use crate::claims::Claims;

/// A claim by its name, found without a search where [`Claims`] has a place for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClaimPath {
    name: Box<str>,
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Issuer,
    Subject,
    ClientId,
    AgentId,
    OrganizationId,
    TeamId,
    Extra,
    /// A JSON pointer (RFC 6901) into the claims that have no place of their own.
    Pointer,
}

/// What comparing a path parameter with a claim came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Different,
    /// The token has no such claim, or `null` there.
    Absent,
}

impl ClaimPath {
    pub(super) fn new(name: &str) -> Self {
        let place = match name {
            "iss" => Place::Issuer,
            "sub" => Place::Subject,
            "client_id" => Place::ClientId,
            "agent_id" => Place::AgentId,
            "org_id" => Place::OrganizationId,
            "team_id" => Place::TeamId,
            _ if name.starts_with('/') => Place::Pointer,
            _ => Place::Extra,
        };
        Self {
            name: name.into(),
            place,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Compares with a segment of a path. Text must be the same after decoding, a whole number as it is written in
    /// decimal; of an array one element is enough.
    pub(super) fn compare(&self, claims: &Claims, segment: &str) -> Comparison {
        let text = |text: Option<&str>| match text {
            None => Comparison::Absent,
            Some(text) => equal_if(same_text(text, segment)),
        };
        match self.place {
            Place::Issuer => text(Some(&claims.issuer)),
            Place::Subject => text(Some(&claims.subject)),
            Place::ClientId => text(claims.client_id.as_deref()),
            Place::AgentId => text(claims.agent_id.as_deref()),
            Place::OrganizationId => text(claims.organization_id.as_deref()),
            Place::TeamId => text(claims.team_id.as_deref()),
            Place::Extra => compare_value(claims.extra.get(&*self.name), segment),
            Place::Pointer => compare_value(self.pointed_at(claims), segment),
        }
    }

    fn pointed_at<'c>(&self, claims: &'c Claims) -> Option<&'c Value> {
        let mut tokens = self.name[1..].splitn(2, '/');
        let first = unescaped(tokens.next()?);
        let value = claims.extra.get(&first)?;
        match tokens.next() {
            Some(rest) => value.pointer(&format!("/{rest}")),
            None => Some(value),
        }
    }
}

/// RFC 6901 §4.
fn unescaped(token: &str) -> String {
    token.replace("~1", "/").replace("~0", "~")
}

fn compare_value(value: Option<&Value>, segment: &str) -> Comparison {
    match value {
        None | Some(Value::Null) => Comparison::Absent,
        Some(Value::Array(values)) => {
            equal_if(values.iter().any(|value| same_value(value, segment)))
        }
        Some(value) => equal_if(same_value(value, segment)),
    }
}

fn same_value(value: &Value, segment: &str) -> bool {
    match value {
        Value::String(text) => same_text(text, segment),
        // A fraction or an exponent has more than one spelling.
        Value::Number(number) if number.is_u64() || number.is_i64() => {
            number.to_string() == segment
        }
        _ => false,
    }
}

fn same_text(text: &str, segment: &str) -> bool {
    match segment.contains('%') {
        false => text == segment,
        true => decoded(segment).eq(text.bytes()),
    }
}

fn equal_if(same: bool) -> Comparison {
    if same {
        Comparison::Equal
    } else {
        Comparison::Different
    }
}
