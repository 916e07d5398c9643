//! The certificates of the webhook: authorities that the API server trusts, and what the server shows.

mod issue;
mod plan;

use jiff::Timestamp;
use x509_parser::pem::Pem;

use plan::{Life, Plan, Seen, SeenServing};

/// A certificate and its private key, both as PEM. Not printable: it holds a secret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// All certificates of the webhook.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Certificates {
    /// One, or two while the next one replaces the other; the older one first.
    pub(crate) authorities: Vec<Pair>,
    /// What the server shows, signed by one of the authorities.
    pub(crate) serving: Pair,
}

/// What is to be done about the certificates now.
pub(crate) struct Renewal {
    /// Certificates to keep instead of the present ones.
    pub(crate) renewed: Option<Certificates>,
    /// When to ask again.
    pub(crate) again: Timestamp,
}

/// Why certificates could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a certificate for the webhook")]
pub struct CertificateError(#[from] rcgen::Error);

impl Certificates {
    /// All authorities as PEM, one after the other: what the API server is to trust.
    pub(crate) fn bundle(&self) -> String {
        self.authorities.iter().map(|authority| authority.certificate.as_str()).collect()
    }
}

/// Looks at the present certificates and makes what they lack, for a server of these names.
///
/// Certificates that can't be read are taken for missing.
pub(crate) fn renew(
    present: Option<&Certificates>,
    names: &[&str],
    now: Timestamp,
) -> Result<Renewal, CertificateError> {
    let present = present.and_then(|certificates| Some((certificates, inspect(certificates, names)?)));
    let (mut authorities, seen) = match &present {
        Some((certificates, seen)) => (certificates.authorities.clone(), seen.clone()),
        None => (Vec::new(), Seen::default()),
    };
    let Plan { expired, add, serve_by, again } = plan::plan(&seen, now);
    authorities.drain(..expired);
    if add {
        authorities.push(issue::authority(now)?);
    }
    let serving = match (serve_by, present) {
        (Some(index), _) => issue::serving(&authorities[index], names, now)?,
        (None, Some((certificates, _))) => certificates.serving.clone(),
        (None, None) => unreachable!("a plan for nothing issues everything"),
    };
    let changed = expired > 0 || add || serve_by.is_some();
    Ok(Renewal { renewed: changed.then_some(Certificates { authorities, serving }), again })
}

/// What a plan needs to know about certificates; none where one of them can't be read.
fn inspect(certificates: &Certificates, names: &[&str]) -> Option<Seen> {
    let mut authorities = Vec::new();
    let mut subjects = Vec::new();
    for authority in &certificates.authorities {
        let pem = pem(authority)?;
        let certificate = pem.parse_x509().ok()?;
        authorities.push(life(&certificate)?);
        subjects.push(certificate.subject().as_raw().to_vec());
    }
    let pem = pem(&certificates.serving)?;
    let certificate = pem.parse_x509().ok()?;
    let serving = SeenServing {
        life: life(&certificate)?,
        authority: subjects.iter().position(|subject| subject == certificate.issuer().as_raw()),
        fits: issue::has_names(&certificate, names),
    };
    Some(Seen { authorities, serving: Some(serving) })
}

fn pem(pair: &Pair) -> Option<Pem> {
    x509_parser::pem::parse_x509_pem(pair.certificate.as_bytes()).ok().map(|(_, pem)| pem)
}

fn life(certificate: &x509_parser::certificate::X509Certificate<'_>) -> Option<Life> {
    let validity = certificate.validity();
    Some(Life {
        from: Timestamp::from_second(validity.not_before.timestamp()).ok()?,
        to: Timestamp::from_second(validity.not_after.timestamp()).ok()?,
    })
}

#[cfg(test)]
mod tests;
