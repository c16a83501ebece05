//! Who a caller is, for the record: by login name where this machine knows one.

use strategies::Name;

use crate::api::unix::Caller;

/// Where this machine names its users.
const USERS: &str = "/etc/passwd";

/// The name that is recorded.
pub(super) fn by(caller: &Caller) -> Name {
    let users = std::fs::read_to_string(USERS).unwrap_or_default();
    login(&users, caller.uid).map_or_else(|| format!("uid {}", caller.uid).into(), Name::from)
}

fn login(users: &str, uid: u32) -> Option<&str> {
    let mut all = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    all.find_map(|fields| match fields.as_slice() {
        [name, _, id, ..] if !name.is_empty() && id.parse() == Ok(uid) => Some(*name),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_called_by_the_first_login_name_of_the_id() {
        let users = "root:x:0:0:root:/root:/bin/sh\nada:x:1000:1000:Ada,,,:/home/ada:/bin/sh\n\ntoor:x:0:0::/:\n:x:7:7::/:\n";
        assert_eq!(login(users, 0), Some("root"));
        assert_eq!(login(users, 1000), Some("ada"));
        assert_eq!(login(users, 7), None);
        assert_eq!(login(users, 1), None);
    }
}
