//! How answers are printed: tables for people, JSON for programs, a bare word for pipes.

use std::fmt::Display;
use std::io::{self, Write as _};

use clap::Args;
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde_json::Value;

use super::client::Answer;
use super::connection::OUTPUT;
use super::failure::Failure;

const SHOWN_ONCE: &str = "Shown only here and never again: store it now.";

/// In which form answers are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// For people.
    Table,
    /// What the server answered.
    Json,
    /// Only the identifier, or the new secret.
    Quiet,
}

/// Prints answers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    pub(super) format: Format,
}

/// How one kind of object stands in answers, and what people see of it first.
#[derive(Debug)]
pub(super) struct Noun {
    /// The member of an answer that holds one, where it is not the whole answer.
    pub(super) one: Option<&'static str>,
    /// The member of an answer that holds a list; empty where there are no lists of it.
    pub(super) many: &'static str,
    /// The member that names it.
    pub(super) id: &'static str,
    /// The columns of a list.
    pub(super) columns: &'static [&'static str],
}

/// A member of an answer that is a credential, and the variable that the commands read it from.
#[derive(Debug)]
pub(super) struct NewSecret {
    pub(super) member: &'static str,
    pub(super) variable: &'static str,
}

/// How a new secret is printed.
#[derive(Debug, Args)]
pub(super) struct SecretForm {
    /// Print it as the variables that other commands read, a line each, for a file or `export $(…)`
    #[arg(long, conflicts_with_all = ["json", "quiet"], help_heading = OUTPUT)]
    env: bool,
}

impl Noun {
    fn part<'a>(&self, answer: &'a Value) -> &'a Value {
        self.one.map_or(answer, |name| &answer[name])
    }
}

impl Output {
    /// Prints one object.
    ///
    /// # Errors
    /// When the answer is not understood or cannot be printed, as with all of these.
    pub(super) fn one(self, noun: &Noun, answer: &Answer) -> Result<(), Failure> {
        if self.format == Format::Json {
            return print(&answer.text);
        }
        let json = answer.json()?;
        let object = noun.part(&json);
        if self.format == Format::Quiet {
            return print(cell(&object[noun.id]));
        }
        let mut fields = fields(object, noun.columns);
        if let Some(etag) = &answer.etag {
            fields.push(("etag".to_owned(), printable(etag)));
        }
        print(table_of_fields(fields))
    }

    /// Prints what was created, with its secrets.
    ///
    /// # Errors
    /// As [`Output::one`].
    pub(super) fn secret(
        self,
        noun: &Noun,
        answer: &Answer,
        secrets: &[NewSecret],
        form: &SecretForm,
    ) -> Result<(), Failure> {
        if self.format == Format::Json {
            return print(&answer.text);
        }
        let json = answer.json()?;
        let texts = secrets.iter().map(|secret| cell(&json[secret.member]));
        if form.env {
            let variables = secrets.iter().map(|secret| secret.variable);
            let lines = variables
                .zip(texts)
                .map(|(name, text)| format!("{name}={text}"));
            return print(lines.collect::<Vec<_>>().join("\n"));
        }
        if self.format == Format::Quiet {
            return print(texts.collect::<Vec<_>>().join(":"));
        }
        let mut fields = match noun.part(&json) {
            Value::Object(_) => fields(noun.part(&json), noun.columns),
            _ => Vec::new(),
        };
        fields.retain(|(name, _)| secrets.iter().all(|secret| secret.member != name));
        let secrets = secrets.iter().map(|secret| secret.member.to_owned());
        fields.extend(secrets.zip(texts));
        print(table_of_fields(fields))?;
        print(format_args!("\n{SHOWN_ONCE}"))
    }

    /// Prints everything that is in an answer; in short, the member `short` of it, or nothing.
    ///
    /// # Errors
    /// As [`Output::one`].
    pub(super) fn all(self, answer: &Answer, short: Option<&str>) -> Result<(), Failure> {
        match self.format {
            Format::Json => print(&answer.text),
            Format::Quiet => match short {
                Some(member) => print(cell(&answer.json()?[member])),
                None => Ok(()),
            },
            Format::Table => print(table_of_fields(fields(&answer.json()?, &[]))),
        }
    }

    /// Prints a list that came in one answer.
    ///
    /// # Errors
    /// As [`Output::one`].
    pub(super) fn list(self, noun: &Noun, answer: &Answer) -> Result<(), Failure> {
        if self.format == Format::Json {
            return print(&answer.text);
        }
        self.rows(noun, rows(noun, &answer.json()?))
    }

