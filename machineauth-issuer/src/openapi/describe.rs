//! What types say about the operations that they are part of.

use std::future::Future;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::sse::Sse;
use axum::response::{NoContent, Response};
use http::request::Parts;
use http::{HeaderMap, StatusCode, Uri};
use utoipa::openapi::header::Header;
use utoipa::openapi::path::{Operation, Parameter, ParameterIn};
use utoipa::openapi::request_body::RequestBody;
use utoipa::openapi::{
    Components, Content, Object, Ref, RefOr, Required, Response as Answer, Schema,
    SecurityRequirement, Type,
};
use utoipa::{IntoParams, IntoResponses, ToSchema};

use super::refusals::BadRequest;
use super::schemas::without_nulls;

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const EVENT_STREAM: &str = "text/event-stream";

/// An extractor that says what it reads of a request, and how it refuses one.
pub trait DescribeRequest {
    /// Adds that to what is said about an operation. There may be nothing to say.
    fn describe(_operation: &mut Description<'_>) {}
}

/// A result that says which answers become of it.
pub trait DescribeAnswer {
    /// Adds them to what is said about an operation.
    fn describe(operation: &mut Description<'_>);
}

/// A handler whose arguments `A` and whose result say what it does.
pub trait Described<A> {
    /// Says it about the operation that the handler is for.
    fn describe(operation: &mut Description<'_>);
}

/// What is said about one operation so far.
#[derive(Debug)]
pub struct Description<'a> {
    pub(super) operation: &'a mut Operation,
    pub(super) components: &'a mut Components,
}

impl Description<'_> {
    /// A part of the path.
    pub fn path<T: ToSchema>(&mut self, name: &str, meaning: &str) -> &mut Self {
        let schema = T::schema();
        self.parameter(ParameterIn::Path, Required::True, name, meaning, schema)
    }

    /// A header that a request may have.
    pub fn header(&mut self, name: &str, meaning: &str) -> &mut Self {
        let text = RefOr::T(Object::with_type(Type::String).into());
        self.parameter(ParameterIn::Header, Required::False, name, meaning, text)
    }

    /// Parameters in the URL, one for each field of `T`.
    pub fn query<T: IntoParams>(&mut self) -> &mut Self {
        self.parameters(T::into_params(|| Some(ParameterIn::Query)))
    }

    /// A body of JSON.
    pub fn json_body<T: ToSchema>(&mut self, required: Required) -> &mut Self {
        self.collect::<T>(|_| ());
        let mut body = RequestBody::new();
        body.content.insert(JSON.to_owned(), content::<T>().into());
        body.required = Some(required);
        self.operation.request_body = Some(RefOr::T(body));
        self
    }

    /// A body of parameters: a form, or as JSON.
    pub fn form_body<T: ToSchema>(&mut self) -> &mut Self {
        self.collect::<T>(without_nulls);
        let mut body = RequestBody::new();
        for media_type in [FORM, JSON] {
            body.content
                .insert(media_type.to_owned(), content::<T>().into());
        }
        body.required = Some(Required::True);
        self.operation.request_body = Some(RefOr::T(body));
        self
    }

    /// How a caller can authenticate: one of these is enough.
    pub fn credentials(&mut self, schemes: &[&str]) -> &mut Self {
        let schemes = schemes
            .iter()
            .map(|scheme| SecurityRequirement::new(*scheme, [] as [&str; 0]));
        let security = self.operation.security.get_or_insert_default();
        security.extend(schemes);
        self
    }

    /// A success with a body of JSON.
    pub fn json_answer<T: ToSchema>(&mut self) -> &mut Self {
        self.collect::<T>(without_nulls);
        let mut answer = Answer::new(meaning::<T>());
        answer
            .content
            .insert(JSON.to_owned(), content::<T>().into());
        self.answer(StatusCode::OK, answer)
    }

    /// An answer, unless one of its status has been described.
    pub fn answer(&mut self, status: StatusCode, answer: Answer) -> &mut Self {
        let answers = &mut self.operation.responses.responses;
        answers
            .entry(status.as_str().to_owned())
            .or_insert(RefOr::T(answer));
        self
    }

    /// A header of the success.
    pub fn answer_header(&mut self, name: &str, meaning: &str) -> &mut Self {
        let answers = &mut self.operation.responses.responses;
        if let Some(RefOr::T(answer)) = answers.get_mut(StatusCode::OK.as_str()) {
            let mut header = Header::default();
            header.description = Some(meaning.to_owned());
            answer.headers.insert(name.to_owned(), RefOr::T(header));
        }
        self
    }

