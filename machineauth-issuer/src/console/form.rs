//! What was typed into a form, and what is wrong with it.

use std::fmt;
use std::time::Duration;

use super::failure::Failure;
use crate::error::ApiError;
use crate::store::Version;

/// The most fields that one form has (I22).
const MAX_FIELDS: usize = 256;

/// A form: what it holds, and what has to be said about it.
#[derive(Default, Clone)]
pub struct Form {
    fields: Vec<(String, String)>,
    /// By field; `""` for what concerns the whole form.
    problems: Vec<(String, String)>,
}

/// Names only: a field may hold a password (I21).
impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.fields.iter().map(|(name, _)| name);
        f.debug_list().entries(names).finish()
    }
}

impl Form {
    /// What a browser sends (`application/x-www-form-urlencoded`).
    ///
    /// # Errors
    /// When it has more fields than any form.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let fields: Vec<_> = form_urlencoded::parse(body)
            .take(MAX_FIELDS + 1)
            // Browsers end the lines of a text so, whatever was typed.
            .map(|(name, value)| (name.into_owned(), value.replace("\r\n", "\n")))
            .collect();
        match fields.len() > MAX_FIELDS {
            true => Err(ApiError::invalid("the form has too many fields")),
            false => Ok(Self {
                fields,
                problems: Vec::new(),
            }),
        }
    }

    /// A form that shows what there is.
    pub fn filled<const N: usize>(fields: [(&str, String); N]) -> Self {
        let fields = fields.into_iter();
        Self {
            fields: fields
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            problems: Vec::new(),
        }
    }

    /// Adds a value to a field.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.fields.push((name.to_owned(), value.into()));
        self
    }

    /// What a field holds. Nothing where there is none.
    pub fn value(&self, name: &str) -> &str {
        let mut fields = self.fields.iter();
        let first = fields.find(|(found, _)| found == name);
        first.map_or("", |(_, value)| value)
    }

    /// All that a field holds.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let fields = self.fields.iter();
        fields
            .filter(move |(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }

    /// Whether a field holds `value`: a choice was made.
    pub fn has(&self, name: &str, value: &str) -> bool {
        self.values(name).any(|held| held == value)
    }

    /// Whether a box is ticked.
    pub fn is_ticked(&self, name: &str) -> bool {
        self.has(name, "on")
    }

    /// What a field holds without space around it, if that is anything.
    pub fn given(&self, name: &str) -> Option<&str> {
        Some(self.value(name).trim()).filter(|value| !value.is_empty())
    }

    /// The parts of a field, separated by white space or commas.
    pub fn words(&self, name: &str) -> Vec<String> {
        let parts = self
            .value(name)
            .split(|c: char| c.is_whitespace() || c == ',');
        let parts = parts.filter(|part| !part.is_empty());
        parts.map(str::to_owned).collect()
    }

    /// The number in a field.
    ///
    /// # Errors
    /// When there is something else in it.
    pub fn number<N: std::str::FromStr>(&self, name: &'static str) -> Result<Option<N>, ApiError> {
        let number = self.given(name).map(str::parse).transpose();
        number.map_err(|_| wrong(name, "a whole number"))
    }

    /// The seconds in a field.
    ///
    /// # Errors
    /// When there is something else in it.
    pub fn seconds(&self, name: &'static str) -> Result<Option<Duration>, ApiError> {
        Ok(self.number(name)?.map(Duration::from_secs))
    }

    /// The identifier in a field.
    ///
    /// # Errors
    /// When there is something else in it.
    pub fn id<I: std::str::FromStr>(&self, name: &'static str) -> Result<Option<I>, ApiError> {
        let id = self.given(name).map(str::parse).transpose();
        id.map_err(|_| {
            wrong(
                name,
                "an identifier as 3f1c2f0e-6a55-4b43-9a5c-0a4bb07c8f10",
            )
        })
    }

    /// Insists that what cannot be undone was confirmed with the name of what it is done to.
    ///
    /// # Errors
    /// Says `otherwise` of the field for the name.
    pub fn confirms(&self, name: &str, otherwise: &str) -> Result<(), ApiError> {
        match self.value("confirmation").trim() == name.trim() {
            true => Ok(()),
            false => Err(wrong("confirmation", otherwise)),
        }
    }

    /// Insists that it was filled from this version: what was changed since is not undone unseen.
    ///
    /// # Errors
    /// [`ApiError::PreconditionFailed`]
    pub fn is_of(&self, version: Version) -> Result<(), ApiError> {
        match self.value("version") == version.to_string() {
            true => Ok(()),
            false => Err(ApiError::PreconditionFailed),
        }
    }

    /// What is wrong with a field; `""` where nothing is.
    pub fn problem(&self, name: &str) -> &str {
        let mut problems = self.problems.iter();
        let problem = problems.find(|(field, _)| field == name);
        problem.map_or("", |(_, what)| what)
    }

    /// What is wrong with the form, and with fields that were not sent: boxes that nobody ticked.
    pub fn general_problems(&self) -> Vec<&str> {
        let is_sent = |name: &str| self.fields.iter().any(|(field, _)| field == name);
        let problems = self.problems.iter().filter(|(name, _)| !is_sent(name));
        problems.map(|(_, what)| what.as_str()).collect()
    }

    /// All that is wrong, each with its field.
    pub fn all_problems(&self) -> Vec<String> {
        let problems = self.problems.iter();
        let said = problems.map(|(field, what)| format!("{}: {what}", field.replace('_', " ")));
        said.collect()
    }

    /// Whether nothing is wrong.
    pub fn is_fine(&self) -> bool {
        self.problems.is_empty()
    }

    /// Notes why the form was refused, beside the field that is named by the error, if it is about what was typed.
    ///
    /// # Errors
    /// The error itself where typing something else does not help.
    pub fn refuse(&mut self, error: impl Into<ApiError>) -> Result<(), Failure> {
        let what = match error.into() {
            ApiError::InvalidRequest(what) => what.into_owned(),
            ApiError::QuotaExceeded(what) => what,
            ApiError::Conflict(what) => what.to_owned(),
            ApiError::PreconditionFailed => {
                "somebody else has changed this in the meantime: load the page again".to_owned()
            }
            error => return Err(error.into()),
        };
        let named = what.split_once(": ").filter(|(name, _)| is_field(name));
        let (name, what) = named.unwrap_or(("", &what));
        let mut what = what.to_owned();
        if let Some(first) = what.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        self.problems.push((name.to_owned(), what));
        Ok(())
    }
}

