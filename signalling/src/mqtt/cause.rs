//! What the failures of TLS and of this machine mean: a cause and an advice for people, never a library's own words.

use std::io;

use network::system_error::{OUT_OF_FILES, OUT_OF_FILES_FIX, TOO_MANY_FILES, out_of_files, without_number};
use rustls::{AlertDescription, CertificateError, Error};

use super::TlsFiles;

/// Nothing listens on the port.
pub(super) const CONNECTION_REFUSED: &str = "connection refused";

/// How a text begins that tells of a proxy.
pub(super) const PROXY: &str = "the proxy ";

/// How a text begins that says that names are not looked up.
pub(super) const NO_NAME_SERVER: &str = "no answer from the name server";

/// Why something failed, and what to do about it. Neither ends with a full stop; the advice has no semicolon in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// What was seen.
    pub cause: String,
    /// What to try.
    pub fix: String,
}

impl Cause {
    fn new(cause: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { cause: cause.into(), fix: fix.into() }
    }

    /// What an error of TLS with the broker at `host` means, where `files` say what we trust and what we show.
    #[must_use]
    pub fn of_tls(error: &Error, host: &str, files: &TlsFiles) -> Self {
        match error {
            Error::InvalidCertificate(reason) => certificate(reason, host, files),
            Error::AlertReceived(alert) => alerted(*alert, host, files),
            Error::InvalidMessage(_) => Self::no_tls(),
            Error::PeerIncompatible(_) => Self::new(
                "the broker has no version or no cipher of TLS in common with us",
                "let the broker speak TLS 1.2 or 1.3",
            ),
            Error::PeerMisbehaved(_) => Self::new(
                "the broker does not keep to the rules of TLS",
                "is a proxy in between? Look at the broker's log",
            ),
            Error::NoCertificatesPresented => {
                Self::new("the broker shows no certificate", "give the broker a certificate")
            }
            other => Self::new(format!("TLS says {}", in_words(&other.to_string())), "look at the broker's log"),
        }
    }

    /// The same of another server than a broker: what it is, as `the TURN server`, and the option that names it.
    #[must_use]
    pub fn of_another_server(self, server: &str, option: &str) -> Self {
        let reworded = |text: String| text.replace("--broker", option).replace("the broker", server);
        Self { cause: reworded(self.cause), fix: reworded(self.fix) }
    }

    /// Something else than TLS answers.
    #[must_use]
    pub fn no_tls() -> Self {
        Self::new("what answers there does not speak TLS", "try another port, or mqtt:// (ws://) without TLS")
    }

    /// The connection was closed before TLS was up, without a word.
    #[must_use]
    pub fn closed_in_handshake() -> Self {
        Self::new(
            "the broker closed the connection before TLS was up",
            "is this its port for TLS, and does it want a client certificate (--cert, --key)?",
        )
    }
}