    /// The success has the status `status` instead of 200.
    pub fn succeeds_with(&mut self, status: StatusCode) -> &mut Self {
        let answers = &mut self.operation.responses.responses;
        if let Some(answer) = answers.remove(StatusCode::OK.as_str()) {
            answers.insert(status.as_str().to_owned(), answer);
        }
        self
    }

    /// A way to be refused, unless an answer of its status has been described.
    pub fn refuses<R: IntoResponses>(&mut self) -> &mut Self {
        let answers = &mut self.operation.responses.responses;
        for (status, answer) in R::responses() {
            answers.entry(status).or_insert(answer);
        }
        self
    }

    fn parameter(
        &mut self,
        location: ParameterIn,
        required: Required,
        name: &str,
        meaning: &str,
        schema: RefOr<Schema>,
    ) -> &mut Self {
        let mut parameter = Parameter::new(name);
        parameter.parameter_in = location;
        parameter.required = required;
        parameter.description = Some(meaning.to_owned());
        parameter.schema = Some(schema);
        self.parameters(vec![parameter])
    }

    fn parameters(&mut self, parameters: Vec<Parameter>) -> &mut Self {
        let all = self.operation.parameters.get_or_insert_default();
        for mut parameter in parameters {
            parameter.schema.iter_mut().for_each(without_nulls);
            all.push(RefOr::T(parameter));
        }
        self
    }

    /// Puts the schema of `T`, and those that it is made of, among the components.
    fn collect<T: ToSchema>(&mut self, adapt: fn(&mut RefOr<Schema>)) {
        let mut schemas = vec![(T::name().into_owned(), T::schema())];
        T::schemas(&mut schemas);
        for (name, mut schema) in schemas {
            adapt(&mut schema);
            self.components.schemas.insert(name, schema);
        }
    }
}

fn reference<T: ToSchema>() -> RefOr<Schema> {
    Ref::from_schema_name(T::name()).into()
}

fn content<T: ToSchema>() -> Content {
    Content::new(Some(reference::<T>()))
}

/// What `T` says of itself.
fn meaning<T: ToSchema>() -> String {
    let meaning = match T::schema() {
        RefOr::T(Schema::Object(object)) => object.description,
        RefOr::T(Schema::AllOf(all)) => all.description,
        _ => None,
    };
    meaning.unwrap_or_else(|| T::name().into_owned())
}

// What every handler may look at says nothing.
impl<S> DescribeRequest for State<S> {}
impl DescribeRequest for HeaderMap {}
impl DescribeRequest for Uri {}
impl DescribeRequest for Parts {}

impl<T: IntoParams> DescribeRequest for Path<T> {
    fn describe(operation: &mut Description<'_>) {
        operation.parameters(T::into_params(|| Some(ParameterIn::Path)));
    }
}

impl<T: IntoParams> DescribeRequest for Result<Query<T>, QueryRejection> {
    fn describe(operation: &mut Description<'_>) {
        operation.query::<T>().refuses::<BadRequest>();
    }
}

/// An answer that only its handler knows: its `#[utoipa::path]` says what it is.
impl DescribeAnswer for Response {
    fn describe(_: &mut Description<'_>) {}
}

impl<T: ToSchema> DescribeAnswer for Json<T> {
    fn describe(operation: &mut Description<'_>) {
        operation.json_answer::<T>();
    }
}

impl DescribeAnswer for NoContent {
    fn describe(operation: &mut Description<'_>) {
        operation.answer(StatusCode::NO_CONTENT, Answer::new("Done."));
    }
}

impl<S> DescribeAnswer for Sse<S> {
    fn describe(operation: &mut Description<'_>) {
        let mut answer = Answer::new("A stream of events.");
        let text = Content::new(Some(Object::with_type(Type::String)));
        answer.content.insert(EVENT_STREAM.to_owned(), text.into());
        operation.answer(StatusCode::OK, answer);
    }
}

impl<T: DescribeAnswer, E: DescribeAnswer> DescribeAnswer for Result<T, E> {
    fn describe(operation: &mut Description<'_>) {
        T::describe(operation);
        E::describe(operation);
    }
}

macro_rules! handlers_of {
    ($($argument:ident)*) => {
        impl<H, F, R, $($argument,)*> Described<($($argument,)*)> for H
        where
            H: Fn($($argument),*) -> F,
            F: Future<Output = R>,
            R: DescribeAnswer,
            $($argument: DescribeRequest,)*
        {
            fn describe(operation: &mut Description<'_>) {
                $(<$argument as DescribeRequest>::describe(operation);)*
                R::describe(operation);
            }
        }
    };
}

handlers_of!();
handlers_of!(A);
handlers_of!(A B);
handlers_of!(A B C);
handlers_of!(A B C D);
handlers_of!(A B C D E);
handlers_of!(A B C D E G);
