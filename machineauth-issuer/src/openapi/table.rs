//! The table of paths: what is in it is routed and described, and nothing else is.

use std::collections::BTreeSet;

use axum::Router;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::{OpenApi, Tag};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use super::describe::{Described, Description};
use super::refusals::{BadRequest, Forbidden, Timeout, TooManyRequests};
use super::schemas::without_nulls;

/// Paths with their handlers, in sections.
#[derive(Debug)]
pub struct Table<S> {
    router: OpenApiRouter<S>,
    section: Option<&'static str>,
    operation_ids: BTreeSet<String>,
}

/// A handler, and what its types say about it.
#[derive(Debug)]
pub struct Entry<S> {
    /// Where the handler is in the source.
    name: &'static str,
    routed: UtoipaMethodRouter<S>,
    describe: fn(&mut Description<'_>),
}

/// The handlers of one path, each of which has a `#[utoipa::path]`.
macro_rules! handlers {
    ($($($segment:ident)::+),+ $(,)?) => {
        [$($crate::openapi::Entry::new(
            stringify!($($segment)::+),
            utoipa_axum::routes!($($segment)::+),
            &$($segment)::+,
        )),+]
    };
}
pub(crate) use handlers;

impl<S> Entry<S> {
    /// The handler `handler`, which is called `name` and routed as `routed`.
    pub fn new<A, H: Described<A>>(
        name: &'static str,
        routed: UtoipaMethodRouter<S>,
        _handler: &H,
    ) -> Self {
        Self {
            name,
            routed,
            describe: H::describe,
        }
    }
}

impl<S: Clone + Send + Sync + 'static> Table<S> {
    /// An empty table, which goes on with the description `so_far`.
    pub fn new(so_far: OpenApi) -> Self {
        Self {
            router: OpenApiRouter::with_openapi(so_far),
            section: None,
            operation_ids: BTreeSet::new(),
        }
    }

    /// Begins a section: what follows belongs to it.
    #[must_use]
    pub fn section(mut self, name: &'static str, meaning: &str) -> Self {
        self.section = Some(name);
        let mut tag = Tag::new(name);
        tag.description = Some(meaning.to_owned());
        let tags = &mut self.router.get_openapi_mut().tags;
        tags.get_or_insert_default().push(tag);
        self
    }

    /// Lets `handlers` answer at `path`.
    #[must_use]
    pub fn at<const N: usize>(mut self, path: &str, handlers: [Entry<S>; N]) -> Self {
        for entry in handlers {
            let (mut schemas, mut paths, methods) = entry.routed;
            for (_, schema) in &mut schemas {
                without_nulls(schema);
            }
            let (_, mut item) = paths.paths.pop_first().expect("every handler has a path");
            for (method, operation) in operations(&mut item) {
                let id = operation_id(&mut self.operation_ids, entry.name, method, path);
                operation.operation_id = Some(id);
                operation.tags = self.section.map(|section| vec![section.to_owned()]);
                self.describe(operation, entry.describe);
            }
            paths.paths.insert(path.to_owned(), item);
            self.router = self.router.routes((schemas, paths, methods));
        }
        self
    }

    fn describe(&mut self, operation: &mut Operation, describe: fn(&mut Description<'_>)) {
        let document = self.router.get_openapi_mut();
        let mut description = Description {
            operation,
            components: document.components.get_or_insert_default(),
        };
        describe(&mut description);
        // What happens before any handler.
        description
            .refuses::<BadRequest>()
            .refuses::<Forbidden>()
            .refuses::<Timeout>()
            .refuses::<TooManyRequests>();
    }

    /// What routes requests, and what is to be said about it.
    pub fn split(self) -> (Router<S>, OpenApi) {
        self.router.split_for_parts()
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    [
        ("get", item.get.as_mut()),
        ("post", item.post.as_mut()),
        ("patch", item.patch.as_mut()),
        ("put", item.put.as_mut()),
        ("delete", item.delete.as_mut()),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation?)))
}

/// A name for an operation: its handler's, and where that does more than one thing, with the method or even the path.
fn operation_id(taken: &mut BTreeSet<String>, name: &str, method: &str, path: &str) -> String {
    let mut words: Vec<_> = name.split("::").map(str::trim).collect();
    words.dedup();
    let name = words.join("_");
    let path: Vec<_> = path
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    let names = [
        name.clone(),
        format!("{name}_{method}"),
        format!("{name}_{method}_{}", path.join("_")),
    ];
    let free = names.into_iter().find(|name| !taken.contains(name));
    let id = free.expect("no path has the same handler twice");
    taken.insert(id.clone());
    id
}
