//! Checks on the form of a request, against requests from web pages.
//!
//! A web page can make a browser send requests to this machine. It cannot make it use HTTP/2
//! without TLS, send `application/grpc` without a preflight request, or omit the `Origin` of a
//! POST; and a page whose name was made to resolve to this machine (DNS rebinding) sends that name
//! as its host. Each of these checks alone would suffice; all are made.

use std::net::IpAddr;

use http::uri::Authority;
use http::{HeaderMap, Method as Verb, Request, StatusCode, Version, header};
use tonic::Code;

use super::method::Method;
use super::refusal::Refusal;

/// True if the client expects gRPC responses.
pub fn is_grpc<B>(request: &Request<B>) -> bool {
    request.version() == Version::HTTP_2 && has_grpc_type(request.headers())
}

fn has_grpc_type(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (types.next(), types.next()) else { return false };
    let rest = value.as_bytes().strip_prefix(b"application/grpc");
    // Not `application/grpc-web`, which web pages use.
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// Checks HTTP version, verb and content type against the method.
pub fn check<B>(request: &Request<B>, method: &Method) -> Result<(), Refusal> {
    let refuse = |status, message: String| Err(Refusal::new(Code::Unimplemented, status, message));
    let verb = request.method();
    if method.plain {
        if verb == Verb::GET || verb == Verb::HEAD {
            return Ok(());
        }
        let message = format!("{}: expected GET, got {verb}", method.path);
        return refuse(StatusCode::METHOD_NOT_ALLOWED, message);
    }
    if request.version() != Version::HTTP_2 {
        let got = request.version();
        let message = format!("gRPC: expected HTTP/2, got {got:?}; plain HTTP is for /metrics");
        return refuse(StatusCode::HTTP_VERSION_NOT_SUPPORTED, message);
    }
    if !has_grpc_type(request.headers()) {
        let got = request.headers().get(header::CONTENT_TYPE);
        let message = format!("content-type: expected application/grpc, got {got:?}");
        return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, message);
    }
    if verb != Verb::POST {
        let message = format!("gRPC: expected POST, got {verb}");
        return refuse(StatusCode::METHOD_NOT_ALLOWED, message);
    }
    Ok(())
}

/// Rejects requests made by a web page.
pub fn check_origin<B>(request: &Request<B>) -> Result<(), Refusal> {
    match request.headers().get(header::ORIGIN) {
        None => Ok(()),
        Some(origin) => Err(forbidden(format!("origin: expected none, got {origin:?}"))),
    }
}

/// Rejects hosts that a web page may have been loaded from: names with a dot that are not in
/// `allowed`. Addresses are not looked up, and nobody can register a name without a dot.
pub fn check_host<B>(request: &Request<B>, allowed: &[String]) -> Result<(), Refusal> {
    let authority = request.uri().authority().cloned().map(Ok);
    let headers = request.headers().get_all(header::HOST).iter();
    let headers = headers.map(|host| Authority::try_from(host.as_bytes()).map_err(|_| host));
    for host in authority.into_iter().chain(headers) {
        match host {
            Ok(host) if is_known(host.host(), allowed) => {}
            Ok(host) => {
                let message = "expected an address, `localhost` or a name given to --allow-host";
                return Err(forbidden(format!("host: {message}, got {:?}", host.host())));
            }
            Err(host) => return Err(forbidden(format!("host: expected a name, got {host:?}"))),
        }
    }
    Ok(())
}

fn is_known(host: &str, allowed: &[String]) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.parse::<IpAddr>().is_ok()
        || !host.contains('.')
        || allowed.iter().any(|name| name.eq_ignore_ascii_case(host))
}

fn forbidden(message: String) -> Refusal {
    Refusal::new(Code::PermissionDenied, StatusCode::FORBIDDEN, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_a_page_may_come_from_are_refused() {
        let allowed = ["db.example.org".to_owned()];
        let check = |host: &str| {
            check_host(&Request::builder().header("host", host).body(()).unwrap(), &allowed)
        };
        for host in ["127.0.0.1:7700", "[::1]:7700", "10.1.2.3", "localhost:7700", "lanner:7700"] {
            assert!(check(host).is_ok(), "{host}");
        }
        for host in ["db.example.org", "DB.example.org:443", "db.example.org."] {
            assert!(check(host).is_ok(), "{host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example", "x.db.example.org", "evil.", ""] {
            let fine = host == "evil.";
            assert_eq!(check(host).is_ok(), fine, "{host}");
        }
        let both = Request::builder().uri("http://127.0.0.1/").header("host", "evil.example");
        assert!(check_host(&both.body(()).unwrap(), &allowed).is_err());
        let authority = Request::builder().uri("http://evil.example/").body(()).unwrap();
        assert!(check_host(&authority, &allowed).is_err());
    }

    #[test]
    fn only_grpc_is_grpc() {
        let is = |types: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in types {
                headers.append(header::CONTENT_TYPE, http::HeaderValue::from_static(value));
            }
            has_grpc_type(&headers)
        };
        for good in ["application/grpc", "application/grpc+proto", "application/grpc;x=y"] {
            assert!(is(&[good]), "{good}");
        }
        for bad in ["text/plain", "application/grpc-web", "application/grpcx", "application/json"] {
            assert!(!is(&[bad]), "{bad}");
        }
        assert!(!is(&[]) && !is(&["application/grpc", "text/plain"]));
    }
}
