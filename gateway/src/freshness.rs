//! Whether a signal is of now: neither replayed nor from a clock that is wrong.

use jiff::{SignedDuration, Timestamp};

/// The oldest that a request, or an Event, may be.
pub const MAX_AGE: SignedDuration = SignedDuration::from_mins(5);
/// How far the sender's clock may be ahead of this one.
pub const MAX_AHEAD: SignedDuration = SignedDuration::from_mins(2);

const MALFORMED: &str = "invalid timestamp format";
const TOO_OLD: &str = "timestamp too old: possible replay attack";
const AHEAD: &str = "timestamp in future: possible clock skew attack";

/// Checks the value of an `X-Timestamp` header: Unix seconds.
///
/// # Errors
/// The sentence for the answer's detail.
pub fn check_header(value: &[u8], now: Timestamp) -> Result<(), &'static str> {
    let seconds: i64 = std::str::from_utf8(value).ok().and_then(|text| text.trim().parse().ok()).ok_or(MALFORMED)?;
    // A number that is no time that jiff can hold lies thousands of years away, on the side of its sign.
    let sent = Timestamp::from_second(seconds).unwrap_or(if seconds < 0 { Timestamp::MIN } else { Timestamp::MAX });
    check_event_time(sent, now)
}

/// Checks the time that a Kubernetes Event carries: neither old nor ahead.
///
/// # Errors
/// The sentence for the answer's detail.
pub fn check_event_time(time: Timestamp, now: Timestamp) -> Result<(), &'static str> {
    if now.duration_since(time) > MAX_AGE {
        return Err(TOO_OLD);
    }
    check_not_ahead(time, now)
}

/// Checks the newest start of a webhook's alerts. An alert may have begun long ago and still fire, so it is never too
/// old.
///
/// # Errors
/// The sentence for the answer's detail.
pub fn check_not_ahead(time: Timestamp, now: Timestamp) -> Result<(), &'static str> {
    if time.duration_since(now) > MAX_AHEAD { Err(AHEAD) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn now() -> Timestamp {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    fn header(offset_seconds: i64) -> Result<(), &'static str> {
        check_header((now().as_second() + offset_seconds).to_string().as_bytes(), now())
    }

    #[test]
    fn the_bounds_of_the_header() {
        assert_eq!(header(0), Ok(()));
        assert_eq!(header(-300), Ok(()));
        assert_eq!(header(-301), Err(TOO_OLD));
        assert_eq!(header(120), Ok(()));
        assert_eq!(header(121), Err(AHEAD));
        assert_eq!(check_header(b"9223372036854775807", now()), Err(AHEAD));
        assert_eq!(check_header(b"-9223372036854775808", now()), Err(TOO_OLD));
    }

    #[test]
    fn what_is_no_number_is_malformed() {
        for value in ["", "yesterday", "12.5", "1e9", "2026-03-01T12:00:00Z", "99999999999999999999", "\u{ff11}"] {
            assert_eq!(check_header(value.as_bytes(), now()), Err(MALFORMED), "{value:?}");
        }
        assert_eq!(check_header(&[0xff, 0xfe], now()), Err(MALFORMED));
    }

    #[test]
    fn an_old_alert_still_fires() {
        let old = "2020-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(check_not_ahead(old, now()), Ok(()));
        assert_eq!(check_event_time(old, now()), Err(TOO_OLD));
    }

    proptest! {
        #[test]
        fn any_bytes_get_an_answer(value in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = check_header(&value, now());
        }
    }
}
