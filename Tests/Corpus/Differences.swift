/// Where our verdict is another one than `e2fsck -fn`'s, and why: by the name of the case.
enum Differences {
    /// The reasons.
    static let reasons: [String: String] = [:]
}