fn certificate(reason: &CertificateError, host: &str, files: &TlsFiles) -> Cause {
    match reason {
        CertificateError::UnknownIssuer => unknown_issuer(files),
        CertificateError::BadSignature => {
            let (cause, fix) = (
                "its certificate was not signed by the authority of that name that is trusted here",
                "is --ca-file the PEM file of the authority that signed the broker's certificate?",
            );
            Cause::new(cause, fix)
        }
        CertificateError::Expired => expired(""),
        CertificateError::ExpiredContext { time, not_after } => {
            expired(&ago(time.as_secs().saturating_sub(not_after.as_secs())))
        }
        CertificateError::NotValidYet => not_valid_yet(""),
        CertificateError::NotValidYetContext { time, not_before } => {
            not_valid_yet(&ahead(not_before.as_secs().saturating_sub(time.as_secs())))
        }
        CertificateError::NotValidForName => other_name(host, &[]),
        CertificateError::NotValidForNameContext { presented, .. } => other_name(host, presented),
        CertificateError::Revoked => Cause::new("its certificate was revoked", "give the broker another certificate"),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => Cause::new(
            "its certificate is not one for servers",
            "give the broker a certificate with extendedKeyUsage=serverAuth, or without that extension",
        ),
        CertificateError::BadEncoding => {
            Cause::new("its certificate cannot be read", "give the broker another certificate")
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => Cause::new(
            "its certificate is signed in a way that is not known here, or not safe any more",
            "give the broker a certificate that is signed with ECDSA, or RSA and SHA-256",
        ),
        other => other_fault(&other.to_string()),
    }
}

/// What the checking of certificates says by a name alone.
fn other_fault(name: &str) -> Cause {
    // A certificate that `openssl req -x509` makes is one of an authority.
    if name.contains("CaUsedAsEndEntity") {
        return Cause::new(
            "its certificate is one of an authority (CA:TRUE), and an authority may not stand for a server",
            "give the broker a certificate with basicConstraints=CA:FALSE: one that this authority has signed, or a \
             self-signed one as its own --ca-file",
        );
    }
    if name.contains("UnsupportedCertVersion") {
        return Cause::new(
            "its certificate is of an old version without extensions",
            "give the broker one of version 3, with a subjectAltName",
        );
    }
    Cause::new(format!("its certificate is not accepted: {}", in_words(name)), "give the broker another certificate")
}

fn unknown_issuer(files: &TlsFiles) -> Cause {
    match &files.ca {
        Some(path) => Cause::new(
            format!("its certificate is not of the authority in {}", path.display()),
            "is --ca-file the PEM file of the authority that signed it, and does the broker send the certificates in \
             between?",
        ),
        None => Cause::new(
            "its certificate is of an authority that is not trusted here",
            "pass the authority's certificate by --ca-file, if you trust it",
        ),
    }
}

fn expired(when: &str) -> Cause {
    let cause = format!("its certificate has expired{when}, by this machine's clock");
    Cause::new(cause, "renew it at the broker, or set this machine's clock")
}

fn not_valid_yet(when: &str) -> Cause {
    let cause = format!("its certificate is not valid yet{when}, by this machine's clock");
    Cause::new(cause, "set this machine's clock, or the one of whoever made the certificate")
}

fn other_name(host: &str, presented: &[String]) -> Cause {
    if presented.is_empty() {
        return Cause::new(
            format!("its certificate is not for {host:?}: it names no host in a subjectAltName"),
            format!("give the broker a certificate whose subjectAltName has {host:?}"),
        );
    }
    let names = presented.iter().map(|name| bare(name)).collect::<Vec<&str>>().join(", ");
    Cause::new(
        format!("its certificate is not for {host:?}, but for {names}"),
        format!("name the broker by one of these in --broker, or give it a certificate for {host:?}"),
    )
}

/// The name in `DnsName("localhost")` or `IpAddress(127.0.0.1)`.
fn bare(name: &str) -> &str {
    let inner = name.split_once('(').map_or(name, |(_, inner)| inner.strip_suffix(')').unwrap_or(inner));
    inner.trim_matches('"')
}

fn alerted(alert: AlertDescription, host: &str, files: &TlsFiles) -> Cause {
    use AlertDescription as Alert;
    let shown = files.client.as_ref().map(|(certificate, _)| certificate.display());
    match (alert, shown) {
        (Alert::CertificateRequired, _) => {
            Cause::new("the broker asks for a client certificate", "pass --cert and --key")
        }
        (Alert::CertificateExpired, Some(path)) => {
            Cause::new(format!("the broker says that our certificate {path} has expired"), "pass a newer --cert")
        }
        (Alert::CertificateRevoked, Some(path)) => {
            Cause::new(format!("the broker says that our certificate {path} was revoked"), "pass another --cert")
        }
        (Alert::UnknownCA, Some(path)) => Cause::new(
            format!("the broker does not know the authority of our certificate {path}"),
            "pass a --cert that an authority of the broker has signed",
        ),
        (
            Alert::BadCertificate
            | Alert::CertificateUnknown
            | Alert::UnsupportedCertificate
            | Alert::DecryptError
            | Alert::AccessDenied
            | Alert::HandshakeFailure,
            Some(path),
        ) => Cause::new(
            format!("the broker does not accept our certificate {path}"),
            "is it one for clients, signed by an authority of the broker, and is --key its key?",
        ),
        (Alert::HandshakeFailure, None) => Cause::new(
            "the broker refuses the handshake: it wants a client certificate, or has no cipher in common with us",
            "pass --cert and --key if it wants them, else look at its log",
        ),
        (Alert::ProtocolVersion, _) => {
            Cause::new("the broker speaks an older TLS alone", "let the broker speak TLS 1.2 or 1.3")
        }
        (Alert::UnrecognisedName, _) => Cause::new(
            format!("the broker serves no host {host:?}"),
            "name the broker in --broker by the name that its certificate has",
        ),
        (alert, _) => Cause::new(
            format!("the broker refuses TLS with us: {}", in_words(&format!("{alert:?}"))),
            "look at the broker's log",
        ),
    }
}

/// ` 3 days ago`, for the end of a clause.
fn ago(seconds: u64) -> String {
    format!(" {} ago", length(seconds))
}

fn ahead(seconds: u64) -> String {
    format!(", for another {}", length(seconds))
}

fn length(seconds: u64) -> String {
    let (count, unit) = match seconds {
        0..7200 => (seconds.div_ceil(60), "minute"),
        7200..172_800 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

/// A name in the way of programs (`CaUsedAsEndEntity`) in the way of people (`ca used as end entity`).
pub(super) fn in_words(name: &str) -> String {
    let mut words = String::new();
    let mut after_letter = false;
    for c in name.chars() {
        match c {
            '_' | '(' | ')' | '{' | '}' | '"' | '`' | '[' | ']' => {
                words.push(' ');
                after_letter = false;
            }
            c if c.is_control() => {}
            c if c.is_uppercase() && after_letter => {
                words.push(' ');
                words.extend(c.to_lowercase());
            }
            c => {
                words.extend(c.to_lowercase());
                after_letter = c.is_lowercase() || c.is_ascii_digit();
            }
        }
    }
    words.split_whitespace().collect::<Vec<&str>>().join(" ")
}

/// What went wrong on this machine or on the way, without the library's number behind it.
pub(super) fn of_io(error: &io::Error) -> String {
    use io::ErrorKind as Kind;
    let text = error.to_string();
    // A name server cannot be asked without a socket.
    if error.raw_os_error() == Some(TOO_MANY_FILES) || (is_lookup(&text) && has_no_file_left()) {
        return out_of_files();
    }
    match error.kind() {
        Kind::ConnectionRefused => CONNECTION_REFUSED.to_owned(),
        Kind::ConnectionReset | Kind::BrokenPipe => "connection reset".to_owned(),
        Kind::ConnectionAborted | Kind::UnexpectedEof => "the broker closed the connection".to_owned(),
        Kind::TimedOut => "no answer".to_owned(),
        _ if is_lookup(&text) => format!("its name has no address ({})", plain_tail(&text)),
        _ => without_number(&text),
    }
}

fn is_lookup(text: &str) -> bool {
    text.starts_with("failed to lookup address information")
}

fn plain_tail(text: &str) -> String {
    let tail = text.split_once(": ").map_or(text, |(_, tail)| tail);
    in_words(tail)
}

fn has_no_file_left() -> bool {
    let opened = std::net::UdpSocket::bind((std::net::Ipv4Addr::LOCALHOST, 0));
    opened.is_err_and(|error| error.raw_os_error() == Some(TOO_MANY_FILES))
}

/// What to do about a broker that is not reached for this reason.
pub(super) fn advice(reason: &str) -> &'static str {
    if reason.contains(OUT_OF_FILES) {
        OUT_OF_FILES_FIX
    } else if reason.contains(PROXY) && reason.contains("wants a login") {
        "put user and password into the URL of the proxy, as in SCHEME://USER:PASSWORD@HOST:PORT"
    } else if reason.contains(PROXY) {
        "are HTTPS_PROXY and ALL_PROXY right? A host that is reached without a proxy belongs into NO_PROXY"
    } else if reason.contains(NO_NAME_SERVER) {
        "does this machine have a network, and does its name server answer?"
    } else if reason.contains("its name has no address") {
        "is the name in --broker spelled right, and does this machine have a name server?"
    } else {
        "is it running, and is --broker right?"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(error: Error) -> Cause {
        Cause::of_tls(&error, "broker.example", &TlsFiles::default())
    }

    #[test]
    fn faults_of_a_certificate_are_told_apart() {
        let says = |reason: CertificateError, cause: &str, fix: &str| {
            let told = of(Error::InvalidCertificate(reason));
            assert!(told.cause.contains(cause) && told.fix.contains(fix), "{told:?}");
            assert!(!told.fix.contains("; ") && !told.cause.contains("; "), "one semicolon parts cause and advice");
        };
        let at = |seconds| rustls::pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        let day = 24 * 3600;
        let expired = CertificateError::ExpiredContext { time: at(10 * day), not_after: at(7 * day) };
        says(expired, "has expired 3 days ago", "renew it");
        let early = CertificateError::NotValidYetContext { time: at(7 * day), not_before: at(7 * day + 3600) };
        says(early, "not valid yet, for another 60 minutes", "clock");
        let other = |presented: &[&str]| CertificateError::NotValidForNameContext {
            expected: "broker.example".try_into().unwrap(),
            presented: presented.iter().map(ToString::to_string).collect(),
        };
        let presented = ["DnsName(\"localhost\")", "IpAddress(127.0.0.1)"];
        says(other(&presented), "not for \"broker.example\", but for localhost, 127.0.0.1", "one of these");
        says(other(&[]), "names no host", "subjectAltName");
        says(CertificateError::UnknownIssuer, "not trusted here", "--ca-file");
        says(CertificateError::BadSignature, "not signed by", "--ca-file");
    }

    #[test]
    fn a_name_of_a_library_becomes_words() {
        assert_eq!(in_words("CaUsedAsEndEntity"), "ca used as end entity");
        assert_eq!(in_words("Other(OtherError(\"NoWay\"))"), "other other error no way");
        assert_eq!(in_words("no answer"), "no answer");
        let told = other_fault("CaUsedAsEndEntity");
        assert!(told.fix.contains("CA:FALSE"), "{told:?}");
        let told = other_fault("PathLenConstraintViolated");
        assert!(told.cause.ends_with("path len constraint violated"), "{told:?}");
    }

    #[test]
    fn alerts_depend_on_what_we_show() {
        let alert = |alert, files: &TlsFiles| Cause::of_tls(&Error::AlertReceived(alert), "h", files);
        let nothing = TlsFiles::default();
        let shown = TlsFiles { client: Some(("a.crt".into(), "a.key".into())), ..TlsFiles::default() };
        for kind in [AlertDescription::CertificateRequired, AlertDescription::HandshakeFailure] {
            assert!(alert(kind, &nothing).fix.contains("--cert and --key"));
        }
        assert!(alert(AlertDescription::UnknownCA, &shown).cause.contains("authority of our certificate a.crt"));
        assert!(alert(AlertDescription::CertificateExpired, &shown).cause.contains("a.crt has expired"));
        assert!(alert(AlertDescription::InternalError, &shown).cause.ends_with("internal error"));
    }

    #[test]
    fn errors_of_this_machine_say_what_to_do() {
        let told = of_io(&io::Error::from_raw_os_error(TOO_MANY_FILES));
        assert!(told.starts_with("too many open files (limit "), "{told}");
        assert!(advice(&told).contains("ulimit -n"));
        assert_eq!(of_io(&io::ErrorKind::ConnectionRefused.into()), "connection refused");
        let told = of_io(&io::Error::from_raw_os_error(113));
        assert_eq!(told, "No route to host", "without the number");
        let unknown = io::Error::other("failed to lookup address information: Name or service not known");
        assert!(advice(&of_io(&unknown)).contains("spelled right"), "{}", of_io(&unknown));
    }
}
