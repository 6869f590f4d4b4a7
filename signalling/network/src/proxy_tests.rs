use super::*;

#[test]
fn proxies_are_read() {
    let proxy = |text: &str| text.parse::<Proxy>();
    let of = |kind, host: &str, port, login: Option<(&str, &str)>| {
        let login = login.map(|(user, password)| (user.to_owned(), password.to_owned()));
        Ok(Proxy { kind, host: host.to_owned(), port, login })
    };
    assert_eq!(proxy("http://p.example:3128/"), of(ProxyKind::Http, "p.example", 3128, None));
    assert_eq!(proxy("p.example:3128"), of(ProxyKind::Http, "p.example", 3128, None));
    assert_eq!(proxy("HTTP://p"), of(ProxyKind::Http, "p", 80, None));
    assert_eq!(proxy("socks5h://p"), of(ProxyKind::Socks5h, "p", 1080, None));
    let login = Some(("al@ice", "se:cr%zz"));
    assert_eq!(proxy("socks5://al%40ice:se%3acr%zz@10.0.0.1:9"), of(ProxyKind::Socks5, "10.0.0.1", 9, login));
    for (text, error) in [
        ("https://p:1", InvalidProxy::Scheme("https".into())),
        ("socks4://p:1", InvalidProxy::Scheme("socks4".into())),
        ("http://", InvalidProxy::Address),
        ("http://p:0", InvalidProxy::Address),
        ("http://u:secret@:1", InvalidProxy::Address),
        (&format!("http://{}@p:1", "u".repeat(256)), InvalidProxy::Login),
    ] {
        let told = proxy(text).unwrap_err();
        assert_eq!(told, error, "{text}");
        assert!(!told.to_string().contains("secret"));
    }
    let shown = format!("{:?}", proxy("http://u:secret@p:1").unwrap());
    assert!(!shown.contains("secret") && !shown.contains('u'), "{shown}");
}

#[test]
fn exceptions_are_reached_directly() {
    let is_direct = |no_proxy: &str, host: &str, port| {
        let all = Proxies::read(None, Some("http://p:1"), Some(no_proxy)).unwrap();
        all.on_the_way_to(host, port).is_none()
    };
    for no_proxy in ["*", "turn.example", ".example", "*.example", "other, TURN.example", "example:443", "example"] {
        assert!(is_direct(no_proxy, "turn.example", 443), "{no_proxy}");
    }
    for no_proxy in ["", "urn.example", "example:80", "example.org", ",", "10.0.0.0/8", "/", "1.2.3.4/99"] {
        assert!(!is_direct(no_proxy, "turn.example", 443), "{no_proxy}");
    }
    for (no_proxy, host, direct) in [
        ("10.0.0.0/8", "10.9.8.7", true),
        ("10.0.0.0/8", "11.0.0.1", false),
        ("0.0.0.0/0", "11.0.0.1", true),
        ("192.0.2.1/32", "192.0.2.1", true),
        ("192.0.2.1", "192.0.2.1", true),
        ("2.1", "192.0.2.1", false),
        ("[::1]", "::1", true),
        ("::1", "[::1]", true),
        ("::1", "[::2]", false),
    ] {
        assert_eq!(is_direct(no_proxy, host, 1), direct, "{no_proxy} {host}");
    }
}

#[test]
fn the_first_variable_that_is_not_empty_counts() {
    let host = |https, all| {
        Proxies::read(https, all, None).map(|all| all.on_the_way_to("h", 1).map(|proxy| proxy.host.clone()))
    };
    assert_eq!(host(Some("http://a:1"), Some("http://b:1")), Ok(Some("a".into())));
    assert_eq!(host(Some(" "), Some("socks5://b:1")), Ok(Some("b".into())));
    assert_eq!(host(None, None), Ok(None));
    assert!(host(Some("ftp://a"), None).is_err());
}

#[test]
fn an_http_proxy_is_asked_and_understood() {
    let proxy: Proxy = "http://alice:secret@p:1".parse().unwrap();
    let asked = String::from_utf8(connect_request(&proxy, "turn.example", 443)).unwrap();
    assert_eq!(
        asked,
        "CONNECT turn.example:443 HTTP/1.1\r\nHost: turn.example:443\r\n\
         Proxy-Authorization: Basic YWxpY2U6c2VjcmV0\r\n\r\n"
    );
    let asked = String::from_utf8(connect_request(&"http://p".parse().unwrap(), "2001:db8::1", 1)).unwrap();
    assert!(asked.starts_with("CONNECT [2001:db8::1]:1 HTTP/1.1\r\n"), "{asked}");
    assert_eq!(connect_answer(b"HTTP/1.1 200 Connection established\r\n\r\n"), Ok(()));
    for (answer, words) in [
        (&b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"[..], "USER:PASSWORD"),
        (b"HTTP/1.0 403 Forbidden\x1b[2J\r\n\r\n", "403 Forbidden[2J"),
        (b"SSH-2.0-x\r\n\r\n", "not as an HTTP proxy"),
        (b"", "not as an HTTP proxy"),
    ] {
        let told = connect_answer(answer).unwrap_err().to_string();
        assert!(told.contains(words) && !told.contains('\u{1b}'), "{told}");
    }
}

#[test]
fn a_socks_proxy_is_asked_and_understood() {
    let (open, with): (Proxy, Proxy) = ("socks5://p".parse().unwrap(), "socks5://al:x@p".parse().unwrap());
    assert_eq!((socks::greeting(&open), socks::greeting(&with)), (vec![5, 1, 0], vec![5, 2, 0, 2]));
    assert_eq!(socks::login(&with, [5, 2]), Ok(Some(vec![1, 2, b'a', b'l', 1, b'x'])));
    assert_eq!(socks::login(&with, [5, 0]), Ok(None));
    assert!(socks::login(&open, [5, 255]).unwrap_err().to_string().contains("USER:PASSWORD"));
    assert!(socks::login(&with, [4, 0]).is_err() && socks::logged_in([1, 1]).is_err());
    assert_eq!(socks::request("192.0.2.1", 443), Ok(vec![5, 1, 0, 1, 192, 0, 2, 1, 1, 187]));
    let ipv6 = socks::request("[::1]", 1).unwrap();
    assert_eq!((&ipv6[..4], ipv6.len()), (&[5, 1, 0, 4][..], 22));
    assert_eq!(socks::request("ab", 1), Ok(vec![5, 1, 0, 3, 2, b'a', b'b', 0, 1]));
    assert!(socks::request(&"n".repeat(300), 1).is_err());
    let rest = [[5, 0, 0, 1, 9], [5, 0, 0, 3, 9], [5, 0, 0, 4, 9]].map(socks::rest_of_answer);
    assert_eq!(rest, [Ok(5), Ok(11), Ok(17)]);
    for code in 1..=9 {
        assert!(socks::rest_of_answer([5, code, 0, 1, 0]).is_err(), "{code}");
    }
}
