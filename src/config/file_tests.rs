use super::*;

fn parse(text: &str) -> Result<Document, String> {
    let place = Place { path: Path::new("/etc/tring.toml"), home: Some(Path::new("/home/alice")) };
    let settings = definition::by_key(&definition::command());
    Document::parse(text, place, &settings).map_err(|error| error.to_string())
}

#[test]
fn entries_know_their_lines() {
    let document = parse("\nid = 'alice'\n\n[profile.home]\n# a comment\nfps = 1_0\nsize = '64x48'\n").unwrap();
    let tables = document.tables(Some("home")).unwrap();
    let home = |line| Origin::Profile { name: "home".into(), line };
    assert_eq!(tables[0]["fps"], Entry { origin: home(6), values: vec!["10".into()] });
    assert_eq!(tables[0]["size"], Entry { origin: home(7), values: vec!["64x48".into()] });
    assert_eq!(tables[1]["id"], Entry { origin: Origin::Top { line: 2 }, values: vec!["alice".into()] });
    assert_eq!(document.tables(None).unwrap().len(), 1);
}

#[test]
fn a_list_may_be_one_value() {
    let document = parse("broker = 'mqtt://a'\nice = ['stun:a', 'stun:b']\nfrom = []").unwrap();
    let top = document.tables(None).unwrap()[0];
    assert_eq!(top["broker"].values, ["mqtt://a"]);
    assert_eq!(top["ice"].values, ["stun:a", "stun:b"]);
    assert!(top["from"].values.is_empty());
}

#[test]
fn faults_are_told_with_line_and_advice() {
    for (text, line, advice) in [
        // no TOML
        ("id = \"alice\nfps = 3", 1, "string"),
        ("fps = 3\n\nfps = 4", 3, "duplicate"),
        ("\n[profile.home\n", 2, "]"),
        // unknown keys
        ("\nbrokr = 'mqtt://a'", 2, "did you mean broker?"),
        ("[profile.home]\npassword_file = 'a'", 2, "did you mean password-file?"),
        ("frobnicate = 1", 1, "config --example"),
        ("default_profile = 'home'", 1, "did you mean default-profile?"),
        ("[home]\nid = 'a'", 1, "did you mean [profile.home]?"),
        ("[contact]\nmum = 'a'", 1, "did you mean contacts?"),
        ("[profile.home.inner]\nid = 'a'", 1, "unknown key"),
        // types
        ("fps = 'many'", 1, "fps must be a number, not text"),
        ("fps = 30.5", 1, "fps"),
        ("fps = 99999999999999999999", 1, "fps"),
        ("\nrelay-only = 'yes'", 2, "relay-only must be true or false, not text"),
        ("user = 5", 1, "user must be text in quotes, not a number"),
        ("user = ['a', 'b']", 1, "user takes one value"),
        ("broker = ['mqtt://a', 5]", 1, "broker must be text in quotes, not a number"),
        ("id = 1979-05-27", 1, "not a date"),
        ("profile = 'home'", 1, "default-profile"),
        ("[profile]\nhome = 1", 2, "[profile.home]"),
        ("contacts = 5", 1, "[contacts]"),
        ("default-profile = 5", 1, "name of a profile"),
        // values
        ("\n\nsize = 'huge'", 3, "WIDTHxHEIGHT"),
        ("fps = 99", 1, "60"),
        ("answer = 'never'", 1, "reject"),
        ("broker = ['http://a']", 1, "mqtt://"),
        ("broker = ['mqtt://a:b@h']", 1, "password"),
        ("broker = []", 1, "broker needs a value"),
        ("id = ''", 1, "peer ID"),
        ("ca-file = ''", 1, "ca-file"),
        ("[contacts]\nmum = 'a b'", 2, "peer ID"),
        ("[contacts]\n'a,b' = 'bob'", 2, "nick"),
        ("default-profile = 'wrok'\n[profile.work]\nid = 'a'", 1, "did you mean work?"),
        ("default-profile = 'work'", 1, "there is none"),
        // secrets
        ("\npassword = 'geheim'", 2, "password-file"),
        ("[profile.home]\nice-password = 'geheim'", 2, "ice-password-file"),
        ("ice-secret = 'geheim'", 1, "ice-secret-file"),
        // what is said for one run, and not for all
        ("json = true", 1, "unknown key"),
        ("config = 'a'", 1, "unknown key"),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.starts_with(&format!("/etc/tring.toml:{line}: ")), "{text}: {error}");
        assert!(error.contains(advice), "{text}: {error}");
        assert!(!error.contains("geheim") && !error.contains('\n'), "{text}: {error}");
    }
}

#[test]
fn profiles_that_are_not_in_use_are_judged_too() {
    assert!(
        parse("default-profile = 'home'\n[profile.home]\n[profile.work]\nfps = 0").unwrap_err().contains(":4: fps")
    );
}

#[test]
fn the_first_fault_is_the_one_told() {
    assert!(parse("zoo = 1\nape = 2").unwrap_err().contains("zoo"));
}
