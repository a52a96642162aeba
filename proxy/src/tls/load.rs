//! Certificates, keys and lists from files or the document, with refusals that name the file.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use leno_model::invalid::Invalid;
use leno_model::tls::DataSource;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

/// The largest file that is read; the bundles of operating systems have a quarter of a MiB.
const MAX_SIZE: u64 = 4 << 20;

/// At least one certificate.
pub(super) fn certificates(source: &DataSource) -> Result<Vec<CertificateDer<'static>>, Invalid> {
    let found: Vec<_> = all(source)?;
    if found.is_empty() {
        return Err(refusal(source, "holds no certificate in PEM"));
    }
    Ok(found)
}

/// The one private key.
pub(super) fn key(source: &DataSource) -> Result<PrivateKeyDer<'static>, Invalid> {
    let bytes = read(source)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
        pem::Error::NoItemsFound => refusal(source, "holds no private key in PEM that is not encrypted"),
        error => refusal(source, &format!("is not well-formed PEM: {error}")),
    })
}

/// Revocation lists; there may be none.
pub(super) fn lists(source: &DataSource) -> Result<Vec<CertificateRevocationListDer<'static>>, Invalid> {
    all(source)
}

/// What is wrong with what a source holds, with the file's name.
pub(super) fn refusal(source: &DataSource, reason: &str) -> Invalid {
    match source {
        DataSource::File(path) => Invalid::new("filename", format!("{} {reason}", path.display())),
        DataSource::Inline(_) => Invalid::new("", format!("it {reason}")),
    }
}

fn all<T: PemObject>(source: &DataSource) -> Result<Vec<T>, Invalid> {
    let bytes = read(source)?;
    let found: Result<_, pem::Error> = T::pem_slice_iter(&bytes).collect();
    found.map_err(|error| refusal(source, &format!("is not well-formed PEM: {error}")))
}

fn read(source: &DataSource) -> Result<Vec<u8>, Invalid> {
    match source {
        DataSource::Inline(bytes) => Ok(bytes.to_vec()),
        DataSource::File(path) => {
            read_file(path).map_err(|error| refusal(source, &format!("cannot be read: {error}")))
        }
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    // Opening a directory succeeds, and reading a pipe may never end.
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Err("it is no regular file".to_owned());
    }
    let mut bytes = Vec::new();
    let read = file.take(MAX_SIZE + 1).read_to_end(&mut bytes);
    read.map_err(|error| error.to_string())?;
    if bytes.len() as u64 > MAX_SIZE {
        return Err(format!("it is larger than {} MiB", MAX_SIZE >> 20));
    }
    Ok(bytes)
}