    /// Prints the objects of a list.
    ///
    /// # Errors
    /// As [`Output::one`].
    pub(super) fn rows(self, noun: &Noun, rows: &[Value]) -> Result<(), Failure> {
        match self.format {
            Format::Table if rows.is_empty() => {
                eprintln!("There are none.");
                Ok(())
            }
            Format::Table => print(table_of_rows(noun.columns, rows)),
            Format::Json => Ok(()),
            Format::Quiet => rows.iter().try_for_each(|row| print(cell(&row[noun.id]))),
        }
    }

    /// Says that something was done; for programs, what the server answered.
    ///
    /// # Errors
    /// As [`Output::one`].
    pub(super) fn done(self, answer: &Answer, sentence: &str) -> Result<(), Failure> {
        match self.format {
            Format::Table => print(sentence),
            Format::Json if !answer.text.is_empty() => print(&answer.text),
            Format::Json | Format::Quiet => Ok(()),
        }
    }
}

/// The objects of a list in an answer.
pub(super) fn rows<'a>(noun: &Noun, answer: &'a Value) -> &'a [Value] {
    answer[noun.many].as_array().map_or(&[], Vec::as_slice)
}

/// Prints a text and the end of its line.
///
/// # Errors
/// When nobody reads it, or it cannot be written.
pub(super) fn print(text: impl Display) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

/// A text in which nothing steers a terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .map(|char| match char.is_control() {
            true => char::REPLACEMENT_CHARACTER,
            false => char,
        })
        .collect()
}

/// The members of an object: those in `first` at first, in that order.
fn fields(object: &Value, first: &[&str]) -> Vec<(String, String)> {
    let members = object.as_object().into_iter().flatten();
    let mut fields: Vec<_> = members
        .map(|(name, value)| (name.clone(), cell(value)))
        .collect();
    let place = |name: &str| first.iter().position(|column| *column == name);
    fields.sort_by_key(|(name, _)| place(name).unwrap_or(first.len()));
    fields
}

/// Names and values, a line each.
pub(super) fn table_of_fields(fields: Vec<(String, String)>) -> String {
    let mut table = Table::new();
    for (name, value) in fields {
        table.add_row([printable(&name), value]);
    }
    plain(table)
}

fn table_of_rows(columns: &[&str], rows: &[Value]) -> String {
    let mut table = Table::new();
    table.set_header(columns.iter().map(|name| title(name)));
    for row in rows {
        table.add_row(columns.iter().map(|name| cell(&row[*name])));
    }
    plain(table)
}

/// Without lines, so that columns can be copied, and a pipe gets words.
fn plain(mut table: Table) -> String {
    table.load_style(NOTHING);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// The title of the column for a member: `CLIENT ID` for `client_id` and for `clientId`.
fn title(name: &str) -> String {
    let mut title = String::new();
    for char in name.chars() {
        match char {
            '_' => title.push(' '),
            char => {
                if char.is_ascii_uppercase() {
                    title.push(' ');
                }
                title.push(char.to_ascii_uppercase());
            }
        }
    }
    title
}

/// A value in a table.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => printable(text),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            items.iter().map(cell).collect::<Vec<_>>().join(", ")
        }
        Value::Object(members) if members.is_empty() => String::new(),
        value => printable(&value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_is_columns_of_words() {
        let rows = [
            json!({ "id": "1", "clientId": "dyc_1", "scopes": ["read", "write"], "claims": {} }),
            json!({ "id": "22", "clientId": "dyc_2", "scopes": [], "expires_at": null }),
        ];
        assert_eq!(
            table_of_rows(&["id", "clientId", "scopes", "expires_at"], &rows),
            "ID  CLIENT ID  SCOPES       EXPIRES AT\n\
             1   dyc_1      read, write\n\
             22  dyc_2"
        );
    }

    #[test]
    fn an_object_shows_all_its_members_the_usual_ones_first() {
        let object = json!({ "a": 1, "name": "x", "id": "7", "nested": { "b": [1] } });
        assert_eq!(
            table_of_fields(fields(&object, &["id", "name", "absent"])),
            "id      7\nname    x\na       1\nnested  {\"b\":[1]}"
        );
    }

    #[test]
    fn nothing_that_somebody_wrote_steers_the_terminal() {
        let shown = cell(&json!("a\u{1b}[31m\nb\u{9b}c"));
        assert!(!shown.chars().any(char::is_control), "{shown:?}");
        let shown = cell(&json!([{ "a": "\u{1b}\u{9b}" }]));
        assert!(!shown.chars().any(char::is_control), "{shown:?}");
    }
}
