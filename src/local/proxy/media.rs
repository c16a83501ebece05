//! Protocols that are told by a media type, and by nothing less than the whole of it.

/// gRPC, as its media type says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grpc {
    /// `application/grpc`, with or without a message format. HTTP/2 only.
    Native,
    /// `application/grpc-web` and `-web-text`: any version of HTTP, trailers within the body.
    Web,
}

impl Grpc {
    /// Types are compared without regard to case, parameters and the format after `+` do not matter.
    /// Sources: RFC 9110 §8.3.1, gRPC over HTTP/2, gRPC-Web.
    pub(super) fn of(content_type: &[u8]) -> Option<Self> {
        let end = content_type.iter().position(|&byte| byte == b';').unwrap_or(content_type.len());
        let kind = content_type[..end].trim_ascii();
        let end = kind.iter().position(|&byte| byte == b'+').unwrap_or(kind.len());
        let kind = &kind[..end];
        if kind.eq_ignore_ascii_case(b"application/grpc") {
            Some(Self::Native)
        } else if kind.eq_ignore_ascii_case(b"application/grpc-web")
            || kind.eq_ignore_ascii_case(b"application/grpc-web-text")
        {
            Some(Self::Web)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_type_is_grpc() {
        for native in [
            "application/grpc",
            "application/grpc+proto",
            "Application/GRPC",
            "application/grpc ; charset=utf-8",
            "application/grpc+json;a=b",
        ] {
            assert_eq!(Grpc::of(native.as_bytes()), Some(Grpc::Native), "{native}");
        }
        for web in
            ["application/grpc-web", "application/grpc-web+proto", "application/grpc-web-text; charset=utf-8"]
        {
            assert_eq!(Grpc::of(web.as_bytes()), Some(Grpc::Web), "{web}");
        }
        for other in ["application/grpcish", "application/json", "", ";application/grpc", "application/grp"] {
            assert_eq!(Grpc::of(other.as_bytes()), None, "{other}");
        }
    }
}
