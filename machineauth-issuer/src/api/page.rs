//! Paging of lists: by number, or by a cursor.

use std::str::FromStr;

use axum::extract::{FromRequestParts, Query};
use http::request::Parts;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::error::ApiError;
use crate::openapi::{BadRequest, DescribeRequest, Description};

/// The most objects in one answer.
pub const MAX_LIMIT: usize = 1000;
/// How many objects a page has when only its number is asked for.
const DEFAULT_LIMIT: usize = 20;
/// How deep numbered pages reach, in objects. A page's number says nothing about where it begins, so everything before it
/// is read; a cursor does.
pub const DEEPEST: usize = 10_000;

/// What a request says about paging. Without any of it the list begins at its start, with up to [`MAX_LIMIT`] objects.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
pub struct PageQuery {
    /// The number of a page, from 1. Numbered pages reach 10,000 objects deep.
    #[param(minimum = 1)]
    page: Option<usize>,
    /// How many objects at most. 20 for a numbered page, otherwise 1000.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Where the list goes on: `next_cursor` of the last answer.
    cursor: Option<String>,
}

/// Which objects of a list are wanted, counted from the cursor or from the list's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    start: usize,
    limit: usize,
}

/// Where a numbered page stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct Pagination {
    /// How many objects there are.
    total: u64,
    /// The page's number, from 1.
    page: usize,
    /// How many objects a page has.
    limit: usize,
    /// How many pages there are.
    total_pages: u64,
}

impl<S: Send + Sync> FromRequestParts<S> for PageQuery {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query = Query::<Self>::from_request_parts(parts, state).await;
        let Query(query) = query.map_err(|_| {
            ApiError::invalid(
                "page and limit: numbers; cursor: from the last answer; each at most once",
            )
        })?;
        Ok(query)
    }
}

impl DescribeRequest for PageQuery {
    fn describe(operation: &mut Description<'_>) {
        operation.query::<Self>().refuses::<BadRequest>();
    }
}

impl Page {
    /// How many objects come before the page.
    pub fn start(self) -> usize {
        self.start
    }

    /// How many objects the page has at most.
    pub fn limit(self) -> usize {
        self.limit
    }

    /// How many objects come before the end of the page.
    pub fn end(self) -> usize {
        self.start + self.limit
    }
}

impl PageQuery {
    /// Whether numbered pages were asked for.
    pub fn is_paged(&self) -> bool {
        self.page.is_some() || (self.limit.is_some() && self.cursor.is_none())
    }

    /// The same, with the first numbered page where nothing says where the list begins.
    #[must_use]
    pub fn or_first(self) -> Self {
        match (self.page, &self.cursor) {
            (None, None) => Self {
                page: Some(1),
                ..self
            },
            _ => self,
        }
    }

    /// The page that is asked for.
    ///
    /// # Errors
    /// Names the parameter that cannot be followed.
    pub fn page(&self) -> Result<Page, ApiError> {
        let limit = self.limit.unwrap_or(match self.page {
            Some(_) => DEFAULT_LIMIT,
            None => MAX_LIMIT,
        });
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(ApiError::invalid(format!("limit: 1 to {MAX_LIMIT}")));
        }
        let number = self.page.unwrap_or(1);
        if number == 0 {
            return Err(ApiError::invalid("page: from 1".to_owned()));
        }
        if self.page.is_some() && self.cursor.is_some() {
            return Err(ApiError::invalid(
                "page: not together with a cursor".to_owned(),
            ));
        }
        let start = (number - 1).saturating_mul(limit);
        if start.saturating_add(limit) > DEEPEST {
            return Err(ApiError::invalid(format!(
                "page: numbered pages reach {DEEPEST} objects deep; go on with next_cursor"
            )));
        }
        Ok(Page { start, limit })
    }

    /// Where the list is to go on.
    ///
    /// # Errors
    /// When the cursor is none of ours.
    pub fn cursor<T: FromStr>(&self) -> Result<Option<T>, ApiError> {
        let cursor = self.cursor.as_deref().map(str::parse).transpose();
        cursor.map_err(|_| ApiError::invalid("cursor: take it from the last answer".to_owned()))
    }

    /// Where the page stands among `total` objects, when numbered pages were asked for.
    pub fn pagination(&self, total: i64) -> Option<Pagination> {
        let page = self.page().ok().filter(|_| self.is_paged())?;
        let total = u64::try_from(total).unwrap_or(0);
        Some(Pagination {
            total,
            page: page.start / page.limit + 1,
            limit: page.limit,
            total_pages: total.div_ceil(page.limit as u64),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(page: Option<usize>, limit: Option<usize>) -> PageQuery {
        PageQuery {
            page,
            limit,
            cursor: None,
        }
    }

    #[test]
    fn pages_follow_each_other_without_a_gap() {
        let (first, second) = (
            query(Some(1), Some(7)).page(),
            query(Some(2), Some(7)).page(),
        );
        assert_eq!(first.unwrap().end(), second.unwrap().start());
    }

    #[test]
    fn a_page_that_cannot_be_is_refused() {
        for (page, limit) in [
            (Some(0), None),
            (None, Some(0)),
            (None, Some(MAX_LIMIT + 1)),
            (Some(501), Some(20)),
            (Some(usize::MAX), Some(MAX_LIMIT)),
        ] {
            assert!(query(page, limit).page().is_err(), "{page:?} {limit:?}");
        }
        assert!(query(Some(500), Some(20)).page().is_ok());
    }

    #[test]
    fn the_last_page_may_be_part_of_one() {
        let shown = query(Some(2), Some(10)).pagination(11).unwrap();
        assert_eq!((shown.page, shown.total_pages), (2, 2));
        assert!(query(None, None).pagination(11).is_none());
    }
}
