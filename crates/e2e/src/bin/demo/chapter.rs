//! The chapters: what there is to tell, and on what it is told.

use futures::FutureExt as _;
use futures::future::LocalBoxFuture;

use crate::kepot;
use crate::order;
use crate::show::Show;
use crate::stage::Cluster;

/// A story that is told in a cluster of its own.
pub(crate) struct Chapter {
    /// How it is chosen.
    pub(crate) name: &'static str,
    /// What it is about.
    pub(crate) title: &'static str,
    /// The simulated nodes that it needs, as arguments of `korder up`.
    pub(crate) nodes: &'static str,
    /// Tells it; an error is a step that did not hold.
    pub(crate) tell: for<'a> fn(&'a mut Show, &'a Cluster) -> LocalBoxFuture<'a, anyhow::Result<()>>,
}

/// All chapters, in the order in which they are told.
pub(crate) const CHAPTERS: &[Chapter] = &[
    Chapter {
        name: "order",
        title: "capacity that is there before it is needed",
        nodes: order::NODES,
        tell: |show, cluster| order::tell(show, cluster).boxed_local(),
    },
    Chapter {
        name: "kepot",
        title: "what takes long to make, ready on the shelf",
        nodes: kepot::NODES,
        tell: |show, cluster| kepot::tell(show, cluster).boxed_local(),
    },
];

/// The name that stands for all chapters.
pub(crate) const ALL: &str = "all";

/// Every name that chooses chapters.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    CHAPTERS.iter().map(|chapter| chapter.name).chain([ALL])
}

/// The chapters that a name chooses.
pub(crate) fn chosen(name: &str) -> impl Iterator<Item = &'static Chapter> {
    CHAPTERS.iter().filter(move |chapter| name == ALL || name == chapter.name)
}
