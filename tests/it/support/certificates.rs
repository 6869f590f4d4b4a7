//! A certificate authority for one test: a server certificate for this machine and a client certificate for a peer.

use std::path::PathBuf;
use std::process::Command;

use super::{TempDir, require, run};

/// The server's certificate and key in one PKCS #12 file, as Java wants them.
pub const BUNDLE: &str = "server.p12";

/// What opens [`BUNDLE`].
pub const BUNDLE_PASSWORD: &str = "bundle-secret";

/// Where the servers of the lab are.
const LAB: [&str; 3] = ["IP:198.18.0.1", "IP:198.18.0.2", "DNS:broker.test"];

/// Makes `ca.crt`, `server.crt`, `server.key`, `client.crt` and `client.key` in `dir`; the client's name is alice.
///
/// # Panics
/// When openssl is missing or fails.
pub fn make(dir: &TempDir) {
    let openssl = require("openssl", "openssl");
    let new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    run(Command::new(&openssl)
        .current_dir(dir.path())
        .args(["req", "-x509"])
        .args(new_key)
        .args(["-keyout", "ca.key", "-out", "ca.crt", "-days", "30", "-subj", "/CN=tring test authority"])
        .args(["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign"]));
    let hosts = LAB.map(|name| format!(",{name}")).concat();
    let server = format!("extendedKeyUsage=serverAuth\nsubjectAltName=DNS:localhost,IP:127.0.0.1{hosts}\n");
    for (name, subject, extensions) in [
        ("server", "/CN=localhost", server.as_str()),
        ("client", "/CN=alice", "extendedKeyUsage=clientAuth\nsubjectAltName=DNS:alice\n"),
    ] {
        let [key, request, certificate] = ["key", "csr", "crt"].map(|kind| format!("{name}.{kind}"));
        let extensions = dir.write(&format!("{name}.ext"), extensions);
        run(Command::new(&openssl)
            .current_dir(dir.path())
            .arg("req")
            .args(new_key)
            .args(["-keyout", &key, "-out", &request, "-subj", subject]));
        run(Command::new(&openssl)
            .current_dir(dir.path())
            .args(["x509", "-req", "-in", &request, "-out", &certificate, "-days", "30"])
            .args(["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-extfile"])
            .arg(extensions));
        readable(dir.file(&key));
    }
}

/// What is wrong with a server's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYet,
    /// It is for `elsewhere.example`.
    OtherName,
    /// It is its own authority, as `openssl req -x509` makes it, and `ca.crt` is this very certificate.
    SelfSigned,
}

/// Puts a certificate with a flaw in place of the one that [`make`] has made.
///
/// # Panics
/// When openssl is missing or fails.
pub fn spoil(dir: &TempDir, flaw: Flaw) {
    let openssl = || {
        let mut command = Command::new(require("openssl", "openssl"));
        command.current_dir(dir.path());
        command
    };
    let own = "subjectAltName=DNS:localhost,IP:127.0.0.1";
    let (names, dates) = match flaw {
        Flaw::Expired => (own, ["20200101000000Z", "20210101000000Z"]),
        Flaw::NotYet => (own, ["20480101000000Z", "20490101000000Z"]),
        Flaw::OtherName => ("subjectAltName=DNS:elsewhere.example", ["20200101000000Z", "20490101000000Z"]),
        Flaw::SelfSigned => {
            let subject = ["-subj", "/CN=localhost", "-addext", own];
            run(openssl()
                .args(["req", "-x509", "-key", "server.key", "-out", "server.crt", "-days", "30"])
                .args(subject));
            std::fs::copy(dir.file("server.crt"), dir.file("ca.crt")).unwrap();
            return;
        }
    };
    dir.write("flaw.ext", &format!("{names}\n"));
    dir.write("index.txt", "");
    dir.write("serial", "01\n");
    let config = "[ca]\ndefault_ca=own\n[own]\ndatabase=index.txt\nnew_certs_dir=.\nserial=serial\ndefault_md=sha256\n\
                  policy=names\n[names]\ncommonName=supplied\n";
    dir.write("ca.conf", config);
    run(openssl()
        .args(["ca", "-batch", "-notext", "-config", "ca.conf", "-in", "server.csr", "-out", "server.crt"])
        .args(["-cert", "ca.crt", "-keyfile", "ca.key", "-extfile", "flaw.ext"])
        .args(["-startdate", dates[0], "-enddate", dates[1]]));
}

/// Makes [`BUNDLE`] of what [`make`] has made.
///
/// # Panics
/// When openssl is missing or fails.
pub fn bundle(dir: &TempDir) {
    run(Command::new(require("openssl", "openssl"))
        .current_dir(dir.path())
        .args(["pkcs12", "-export", "-in", "server.crt", "-inkey", "server.key", "-out", BUNDLE])
        .arg("-passout")
        .arg(format!("pass:{BUNDLE_PASSWORD}")));
}

/// A daemon that drops its rights must still read its key; it is worth nothing outside this test.
fn readable(path: PathBuf) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).unwrap();
}
