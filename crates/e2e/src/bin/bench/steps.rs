//! How far claims had come when, as watches have shown it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use e2e::{Change, Log};
use k8s_openapi::api::core::v1::Pod;
use korder_api::{Ticket, names};
use kube::ResourceExt as _;

use crate::spread::Spread;

/// The steps of a claim, in their order.
pub(crate) const STEPS: [&str; 6] = ["made", "claimed", "nominated", "guardian gone", "ungated", "bound"];

/// When a pod was seen to have come how far.
#[derive(Clone, Copy, Debug, Default)]
struct Course([Option<Instant>; STEPS.len()]);

impl Course {
    fn reach(&mut self, step: usize, seen: Instant) {
        self.0[step].get_or_insert(seen);
    }

    /// How long each step took, beginning with the sending of the pod. What one watch shows earlier than another showed
    /// what came before it counts as nothing.
    fn durations(&self, sent: Instant) -> Option<[Duration; STEPS.len()]> {
        let mut before = sent;
        let mut durations = [Duration::ZERO; STEPS.len()];
        for (duration, seen) in durations.iter_mut().zip(self.0) {
            let seen = seen?;
            *duration = seen.saturating_duration_since(before);
            before = before.max(seen);
        }
        Some(durations)
    }
}

/// How long each of [`STEPS`] took, from the one before it, for the pods that were sent at these times.
pub(crate) fn of(
    pods: &Log<Pod>,
    tickets: &Log<Ticket>,
    sent: &BTreeMap<String, Instant>,
) -> anyhow::Result<[Spread; STEPS.len()]> {
    let mut courses: BTreeMap<&str, Course> = sent.keys().map(|name| (name.as_str(), Course::default())).collect();
    let mut claimed_by: BTreeMap<String, String> = BTreeMap::new();
    for event in tickets.events() {
        let Some(claim) = event.object.claim() else { continue };
        if let Some(course) = courses.get_mut(claim.name.as_str()) {
            course.reach(1, event.seen);
            claimed_by.insert(event.object.name_any(), claim.name.clone());
        }
    }
    for event in pods.events() {
        if let Some(course) = courses.get_mut(event.object.name_any().as_str()) {
            for (step, _) in reached(&event.object).into_iter().enumerate().filter(|(_, reached)| *reached) {
                course.reach(step, event.seen);
            }
        } else if event.change == Change::Deleted
            && let Some(ticket) = event.object.labels().get(names::LABEL_TICKET)
            && let Some(course) = claimed_by.get(ticket).and_then(|pod| courses.get_mut(pod.as_str()))
        {
            course.reach(3, event.seen);
        }
    }
    let mut durations: [Vec<Duration>; STEPS.len()] = Default::default();
    for (name, course) in courses {
        let took = course.durations(sent[name]);
        let took = took.with_context(|| format!("pod `{name}` was not seen to take every step: {course:?}"))?;
        durations.iter_mut().zip(took).for_each(|(all, one)| all.push(one));
    }
    let spreads = durations.into_iter().map(Spread::of).collect::<anyhow::Result<Vec<_>>>()?;
    spreads.try_into().ok().context("as many spreads as steps")
}

/// Which of [`STEPS`] a pod shows itself to have taken.
fn reached(pod: &Pod) -> [bool; STEPS.len()] {
    let spec = pod.spec.as_ref();
    let nominated = pod.status.as_ref().is_some_and(|status| status.nominated_node_name.is_some());
    let gated = spec.and_then(|spec| spec.scheduling_gates.as_ref()).is_some_and(|gates| !gates.is_empty());
    let bound = spec.is_some_and(|spec| spec.node_name.is_some());
    [true, false, nominated, false, !gated, bound]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_lasts_from_the_one_before_it() {
        let sent = Instant::now();
        let mut course = Course::default();
        for (step, at) in [5, 9, 8, 20, 21, 30].into_iter().enumerate() {
            course.reach(step, sent + Duration::from_millis(at));
            course.reach(step, sent + Duration::from_secs(1));
        }
        let millis = course.durations(sent).unwrap().map(|duration| duration.as_millis());
        assert_eq!(millis, [5, 4, 0, 11, 1, 9]);
    }

    #[test]
    fn a_course_with_a_gap_has_no_durations() {
        let mut course = Course::default();
        course.reach(0, Instant::now());
        assert!(course.durations(Instant::now()).is_none());
    }
}
