import Ext4

/// The differences between two manifests of what should be one tree, path by path and field by
/// field.
public struct TreeComparison: Sendable {
    /// What is held against each other.
    public struct Aspects: OptionSet, Sendable {
        /// The mask.
        public let rawValue: UInt32
        /// Makes a set from the mask.
        public init(rawValue: UInt32) { self.rawValue = rawValue }

        /// Names, what they lead to (which names are one file), link counts, types, permissions,
        /// owners, device numbers, link targets, extended attributes, sizes and contents.
        public static let tree = Aspects(rawValue: 1)
        /// Inode numbers, `.` and `..`.
        public static let inodeNumbers = Aspects(rawValue: 2)
        /// Times of access, modification and change.
        public static let times = Aspects(rawValue: 4)
        /// Time of creation.
        public static let creationTime = Aspects(rawValue: 8)
        /// Flags, generation, project.
        public static let inodeState = Aspects(rawValue: 16)
        /// Space taken, the map, and where data is by `SEEK_DATA`.
        public static let space = Aspects(rawValue: 32)
        /// The types in directory entries.
        public static let entryTypes = Aspects(rawValue: 64)

        /// All: two views of one volume.
        public static let everything: Aspects = [
            .tree, .inodeNumbers, .times, .creationTime, .inodeState, .space, .entryTypes,
        ]
    }

    /// One difference.
    public struct Difference: Hashable, Sendable, CustomStringConvertible {
        /// The path, with bytes that are no printable ASCII as `\xNN`.
        public let path: String
        /// What differs.
        public let field: String
        /// What it should be.
        public let expected: String
        /// What it is.
        public let found: String

        /// The difference as a line.
        public var description: String { "\(path): \(field): expected \(expected), found \(found)" }
    }

    /// The differences in the order in which they were found.
    public private(set) var differences: [Difference] = []

    private let expected: TreeManifest
    private let found: TreeManifest
    private let aspects: Aspects
    /// Which inode of `found` stands for one of `expected`, and the other way around.
    private var counterparts: [UInt64: UInt64] = [:]
    private var origins: [UInt64: UInt64] = [:]
    private var waiting: [(expected: UInt64, found: UInt64, path: [UInt8])] = []

    /// Compares `found` with what was `expected`.
    public init(
        expected: TreeManifest, found: TreeManifest, aspects: Aspects = .everything
    ) {
        self.expected = expected
        self.found = found
        self.aspects = aspects
        pair(expected.root, found.root, path: [])
        while let next = waiting.popLast() {
            guard let a = expected.nodes[next.expected] else {
                note(next.path, "inode \(next.expected)", "in the manifest", "missing there")
                continue
            }
            guard let b = found.nodes[next.found] else {
                note(next.path, "inode \(next.found)", "readable", "missing")
                continue
            }
            compare(a, b, path: next.path)
            compareEntries(a, b, path: next.path)
        }
    }

    /// Notes that two numbers stand for one inode, and has them compared when they are new.
    private mutating func pair(_ a: UInt64, _ b: UInt64, path: [UInt8]) {
        if aspects.contains(.inodeNumbers), a != b {
            note(path, "inode number", "\(a)", "\(b)")
        }
        switch (counterparts[a], origins[b]) {
        case (nil, nil):
            counterparts[a] = b
            origins[b] = a
            waiting.append((a, b, path))
        case (b, a):
            break
        default:
            note(path, "hard link", "to the inode of its other names", "to another")
        }
    }

    private mutating func compareEntries(_ a: TreeNode, _ b: TreeNode, path: [UInt8]) {
        guard let wanted = a.entries, let present = b.entries else {
            if (a.entries == nil) != (b.entries == nil) {
                note(path, "entries", "\(a.entries?.count ?? 0)", "\(b.entries?.count ?? 0)")
            }
            return
        }
        for (name, entry) in wanted {
            let isDot = name.bytes == [0x2E] || name.bytes == [0x2E, 0x2E]
            if isDot, !aspects.contains(.inodeNumbers) { continue }
            let child = path + [0x2F] + name.bytes
            guard let other = present[name] else {
                note(child, "name", "there", "missing")
                continue
            }
            if aspects.contains(.entryTypes), entry.type != other.type {
                note(child, "type of the entry", "\(entry.type)", "\(other.type)")
            }
            pair(entry.number, other.number, path: child)
        }
        for name in present.keys where wanted[name] == nil {
            note(path + [0x2F] + name.bytes, "name", "not there", "there")
        }
    }

