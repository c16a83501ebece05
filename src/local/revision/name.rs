//! Names of revisions: short, without vowels (no words), without letters and digits that look alike.

/// The characters of a name; the same as Kubernetes uses for generated names.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// Length of a name.
const LENGTH: usize = 10;

/// Ten characters of a digest: one in 2·10^14.
#[must_use]
pub fn short_hash(digest: &[u8; 32]) -> String {
    // The remainder of 64 bits by 27 is even to one in 10^18.
    let mut rest = digest.iter().take(16).fold(0_u128, |number, byte| (number << 8) | u128::from(*byte));
    let mut name = String::with_capacity(LENGTH);
    for _ in 0..LENGTH {
        let place = usize::try_from(rest % 27).unwrap_or(0);
        name.push(char::from(ALPHABET[place]));
        rest /= 27;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_fixed_for_ever() {
        assert_eq!(short_hash(&[0; 32]), "bbbbbbbbbb");
        assert_eq!(short_hash(&[1; 32]), short_hash(&[1; 32]));
        assert_ne!(short_hash(&[1; 32]), short_hash(&[2; 32]));
        assert!(short_hash(&[0xff; 32]).bytes().all(|b| ALPHABET.contains(&b)));
    }
}
