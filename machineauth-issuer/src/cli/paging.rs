//! Lists that come in pages: all of them, as if they were one.

use clap::Args;
use serde_json::Value;

use super::client::with_query;
use super::connection::Session;
use super::failure::Failure;
use super::output::{Format, Noun, print, rows};

/// The most objects that the server gives at once by cursor.
const LARGEST_PAGE: usize = 1000;
/// The same by number.
const LARGEST_NUMBERED_PAGE: usize = 100;

/// How a list is taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paging {
    /// Each answer says where the next begins.
    Cursor,
    /// The pages have numbers.
    Numbered,
}

/// How much of a list is wanted.
#[derive(Debug, Args)]
pub(super) struct Limit {
    /// At most so many; all of them without it
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
}

/// Which part of a list is wanted, where it can begin anywhere.
#[derive(Debug, Args)]
pub(super) struct Part {
    #[command(flatten)]
    limit: Limit,
    /// Begin where an earlier list, cut off by --limit, says that it goes on
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
}

impl From<Limit> for Part {
    fn from(limit: Limit) -> Self {
        Self {
            limit,
            cursor: None,
        }
    }
}

/// Prints the list at `path`, page after page.
///
/// # Errors
/// When a page cannot be had, or printed.
pub(super) async fn list(
    session: &Session,
    noun: &Noun,
    paging: Paging,
    path: &str,
    filters: &[(&str, Option<&str>)],
    part: &Part,
) -> Result<(), Failure> {
    let Session { client, output } = session;
    let limit = part.limit.limit.map(|limit| limit as usize);
    let most = limit.unwrap_or(usize::MAX);
    let mut place = part.cursor.clone();
    let mut found: Vec<Value> = Vec::new();
    loop {
        let wanted = most - found.len();
        let size = paging.size(limit, wanted).map(|size| size.to_string());
        let [place_name, size_name] = paging.parameters();
        let mut query = filters.to_vec();
        query.extend([(place_name, place.as_deref()), (size_name, size.as_deref())]);
        let answer = client.get(&with_query(path, &query)).await?;
        let page = answer.json()?;
        let here = rows(noun, &page);
        let here = &here[..here.len().min(wanted)];
        let is_first = found.is_empty();
        // A pipe gets what there is at once, so that its reader can stop us early.
        if output.format == Format::Quiet {
            output.rows(noun, here)?;
        }
        found.extend_from_slice(here);
        place = paging.next(&page, place.as_deref(), found.len());
        let is_last = place.is_none() || here.is_empty() || found.len() >= most;
        match output.format {
            Format::Json if is_first && is_last && here.len() == rows(noun, &page).len() => {
                return print(&answer.text);
            }
            Format::Json if is_last => {
                return print(whole(page, noun, found));
            }
            Format::Table if is_last => {
                output.rows(noun, &found)?;
                if let (Paging::Cursor, Some(place)) = (paging, place) {
                    eprintln!("There are more: --cursor {place} goes on.");
                }
                return Ok(());
            }
            Format::Quiet if is_last => return Ok(()),
            Format::Json | Format::Table | Format::Quiet => {}
        }
    }
}

/// One answer in the form of the last page, with the objects of all pages.
fn whole(mut page: Value, noun: &Noun, found: Vec<Value>) -> Value {
    page[noun.many] = Value::Array(found);
    page
}

impl Paging {
    fn parameters(self) -> [&'static str; 2] {
        match self {
            Self::Cursor => ["cursor", "limit"],
            Self::Numbered => ["page", "pageSize"],
        }
    }

    /// How many objects to ask for. Numbered pages stay of one size, since the number counts from the list's start.
    fn size(self, limit: Option<usize>, wanted: usize) -> Option<usize> {
        match self {
            Self::Cursor => limit.map(|_| wanted.min(LARGEST_PAGE)),
            Self::Numbered => Some(limit.map_or(LARGEST_NUMBERED_PAGE, |limit| {
                limit.min(LARGEST_NUMBERED_PAGE)
            })),
        }
    }

    /// Where the list goes on after `page`, of which `found` objects are known with it.
    fn next(self, page: &Value, place: Option<&str>, found: usize) -> Option<String> {
        match self {
            Self::Cursor => page["next_cursor"].as_str().map(str::to_owned),
            Self::Numbered => {
                let number: u64 = place.map_or(Some(1), |place| place.parse().ok())?;
                let total = page["meta"]["total"].as_u64()?;
                (total > found as u64).then(|| (number + 1).to_string())
            }
        }
    }
}
