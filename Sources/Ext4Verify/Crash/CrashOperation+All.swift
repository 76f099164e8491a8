internal import Ext4

// The operations that workloads are made of, in the style of CrashMonkey's bounded black-box
// generator: few files in few directories, so that operations meet, with the offsets at which a
// block, a sector or a file begins and ends.

extension CrashOperation {
    /// What a volume has before a workload starts, made by the engine itself.
    static let fixture: [CrashOperation] = {
        var all: [CrashOperation] = [
            .makeDirectory("A"), .makeDirectory("B"), .makeDirectory("A/C"), .makeDirectory("B/E"),
            .create("foo"), .write("foo", at: 0, count: 3000),
            .create("bar"), .write("bar", at: 0, count: 6144),
            .create("A/foo"), .write("A/foo", at: 0, count: 2000), .link("bar", to: "A/bar"),
            .create("B/foo"), .write("B/foo", at: 0, count: 1024),
            .create("pre"), .change("pre", .allocate(keepsSize: false), at: 0, count: 8192),
            .symlink("A/long", targetCount: 200), .symlink("A/fast", targetCount: 20),
            .create("attr"), .setAttribute("attr", name: "user.large", count: 500),
            .setAttribute("attr", name: "user.small", count: 10),
            // A map with blocks of its own.
            .create("big"),
        ]
        for block in stride(from: 0, to: 24, by: 2) {
            all.append(.write("big", at: UInt64(block) * 4096, count: 1024))
        }
        // A directory with an index.
        all.append(.makeDirectory("B/full"))
        for index in 0..<48 {
            all.append(.link("B/foo", to: "B/full/a name of some length \(index)"))
        }
        return all
    }()

    /// All operations that change something.
    package static let changes: [CrashOperation] = names + contents + attributes

    private static let names: [CrashOperation] = [
        .create("new"), .create("A/new"), .create("B/full/new"),
        .makeDirectory("dir"), .makeDirectory("A/dir"),
        .symlink("fast", targetCount: 12), .symlink("A/slow", targetCount: 300),
        .makeNode("fifo", mode: 0o010644), .makeNode("A/disk", mode: 0o060600),
        .createUnnamed(in: "", as: nil), .createUnnamed(in: "A", as: "A/named"),
        .link("foo", to: "B/link"), .link("A/foo", to: "link"),
        .unlink("foo"), .unlink("bar"), .unlink("A/foo"), .unlink("big"), .unlink("A/long"),
        .unlink("attr"), .unlink("B/full/a name of some length 7"), .unlink("new"),
        .unlinkOpen("foo"), .unlinkOpen("big"), .unlinkOpen("A/foo"),
        .removeDirectory("A/C"), .removeDirectory("B/E"), .removeDirectory("dir"),
        .rename("foo", to: "bar", []), .rename("foo", to: "A/foo", []),
        .rename("A/foo", to: "moved", []), .rename("new", to: "foo", []),
        .rename("A", to: "B/A", []), .rename("A/C", to: "B/E", []), .rename("A/C", to: "C", []),
        .rename("B/full/a name of some length 3", to: "B/full/other", []),
        .rename("foo", to: "B/second", .noReplace), .rename("foo", to: "bar", .noReplace),
        .rename("foo", to: "A/foo", .exchange), .rename("A", to: "B/foo", .exchange),
        .rename("A/C", to: "B", .exchange),
    ]

    private static let contents: [CrashOperation] = [
        .write("foo", at: 0, count: 512), .write("foo", at: 700, count: 1500),
        .write("foo", at: 3000, count: 2000), .write("foo", at: 40_000, count: 1024),
        .write("bar", at: 0, count: 6144), .write("A/foo", at: 0, count: 2000),
        .write("A/foo", at: 1024, count: 3072), .write("pre", at: 1024, count: 2048),
        .write("pre", at: 2000, count: 100), .write("big", at: 1024, count: 3072),
        .write("big", at: 4000, count: 9000), .write("new", at: 0, count: 1024),
        .append("foo", count: 700), .append("A/foo", count: 5000), .append("big", count: 30_000),
        .append("new", count: 100),
        .truncate("foo", size: 0), .truncate("foo", size: 1500), .truncate("foo", size: 9000),
        .truncate("A/foo", size: 100), .truncate("bar", size: 6143), .truncate("big", size: 2048),
        .truncate("big", size: 0), .truncate("pre", size: 1024),
        .change("foo", .allocate(keepsSize: true), at: 3072, count: 8192),
        .change("A/foo", .allocate(keepsSize: false), at: 0, count: 12_000),
        .change("big", .punchHole, at: 0, count: 8192),
        .change("bar", .punchHole, at: 500, count: 2500),
        .change("bar", .zero(keepsSize: false), at: 1024, count: 2048),
        .change("foo", .zero(keepsSize: true), at: 512, count: 9000),
        .change("bar", .collapse, at: 4096, count: 4096),
        .change("big", .collapse, at: 4096, count: 8192),
        .change("big", .insert, at: 8192, count: 4096),
        .change("bar", .insert, at: 0, count: 4096),
    ]

    private static let attributes: [CrashOperation] = [
        .setAttribute("foo", name: "user.small", count: 8),
        .setAttribute("foo", name: "user.large", count: 600),
        .setAttribute("A", name: "user.directory", count: 40),
        .setAttribute("attr", name: "user.large", count: 450),
        .setAttribute("attr", name: "user.third", count: 100),
        .removeAttribute("attr", name: "user.large"), .removeAttribute("attr", name: "user.small"),
        .setMode("foo", 0o600), .setMode("A", 0o700), .setOwner("A/foo", 100_000),
        .setTimes("foo"), .setTimes("B"),
    ]

    /// What makes something durable.
    package static let persistence: [CrashOperation] =
        [.sync, .commit]
        + ["", "A", "B", "foo", "bar", "A/foo", "big", "new", "attr", "pre"].map { .fsync($0) }
        + ["foo", "bar", "A/foo", "big", "new", "pre"].map { .fdatasync($0) }
        + ["A/new", "B/full", "dir", "A/dir", "A/named", "B/link", "link", "moved"].map {
            .fsync($0)
        }

    /// All operations: a workload is written as numbers in this list, so nothing is ever taken out
    /// of it or put into its middle.
    package static let all = changes + persistence
}
