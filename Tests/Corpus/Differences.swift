/// Where our verdict is another one than `e2fsck -fn`'s, and why; and what nobody repairs: by the name
/// of the case.
enum Differences {
    private static let value =
        "a value of another size would be read; e2fsck looks at its hash only"
    private static let header = "the kernel refuses such a file; e2fsck takes it for a new one"
    private static let log = "no log that long fits the journal; e2fsck looks when it replays"

    /// The reasons for another verdict.
    static let reasons: [String: String] = [
        "descriptor/checksum-of-first":
            "e2fsck tells of it and exits with 0; the kernel refuses it",
        "ea-inode/size": value,
        "extent/node-depth": "the kernel refuses such a node; e2fsck reads on",
        "features/no-ea-inode": "the kernel refuses values in inodes without the feature",
        "inode/ea-inode-flag": "a name leads to an inode that says it is a value",
        "journal/first-zero": log,
        "journal/first-zero@ext3": log,
        "journal/first-large": log,
        "journal/first-large@ext3": log,
        "journal/start-large": log,
        "quota/user-header": header,
        "quota/group-header": header,
        "journal/start-large@ext3": log,
    ]

    /// What is left as it is: only a newer program knows what it means.
    static let beyondRepair: Set<String> = [
        "features/unknown-compatible", "features/unknown-incompatible",
        "features/unknown-read-only", "superblock/encoding",
    ]
}
