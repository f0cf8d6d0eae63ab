//! What can be done here, and which scope each of it needs.

use std::sync::{Arc, Mutex, PoisonError};

use machineauth_core::policy::Refusal;
use machineauth_core::{Error, ScopeSet};
use serde_json::{Value, json};

/// Notes in memory.
type Notes = Mutex<Vec<String>>;

/// Everything that can be called.
#[derive(Clone)]
pub(crate) struct Tools {
    all: Arc<[Tool]>,
    notes: Arc<Notes>,
}

struct Tool {
    name: &'static str,
    description: &'static str,
    /// What it is called with (JSON Schema).
    input: Value,
    scopes: ScopeSet,
    run: fn(&Notes, &Value) -> Result<String, &'static str>,
}

/// Why a call has no result.
pub(crate) enum Failure<'a> {
    /// The caller may not.
    Refused(Refusal<'a>),
    /// There is no such tool, or it cannot be called like that.
    Invalid(&'static str),
}

impl Tools {
    /// # Errors
    /// When a scope is none.
    pub(crate) fn new() -> Result<Self, Error> {
        let list = Tool {
            name: "list_notes",
            description: "Returns all notes, one a line",
            input: json!({ "type": "object" }),
            scopes: "notes:read".parse()?,
            run: |notes, _| Ok(locked(notes).join("\n")),
        };
        let add = Tool {
            name: "add_note",
            description: "Writes a note down",
            input: json!({
                "type": "object",
                "properties": { "text": { "type": "string" } },
                "required": ["text"],
            }),
            scopes: "notes:write".parse()?,
            run: |notes, arguments| {
                let text = arguments["text"].as_str().ok_or("`text` is missing")?;
                locked(notes).push(text.to_owned());
                Ok("noted".into())
            },
        };
        Ok(Self {
            all: Arc::new([list, add]),
            notes: Arc::default(),
        })
    }

    /// All that any tool needs.
    pub(crate) fn scopes(&self) -> ScopeSet {
        let scopes = self.all.iter().flat_map(|tool| tool.scopes.iter());
        scopes.cloned().collect()
    }

    /// As `tools/list` has them.
    pub(crate) fn descriptions(&self) -> Vec<Value> {
        let describe = |tool: &Tool| {
            json!({
                "name": tool.name,
                "description": tool.description,
                "inputSchema": tool.input,
            })
        };
        self.all.iter().map(describe).collect()
    }

    /// Calls the tool of that name for somebody who holds these scopes.
    ///
    /// # Errors
    /// [`Failure`]
    pub(crate) fn call(
        &self,
        name: &str,
        arguments: &Value,
        held: &ScopeSet,
    ) -> Result<String, Failure<'_>> {
        let tool = self.all.iter().find(|tool| tool.name == name);
        let tool = tool.ok_or(Failure::Invalid("there is no such tool"))?;
        match Refusal::unless_all(&tool.scopes, held) {
            Some(refusal) => Err(Failure::Refused(refusal)),
            None => (tool.run)(&self.notes, arguments).map_err(Failure::Invalid),
        }
    }
}

fn locked(notes: &Notes) -> std::sync::MutexGuard<'_, Vec<String>> {
    notes.lock().unwrap_or_else(PoisonError::into_inner)
}
