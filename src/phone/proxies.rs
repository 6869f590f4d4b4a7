//! Which proxy is on the way to brokers and TURN servers, by the variables that other programs know too.

use network::proxy::{InvalidProxy, Proxies};

use crate::output::exit::Failure;

/// What `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` say, in lower case first.
///
/// # Errors
/// A usage [`Failure`] when the proxy that is named cannot be used.
pub(crate) fn of_environment() -> Result<Proxies, Failure> {
    read(|name| std::env::var(name).ok())
}

fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Proxies, Failure> {
    let of = |name: &str| variable(&name.to_lowercase()).or_else(|| variable(name));
    let (https, all, none) = (of("HTTPS_PROXY"), of("ALL_PROXY"), of("NO_PROXY"));
    Proxies::read(https.as_deref(), all.as_deref(), none.as_deref()).map_err(|error: InvalidProxy| {
        Failure::usage(format!("the proxy in HTTPS_PROXY or ALL_PROXY cannot be used: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_in_lower_case_go_before_those_in_upper_case() {
        let proxies = |variables: &[(&str, &str)]| {
            let variable =
                |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
            read(variable)
        };
        let named = |variables: &[(&str, &str)]| {
            let all = proxies(variables).unwrap();
            all.on_the_way_to("turn.example", 443).map(ToString::to_string)
        };
        assert_eq!(named(&[("HTTPS_PROXY", "http://a:1"), ("https_proxy", "http://b:2")]).as_deref(), Some("b:2"));
        assert_eq!(named(&[("ALL_PROXY", "socks5h://u:p@c")]).as_deref(), Some("c:1080"));
        assert_eq!(named(&[("ALL_PROXY", "http://c:1"), ("no_proxy", ".example")]), None);
        assert_eq!(named(&[]), None);
        let told = proxies(&[("HTTPS_PROXY", "ftp://u:secret@c")]).unwrap_err().to_string();
        assert!(told.contains("HTTPS_PROXY") && !told.contains("secret"), "{told}");
    }
}
