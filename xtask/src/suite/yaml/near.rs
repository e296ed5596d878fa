//! The right name that is nearest to a wrong one.

/// Those of `right` that `wrong` is a slip of, with how far each is away: nearer than what [`did_you_mean`] offers for
/// what is wrong for sure.
pub fn slips<'n>(wrong: &str, right: impl IntoIterator<Item = &'n str>) -> impl Iterator<Item = (usize, &'n str)> {
    let limit = match wrong.chars().count() {
        0..=2 => 0,
        3..=5 => 1,
        _ => 2,
    };
    let with_distance = move |name| (strsim::damerau_levenshtein(wrong, name), name);
    right.into_iter().map(with_distance).filter(move |(distance, _)| (1..=limit).contains(distance))
}

/// `did you mean …?`, where one of `right` is near enough to `wrong` to be meant.
pub fn did_you_mean<'a>(wrong: &str, right: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(wrong, right).map(|name| format!("did you mean `{name}`?"))
}

/// The one of `right` that was probably meant by `wrong`.
pub fn nearest<'a>(wrong: &str, right: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (wrong.chars().count() / 3).max(2);
    right
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(wrong, name), name))
        .filter(|(distance, _)| (1..=limit).contains(distance))
        .min()
        .map(|(_, name)| name)
}