    private mutating func compare(_ a: TreeNode, _ b: TreeNode, path: [UInt8]) {
        for failure in b.failures { note(path, "reading", "no error", failure) }
        if aspects.contains(.tree) { compareTree(a, b, path: path) }
        if aspects.contains(.times) {
            check(path, "access time", a.accessTime, b.accessTime)
            check(path, "modification time", a.modificationTime, b.modificationTime)
            check(path, "change time", a.changeTime, b.changeTime)
        }
        if aspects.contains(.creationTime) {
            check(path, "creation time", a.creationTime, b.creationTime)
        }
        if aspects.contains(.inodeState) {
            // Symbolic links and special files show these to nobody: the kernel opens none.
            if let flags = a.flags {
                check(path, "flags", hexadecimal(flags), b.flags.map(hexadecimal) ?? "none")
            }
            if a.generation != nil { check(path, "generation", a.generation, b.generation) }
            if a.projectID != nil { check(path, "project", a.projectID, b.projectID) }
        }
        if aspects.contains(.space) { compareSpace(a, b, path: path) }
    }

    private mutating func compareTree(_ a: TreeNode, _ b: TreeNode, path: [UInt8]) {
        check(path, "type", a.type, b.type)
        check(path, "permissions", a.permissions, b.permissions)
        check(path, "owner", a.userID, b.userID)
        check(path, "group", a.groupID, b.groupID)
        check(path, "device", a.device, b.device)
        if a.type != .directory || aspects.contains(.inodeNumbers) {
            check(path, "size", a.size, b.size)
            check(path, "link count", a.linkCount, b.linkCount)
        }
        if a.target != b.target {
            note(path, "target", quoted(a.target ?? []), quoted(b.target ?? []))
        }
        if a.contents != b.contents {
            note(path, "contents", "\(described(a.contents))", "\(described(b.contents))")
        }
        for (name, value) in a.attributes where b.attributes[name] != value {
            note(
                path, "attribute \(name)", quoted(value),
                b.attributes[name].map { quoted($0) } ?? "missing")
        }
        for name in b.attributes.keys where a.attributes[name] == nil {
            note(path, "attribute \(name)", "not there", "there")
        }
    }

    private mutating func compareSpace(_ a: TreeNode, _ b: TreeNode, path: [UInt8]) {
        check(path, "blocks of 512 bytes", a.blocks512, b.blocks512)
        if let wanted = a.map {
            let present = b.map ?? []
            if let index = firstDifference(wanted, present) {
                note(
                    path, "map (\(wanted.count) runs, found \(present.count)), run \(index)",
                    described(wanted, index), described(present, index))
            }
        }
        if let wanted = a.segments {
            let present = b.segments ?? []
            if let index = firstDifference(wanted, present) {
                note(
                    path, "data segments (\(wanted.count), found \(present.count)), \(index)",
                    described(wanted, index), described(present, index))
            }
        }
    }

    private mutating func check<Value: Equatable>(
        _ path: [UInt8], _ field: String, _ a: Value, _ b: Value
    ) {
        if a != b { note(path, field, "\(a)", "\(b)") }
    }

    private mutating func note(
        _ path: [UInt8], _ field: String, _ expected: String, _ found: String
    ) {
        differences.append(
            Difference(
                path: path.isEmpty ? "/" : escaped(path), field: field, expected: expected,
                found: found))
    }
}

private func firstDifference<Element: Equatable>(_ a: [Element], _ b: [Element]) -> Int? {
    for index in 0..<max(a.count, b.count) {
        guard index < a.count, index < b.count, a[index] == b[index] else { return index }
    }
    return nil
}

private func described(_ map: [TreeNode.Extent], _ index: Int) -> String {
    guard index < map.count else { return "no more" }
    let run = map[index]
    return "\(run.logical)+\(run.count) at \(run.physical)\(run.isUnwritten ? " unwritten" : "")"
}

private func described(_ segments: [TreeNode.Segment], _ index: Int) -> String {
    guard index < segments.count else { return "no more" }
    return "\(segments[index].offset)+\(segments[index].count)"
}

private func described(_ contents: TreeNode.Contents?) -> String {
    switch contents {
    case .digest(let digest): "digest \(String(digest.sum, radix: 16))"
    case .refused: "refused"
    case nil: "none"
    }
}

private func hexadecimal(_ number: UInt32) -> String { "0x" + String(number, radix: 16) }

/// Bytes as text that shows each of them: `\xNN` for what is no printable ASCII.
func escaped(_ bytes: some Sequence<UInt8>) -> String {
    var text = ""
    for byte in bytes {
        if (0x20..<0x7F).contains(byte), byte != UInt8(ascii: "\\") {
            text.unicodeScalars.append(Unicode.Scalar(byte))
        } else {
            let digits = String(byte, radix: 16)
            text += "\\x" + (digits.count < 2 ? "0" : "") + digits
        }
    }
    return text
}

/// Escaped bytes, cut when they are long, with their count.
func quoted(_ bytes: [UInt8]) -> String {
    "\"" + escaped(bytes.prefix(48)) + "\" (\(bytes.count) bytes)"
}
