//! CRC-32C, the checksum of a batch.

/// The CRC-32C (Castagnoli) of `bytes`.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// The CRC-32C of a message after its first bytes were replaced by as many others, without reading the rest.
///
/// `crc` is the checksum of `old_prefix` followed by `rest_bytes` unknown bytes. A checksum is linear: what a prefix
/// adds to it depends only on the prefix and on how many bytes follow. The cost is logarithmic in `rest_bytes`.
///
/// # Panics
/// If the prefixes differ in length: then more than the prefix changed.
pub fn crc32c_with_prefix_replaced(
    crc: u32,
    old_prefix: &[u8],
    new_prefix: &[u8],
    rest_bytes: u64,
) -> u32 {
    assert_eq!(
        old_prefix.len(),
        new_prefix.len(),
        "a replaced prefix keeps its length"
    );
    let difference = crc32c(old_prefix) ^ crc32c(new_prefix);
    crc ^ shifted(difference, rest_bytes)
}

/// Castagnoli's polynomial, bits reflected: the highest bit stands for x^0.
const POLYNOMIAL: u32 = 0x82f6_3b78;
/// x^0 and x^1.
const ONE: u32 = 1 << 31;
const X: u32 = 1 << 30;
/// x^(8 * 2^n) modulo the polynomial: what 2^n bytes behind it do to a checksum.
const BYTES_POWERS: [u32; 64] = bytes_powers();

const fn bytes_powers() -> [u32; 64] {
    let mut power = X;
    let mut doublings = 0;
    while doublings < 3 {
        power = multiply(power, power);
        doublings += 1;
    }
    let mut powers = [0; 64];
    let mut index = 0;
    while index < powers.len() {
        powers[index] = power;
        power = multiply(power, power);
        index += 1;
    }
    powers
}

/// The product of two polynomials modulo Castagnoli's.
const fn multiply(mut left: u32, mut right: u32) -> u32 {
    let mut product = 0;
    while left != 0 {
        if left & ONE != 0 {
            product ^= right;
        }
        left <<= 1;
        let carry = right & 1;
        right = (right >> 1) ^ (POLYNOMIAL & carry.wrapping_neg());
    }
    product
}

/// What `crc`, as the checksum of a prefix, contributes to that of a message with `rest_bytes` bytes behind it.
fn shifted(crc: u32, rest_bytes: u64) -> u32 {
    let mut product = crc;
    let mut left = rest_bytes;
    while left != 0 {
        product = multiply(BYTES_POWERS[left.trailing_zeros() as usize], product);
        left &= left - 1;
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_value_of_the_catalogue() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(b""), 0);
    }

    #[test]
    fn replacing_a_prefix_equals_computing_anew() {
        for rest in [0usize, 1, 7, 64, 1000, 70_000] {
            let mut message: Vec<u8> = (0..40 + rest).map(|i| (i * 31 % 251) as u8).collect();
            let before = crc32c(&message);
            let old: Vec<u8> = message[..40].to_vec();
            message[3] ^= 0x40;
            message[39] = 0;
            let patched = crc32c_with_prefix_replaced(before, &old, &message[..40], rest as u64);
            assert_eq!(patched, crc32c(&message), "rest of {rest} bytes");
        }
    }
}
