//! An agent that a test created.

use crate::http::Answer;

/// What the creation of an agent answered.
#[derive(Debug, Clone)]
pub struct Agent {
    /// Names it in the API.
    pub id: String,
    /// Names it in OAuth.
    pub client_id: String,
    /// Proves that it is itself.
    pub client_secret: String,
}

impl Agent {
    /// Reads the answer to a creation.
    ///
    /// # Panics
    /// When it is another answer.
    pub fn read(created: &Answer) -> Self {
        let id = created.json()["agent"]["id"].as_str().map(str::to_owned);
        Self {
            id: id.expect("an agent has an id"),
            client_id: created.str("client_id"),
            client_secret: created.str("client_secret"),
        }
    }

    /// A form with the agent's credentials and `more`.
    pub fn form<'a>(&'a self, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let mut form = vec![
            ("client_id", &*self.client_id),
            ("client_secret", &*self.client_secret),
        ];
        form.extend_from_slice(more);
        form
    }
}
