use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Response;
use machineauth_core::Challenge;
use pin_project_lite::pin_project;

use crate::body::{AnswerBody, answer};

pin_project! {
    /// Response future of a middleware that hands the request on, or answers it with a challenge.
    pub struct ResponseFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F> {
        Accepted {
            #[pin]
            future: F,
        },
        Refused {
            challenge: Box<Challenge>,
        },
    }
}

impl<F> ResponseFuture<F> {
    pub(crate) fn accepted(future: F) -> Self {
        let state = State::Accepted { future };
        Self { state }
    }

    pub(crate) fn refused(challenge: Box<Challenge>) -> Self {
        let state = State::Refused { challenge };
        Self { state }
    }
}

impl<F, ResBody, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<ResBody>, E>>,
    ResBody: AnswerBody,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Accepted { future } => future.poll(cx),
            StateProjection::Refused { challenge } => Poll::Ready(Ok(answer(challenge))),
        }
    }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
