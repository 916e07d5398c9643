//! What goes wrong, as data.

use std::time::Duration;

use crate::request::{RequestInfo, Verb};

/// What goes wrong between one client and its API server.
///
/// Every fault is decided by counting or by a hash of the seed and the request's number, never by a shared generator:
/// taking one fault out of a plan leaves the others where they were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultPlan {
    /// What the choices of [`When::Share`] depend on, beside the request's number.
    pub seed: u64,
    /// The faults. The first that applies to a request is what happens to it.
    pub faults: Vec<Fault>,
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The requests it is about.
    pub on: Requests,
    /// Which of those it hits.
    pub when: When,
    /// What it does to them.
    pub effect: Effect,
}

/// A set of requests. The default is every request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// The verbs; empty for all.
    pub verbs: Vec<Verb>,
    /// The resource, as in `pods` or `shops.example.com`.
    pub resource: Option<String>,
    /// The subresource, as in `status`; `""` for requests without one.
    pub subresource: Option<String>,
    /// The object's namespace.
    pub namespace: Option<String>,
    /// The object's name.
    pub name: Option<String>,
}

/// Which of the matching requests a fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// All of them.
    Always,
    /// One of them, counted from 1.
    Nth(u64),
    /// This many of a thousand, chosen by hash.
    Share {
        /// How many of a thousand.
        per_mille: u16,
    },
    /// Those sent in a span of time, counted from the making of the layer.
    Between {
        /// Its start, included.
        from: Duration,
        /// Its end, excluded.
        until: Duration,
    },
}

/// What a fault does to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The client dies before the request leaves it: nothing is written, and this and all later requests never end.
    /// [`Faults::crashed`](super::Faults::crashed) tells.
    CrashBefore,
    /// The request is carried out, then the client dies before it learns of it.
    CrashAfter,
    /// The request is carried out, and the client gets a connection error instead of the reply.
    LoseReply,
    /// 409, as if somebody else had been faster. Nothing is written.
    Conflict,
    /// 429 with `Retry-After`. Nothing is written.
    TooManyRequests {
        /// How long to wait, in whole seconds.
        retry_after: Duration,
    },
    /// 503 with `Retry-After`. Nothing is written.
    Unavailable {
        /// How long to wait, in whole seconds.
        retry_after: Duration,
    },
    /// 410 `Expired`, as a list or watch gets that asks for a version too old.
    Expired,
    /// A watch delivers nothing for this long after it was opened; then everything that was held back.
    Freeze {
        /// How long.
        length: Duration,
    },
    /// A watch ends after this many events, as when a connection breaks.
    CloseAfter {
        /// How many events come through.
        events: u64,
    },
    /// A watch sends an `ERROR` event with Status 410 after this many events, and ends.
    ExpireAfter {
        /// How many events come through.
        events: u64,
    },
}

impl FaultPlan {
    /// Nothing goes wrong.
    pub fn none() -> Self {
        Self::default()
    }

    /// The client dies before its `n`th write, counted from 1, reaches the API server.
    pub fn crash_before_write(n: u64) -> Self {
        Self::none().with(Requests::writes(), When::Nth(n), Effect::CrashBefore)
    }

    /// The client dies after its `n`th write, counted from 1, was applied.
    pub fn crash_after_write(n: u64) -> Self {
        Self::none().with(Requests::writes(), When::Nth(n), Effect::CrashAfter)
    }

    /// The same plan with one more fault.
    #[must_use]
    pub fn with(mut self, on: Requests, when: When, effect: Effect) -> Self {
        self.faults.push(Fault { on, when, effect });
        self
    }

    /// The same plan with other choices wherever a hash decides.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }
}

impl Requests {
    /// Every request.
    pub fn all() -> Self {
        Self::default()
    }

    /// Everything that may change something.
    pub fn writes() -> Self {
        Self::verbs(&[Verb::Create, Verb::Update, Verb::Patch, Verb::Delete, Verb::DeleteCollection])
    }

    /// Every watch.
    pub fn watches() -> Self {
        Self::verbs(&[Verb::Watch])
    }

    /// Every request with one of these verbs.
    pub fn verbs(verbs: &[Verb]) -> Self {
        Self { verbs: verbs.to_vec(), ..Self::default() }
    }

    /// Of these, those to a resource, as in `pods` or `shops.example.com`.
    #[must_use]
    pub fn of(self, resource: &str) -> Self {
        Self { resource: Some(resource.to_owned()), ..self }
    }

    /// Of these, those to a subresource, as in `status`; `""` for those without one.
    #[must_use]
    pub fn subresource(self, subresource: &str) -> Self {
        Self { subresource: Some(subresource.to_owned()), ..self }
    }

    /// Of these, those to objects of this name.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        Self { name: Some(name.to_owned()), ..self }
    }

    /// Whether a request is one of these.
    pub fn contains(&self, request: &RequestInfo) -> bool {
        let Self { verbs, resource, subresource, namespace, name } = self;
        let is = |wanted: &Option<String>, given: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| wanted == given.unwrap_or_default())
        };
        (verbs.is_empty() || verbs.contains(&request.verb))
            && is(resource, Some(&request.qualified_resource()))
            && is(subresource, request.subresource.as_deref())
            && is(namespace, request.namespace.as_deref())
            && is(name, request.name.as_deref())
    }
}
