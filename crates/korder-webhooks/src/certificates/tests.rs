//! Years of renewals in virtual time, checked as an API server checks.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

use super::*;

const NAMES: [&str; 2] = ["korder-webhook.korder-system.svc", "127.0.0.1"];

/// Whether who trusts `bundle` accepts `serving` as the server `name`.
fn trusted(bundle: &str, serving: &Pair, name: &str, now: Timestamp) -> Result<(), rustls::Error> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        roots.add(root.unwrap()).unwrap();
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(ring::default_provider()));
    let certificate = CertificateDer::from_pem_slice(serving.certificate.as_bytes()).unwrap();
    let name = ServerName::try_from(name).unwrap();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(now.as_second().unsigned_abs()));
    verifier.build().unwrap().verify_server_cert(&certificate, &[], &name, &[], now).map(drop)
}

fn start() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

#[test]
fn what_is_made_serves_its_names_and_no_other() {
    let made = renew(None, &NAMES, start()).unwrap().renewed.unwrap();
    for name in NAMES {
        trusted(&made.bundle(), &made.serving, name, start()).unwrap();
    }
    assert!(trusted(&made.bundle(), &made.serving, "example.com", start()).is_err());
    assert!(trusted(&made.bundle(), &made.serving, NAMES[0], start() + SignedDuration::from_hours(91 * 24)).is_err());
}

#[test]
fn nothing_is_made_again_before_its_time() {
    let Renewal { renewed, again } = renew(None, &NAMES, start()).unwrap();
    let made = renewed.unwrap();
    let before = again - SignedDuration::from_hours(2);
    assert!(renew(Some(&made), &NAMES, before).unwrap().renewed.is_none());
    assert!(renew(Some(&made), &NAMES, again).unwrap().renewed.is_some());
}

#[test]
fn other_names_are_served_at_once() {
    let made = renew(None, &NAMES, start()).unwrap().renewed.unwrap();
    let renewed = renew(Some(&made), &["localhost"], start()).unwrap().renewed.unwrap();
    assert_eq!(renewed.bundle(), made.bundle());
    trusted(&renewed.bundle(), &renewed.serving, "localhost", start()).unwrap();
}

#[test]
fn what_cannot_be_read_is_made_anew() {
    let mut broken = renew(None, &NAMES, start()).unwrap().renewed.unwrap();
    broken.serving.certificate = "no certificate".to_owned();
    let made = renew(Some(&broken), &NAMES, start()).unwrap().renewed.unwrap();
    trusted(&made.bundle(), &made.serving, NAMES[0], start()).unwrap();
}

/// An API server that still has the bundle of some hours ago, and one that has today's, both trust the server.
#[test]
fn for_ten_years_the_server_is_trusted_also_by_yesterdays_bundle() {
    let step = SignedDuration::from_hours(7);
    let mut now = start();
    let mut present = renew(None, &NAMES, now).unwrap().renewed.unwrap();
    let (mut renewals, mut most_authorities) = (0, 0);
    while now < start() + SignedDuration::from_hours(10 * 365 * 24) {
        now += step;
        let Some(renewed) = renew(Some(&present), &NAMES, now).unwrap().renewed else { continue };
        renewals += 1;
        most_authorities = most_authorities.max(renewed.authorities.len());
        trusted(&renewed.bundle(), &renewed.serving, NAMES[0], now).unwrap();
        trusted(&present.bundle(), &renewed.serving, NAMES[0], now).unwrap();
        trusted(&renewed.bundle(), &present.serving, NAMES[0], now).unwrap();
        present = renewed;
    }
    assert_eq!(most_authorities, 2);
    assert!((70..120).contains(&renewals), "{renewals}");
}
