//! Encrypted connections, with the program as client and a server in this process.

#[path = "../../../tests/common/mod.rs"]
mod common;
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use lanner::{CollectionConfig, Database, Metric, VectorField};
use lanner_server::{KeyRing, Role, ServerConfig, Tls, TlsFiles, serve};
use support::server::ServerProcess;
use tokio::net::TcpListener;

const KEY: &str = "0123456789abcdef";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls").join(name)
}

/// What `lanner list` says of a server, and whether it succeeded.
fn list(address: &str, arguments: &[&str], key: Option<&str>) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lanner"));
    command.args(["list", "--server", address]).args(arguments).env_remove("LANNER_API_KEY");
    if let Some(key) = key {
        command.env("LANNER_API_KEY", key);
    }
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    /// Certificate and key of a server, which can be replaced.
    fn new(name: &str) -> Self {
        let files = Self { folder: tempfile::tempdir().unwrap() };
        files.become_those_of(name);
        files
    }

    fn become_those_of(&self, name: &str) {
        for kind in ["pem", "key"] {
            let to = self.folder.path().join(format!("tls.{kind}"));
            fs::copy(fixture(&format!("{name}.{kind}")), to).unwrap();
        }
    }

    fn tls(&self, client_ca: Option<PathBuf>) -> Tls {
        let path = |kind: &str| self.folder.path().join(format!("tls.{kind}"));
        let files = TlsFiles { certificate: path("pem"), private_key: path("key"), client_ca };
        Tls::new(files).unwrap()
    }
}

async fn start(tls: Arc<Tls>) -> (String, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let config = CollectionConfig::new().with_field("v", VectorField::single(1, Metric::Dot));
    database.create_collection("books", config).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let keys = KeyRing::new(&[("test", KEY, Role::ReadWrite)], None).unwrap();
    let (keys, tls) = (Some(Arc::new(keys)), Some(tls));
    let config = ServerConfig { keys, tls, ..ServerConfig::default() };
    tokio::spawn(serve(Arc::new(database), listener, config, std::future::pending()));
    (address, folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_encrypted_and_certificates_renewed() {
    let files = Files::new("server");
    let tls = Arc::new(files.tls(None));
    let (address, _folder) = start(tls.clone()).await;
    let (ca, other) = (fixture("ca.pem"), fixture("other-ca.pem"));
    let (ca, other) = (ca.to_str().unwrap(), other.to_str().unwrap());
    let (done, text) = list(&address, &["--ca", ca], Some(KEY));
    assert!(done && text.contains("books"), "{text}");
    let (done, text) = list(&address, &["--ca", ca, "--api-key", "wrong-wrong-wrong"], Some(KEY));
    assert!(!done && text.contains("Unauthenticated"), "{text}");
    assert!(!list(&address, &["--ca", other], Some(KEY)).0);
    assert!(!list(&address, &[], Some(KEY)).0, "plain text");

    files.become_those_of("renewed");
    tls.reload().unwrap();
    assert!(!list(&address, &["--ca", ca], Some(KEY)).0);
    assert!(list(&address, &["--ca", other], Some(KEY)).0);
    // What is broken changes nothing.
    fs::write(files.folder.path().join("tls.pem"), "").unwrap();
    assert!(tls.reload().is_err());
    assert!(list(&address, &["--ca", other], Some(KEY)).0);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_show_certificates_where_they_have_to() {
    let files = Files::new("server");
    let (address, _folder) = start(Arc::new(files.tls(Some(fixture("ca.pem"))))).await;
    let path = |name: &str| fixture(name).to_str().unwrap().to_owned();
    let (ca, certificate, key) = (path("ca.pem"), path("client.pem"), path("client.key"));
    let shown = ["--ca", &ca, "--client-cert", &certificate, "--client-key", &key];
    let (done, text) = list(&address, &shown, Some(KEY));
    assert!(done && text.contains("books"), "{text}");
    assert!(!list(&address, &shown, None).0, "a certificate is no key");
    assert!(!list(&address, &["--ca", &ca], Some(KEY)).0);
    // Of another root.
    let (certificate, key) = (path("renewed.pem"), path("renewed.key"));
    let foreign = ["--ca", &ca, "--client-cert", &certificate, "--client-key", &key];
    assert!(!list(&address, &foreign, Some(KEY)).0);
}

#[test]
fn other_machines_are_let_in_with_keys_and_tls_or_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("db");
    let refused = |arguments: &[&str], key: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lanner"));
        command.args(["serve", "--address", "0.0.0.0:0", "--data"]).arg(&data).args(arguments);
        command.env_remove("LANNER_API_KEY").env_remove("LANNER_READ_ONLY_API_KEY");
        if let Some(key) = key {
            command.env("LANNER_API_KEY", key);
        }
        let output = command.output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let text = refused(&[], None);
    assert!(
        text.contains("expected an API key") && text.contains("--insecure-without-key"),
        "{text}"
    );
    assert!(refused(&["--insecure-without-tls"], None).contains("expected an API key"));
    let text = refused(&[], Some(KEY));
    assert!(text.contains("a certificate") && text.contains("--insecure-without-tls"), "{text}");
    assert!(refused(&["--insecure-without-key"], None).contains("a certificate"));
    assert!(refused(&[], Some("short")).contains("LANNER_API_KEY: expected at least 16 bytes"));
    assert!(!data.exists(), "nothing was done before");
}

#[cfg(unix)]
#[test]
fn what_the_server_creates_belongs_to_its_user_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("db");
    let server = ServerProcess::start(&data, &[]);
    let address = server.address().to_owned();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lanner"));
        let output = command.args(arguments).args(["--server", &address]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    let points = folder.path().join("points.jsonl");
    fs::write(&points, "{\"id\": 1, \"vectors\": {\"v\": [1.0, 2.0]}}\n").unwrap();
    run(&["create", "c", "--field", "v:single:2:dot"]);
    run(&["ingest", "c", "--jsonl", points.to_str().unwrap()]);
    run(&["flush", "c"]);
    let (mut folders, mut files) = (vec![data.clone()], 0);
    while let Some(folder) = folders.pop() {
        assert_eq!(
            fs::metadata(&folder).unwrap().permissions().mode() & 0o777,
            0o700,
            "{folder:?}"
        );
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files += 1;
                let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
                assert_eq!(mode, 0o600, "{path:?}");
            }
        }
    }
    assert!(files > 8, "{files}");
    assert_eq!(server.terminate(), Some(0));
}