/// Whether an error can begin so that names a field.
fn is_field(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// What is said of a field that does not hold `what`.
pub fn wrong(field: &'static str, what: &str) -> ApiError {
    ApiError::invalid(format!("{field}: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_stands_beside_the_field_that_it_names() {
        let mut form = Form::parse(b"name=&scopes=a+b").unwrap();
        form.refuse(wrong("name", "1 to 200 characters")).unwrap();
        assert_eq!(form.problem("name"), "1 to 200 characters");
        assert_eq!(form.problem("scopes"), "");
        assert!(form.general_problems().is_empty() && !form.is_fine());
    }

    #[test]
    fn an_error_that_names_no_field_stands_above_the_form() {
        let mut form = Form::parse(b"name=x").unwrap();
        form.refuse(ApiError::Conflict("there is one: of that name"))
            .unwrap();
        assert_eq!(form.general_problems(), ["There is one: of that name"]);
        assert!(form.refuse(ApiError::ServerError).is_err());
    }

    #[test]
    fn an_error_about_boxes_that_nobody_ticked_is_seen() {
        let mut form = Form::parse(b"name=x").unwrap();
        form.refuse(wrong("scopes", "at least one")).unwrap();
        assert_eq!(form.problem("scopes"), "At least one");
        assert_eq!(form.general_problems(), ["At least one"]);
    }

    #[test]
    fn a_form_is_read_as_browsers_send_it() {
        let form = Form::parse(b"a=1%0D%0A2&b=x&b=y&c=on&d=+&e=p,q+r").unwrap();
        assert_eq!(form.value("a"), "1\n2");
        assert!(form.has("b", "y") && form.is_ticked("c"));
        assert_eq!(form.given("d"), None);
        assert_eq!(form.words("e"), ["p", "q", "r"]);
    }

    /// I21
    #[test]
    fn debug_output_never_shows_what_was_typed() {
        let form = Form::parse(b"password=hunter2").unwrap();
        assert!(!format!("{form:?}").contains("hunter2"));
    }

    proptest::proptest! {
        /// I22
        #[test]
        fn no_body_makes_the_reader_panic(body: Vec<u8>, error: String) {
            if let Ok(mut form) = Form::parse(&body) {
                let _ = form.refuse(ApiError::InvalidRequest(error.into()));
                assert!(!form.is_fine());
            }
        }
    }
}
