//! A certificate authority for one test: a server certificate for this machine and a client certificate for a peer.

use std::path::PathBuf;
use std::process::Command;

use super::{TempDir, require, run};

/// The server's certificate and key in one PKCS #12 file, as Java wants them.
pub const BUNDLE: &str = "server.p12";

/// What opens [`BUNDLE`].
pub const BUNDLE_PASSWORD: &str = "bundle-secret";

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
    for (name, subject, extensions) in [
        ("server", "/CN=localhost", "extendedKeyUsage=serverAuth\nsubjectAltName=DNS:localhost,IP:127.0.0.1\n"),
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
