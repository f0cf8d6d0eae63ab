//! An agent that a test created.

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
