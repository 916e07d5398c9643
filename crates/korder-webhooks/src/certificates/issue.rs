//! Making certificates: P-256 keys, signed by an authority of our own.

use std::net::IpAddr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

use super::plan::{AUTHORITY_LIFE, SERVING_LIFE};
use super::{CertificateError, Pair};

/// Certificates begin this long before they are made, for clocks that are behind ours.
const BACKDATE: SignedDuration = SignedDuration::from_hours(1);

/// A new authority.
pub(super) fn authority(now: Timestamp) -> Result<Pair, CertificateError> {
    let mut params = CertificateParams::default();
    // Names differ, or a serving certificate would not tell which of two authorities signed it.
    params.distinguished_name.push(DnType::CommonName, format!("korder webhook authority {}", now.as_millisecond()));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_life(&mut params, now, AUTHORITY_LIFE);
    let key = KeyPair::generate()?;
    Ok(Pair { certificate: params.self_signed(&key)?.pem(), key: key.serialize_pem() })
}

/// A new serving certificate of these names, DNS names or addresses.
pub(super) fn serving(authority: &Pair, names: &[&str], now: Timestamp) -> Result<Pair, CertificateError> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, "korder webhook");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    set_life(&mut params, now, SERVING_LIFE);
    let issuer = Issuer::from_ca_cert_pem(&authority.certificate, KeyPair::from_pem(&authority.key)?)?;
    let key = KeyPair::generate()?;
    Ok(Pair { certificate: params.signed_by(&key, &issuer)?.pem(), key: key.serialize_pem() })
}

/// Whether a certificate is for exactly these names.
pub(super) fn has_names(certificate: &X509Certificate<'_>, names: &[&str]) -> bool {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return false };
    let found: Option<Vec<String>> = extension.value.general_names.iter().map(written).collect();
    found.is_some_and(|mut found| {
        let mut wanted = names.to_vec();
        found.sort();
        wanted.sort_unstable();
        found == wanted
    })
}

fn written(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(octets) => {
            let four = <[u8; 4]>::try_from(*octets).map(IpAddr::from);
            let sixteen = || <[u8; 16]>::try_from(*octets).map(IpAddr::from);
            four.or_else(|_| sixteen()).ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

fn set_life(params: &mut CertificateParams, now: Timestamp, life: SignedDuration) {
    // Certificates know whole seconds; `now` is after 1970.
    let since_epoch = |at: Timestamp| Duration::from_secs(u64::try_from(at.as_second()).unwrap_or_default());
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since_epoch(now - BACKDATE);
    params.not_after = epoch + since_epoch(now + life);
}
