//! Integers and floats, compared and added without loss.
//!
//! A float has 53 bits of precision, an integer up to 64: turning one into the other before comparing would make
//! 2^53 + 1 equal to 2^53. So both are compared as the mathematical numbers they are.

use std::{cmp::Ordering, fmt};

/// The least integer a MessagePack value can be.
const INT_MIN: i128 = i64::MIN as i128;
/// The greatest integer a MessagePack value can be.
const INT_MAX: i128 = u64::MAX as i128;

/// A number of any width.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// From -2^63 to 2^64 - 1; wide enough here for both ends and for a sum.
    Int(i128),
    /// A float; 32 bits wide ones are exact in it.
    Float(f64),
}

impl Number {
    /// Compares by value. None: one of them is NaN.
    pub fn compare(self, other: Number) -> Option<Ordering> {
        match (self, other) {
            (Number::Int(a), Number::Int(b)) => Some(a.cmp(&b)),
            (Number::Float(a), Number::Float(b)) => a.partial_cmp(&b),
            (Number::Int(a), Number::Float(b)) => compare_mixed(a, b),
            (Number::Float(a), Number::Int(b)) => compare_mixed(b, a).map(Ordering::reverse),
        }
    }

    /// The sum: of integers an integer, with a float a float. The error says what it cannot be.
    pub fn plus(self, other: Number) -> Result<Number, &'static str> {
        if let (Number::Int(a), Number::Int(b)) = (self, other) {
            let sum = a + b;
            return match sum {
                INT_MIN..=INT_MAX => Ok(Number::Int(sum)),
                _ => Err("the sum does not fit into 64 bits"),
            };
        }
        let sum = self.to_f64() + other.to_f64();
        if sum.is_finite() {
            Ok(Number::Float(sum))
        } else {
            Err("the sum is not a finite number")
        }
    }

    /// The one form that all equal numbers share: an integer where an integer has that value.
    pub fn canonical(self) -> Number {
        match self {
            Number::Float(f) if f.trunc() == f && (INT_MIN..=INT_MAX).contains(&(f as i128)) => {
                Number::Int(f as i128)
            }
            Number::Float(f) if f.is_nan() => Number::Float(f64::NAN),
            number => number,
        }
    }

    /// Whether it is NaN.
    pub fn is_nan(self) -> bool {
        matches!(self, Number::Float(f) if f.is_nan())
    }

    fn to_f64(self) -> f64 {
        match self {
            Number::Int(n) => n as f64,
            Number::Float(f) => f,
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Number::Int(n) => write!(f, "{n}"),
            Number::Float(n) => write!(f, "{n:?}"),
        }
    }
}

/// The whole part of a float decides, then what is behind the point. A float beyond 128 bits saturates, which is still
/// beyond every integer.
fn compare_mixed(int: i128, float: f64) -> Option<Ordering> {
    let whole = float.trunc();
    match int.cmp(&(whole as i128)) {
        _ if float.is_nan() => None,
        Ordering::Equal => whole.partial_cmp(&float),
        order => Some(order),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_and_floats_compare_by_value_beyond_53_bits() {
        let int = Number::Int;
        let float = Number::Float;
        let two_53 = 2f64.powi(53);
        for (a, b, order) in [
            (int(1), float(1.0), Some(Ordering::Equal)),
            (int(0), float(-0.0), Some(Ordering::Equal)),
            (int((1 << 53) + 1), float(two_53), Some(Ordering::Greater)),
            (int(INT_MAX), float(2f64.powi(64)), Some(Ordering::Less)),
            (int(INT_MIN), float(-2f64.powi(63)), Some(Ordering::Equal)),
            (int(2), float(2.5), Some(Ordering::Less)),
            (int(-2), float(-2.5), Some(Ordering::Greater)),
            (int(INT_MAX), float(f64::INFINITY), Some(Ordering::Less)),
            (
                int(INT_MIN),
                float(f64::NEG_INFINITY),
                Some(Ordering::Greater),
            ),
            (int(0), float(f64::NAN), None),
            (float(f64::NAN), float(f64::NAN), None),
        ] {
            assert_eq!(a.compare(b), order, "{a} with {b}");
            assert_eq!(b.compare(a), order.map(Ordering::reverse), "{b} with {a}");
        }
    }

    #[test]
    fn sums_stay_integers_until_they_leave_64_bits() {
        let int = Number::Int;
        assert_eq!(int(INT_MAX).plus(int(0)), Ok(int(INT_MAX)));
        assert_eq!(int(i64::MAX.into()).plus(int(1)), Ok(int(1 << 63)));
        assert!(int(INT_MAX).plus(int(1)).is_err());
        assert!(int(INT_MIN).plus(int(-1)).is_err());
        assert_eq!(int(1).plus(Number::Float(0.5)), Ok(Number::Float(1.5)));
        assert!(
            Number::Float(f64::MAX)
                .plus(Number::Float(f64::MAX))
                .is_err()
        );
        assert!(int(1).plus(Number::Float(f64::NAN)).is_err());
    }

    #[test]
    fn the_canonical_form_is_an_integer_where_there_is_one() {
        let int = Number::Int;
        assert_eq!(Number::Float(-0.0).canonical(), int(0));
        assert_eq!(Number::Float(-2f64.powi(63)).canonical(), int(INT_MIN));
        for float in [1.5, 2f64.powi(64), 1e300, f64::INFINITY] {
            assert_eq!(Number::Float(float).canonical(), Number::Float(float));
        }
    }
}
