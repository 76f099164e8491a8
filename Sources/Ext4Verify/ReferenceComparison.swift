import Foundation

@testable import Ext4

/// What a file, directory or other object should be.
final class ModelNode {
    let number: InodeNumber
    var mode: FileMode
    var userID: UInt32
    var groupID: UInt32
    var flags: InodeFlags = []
    var attributes: [FileName: [UInt8]] = [:]
    var contents = SparseContents()
    var target: [UInt8] = []
    var device: DeviceNumber?
    var modificationTime: Timestamp
    /// How many names lead here; of a directory, none are counted.
    var names = 0
    /// References that the workload has taken.
    var references: UInt64 = 0

    // Of directories.
    var entries: [FileName: ModelNode] = [:]
    weak var parent: ModelNode?

    init(number: InodeNumber, new: NewInode, time: Timestamp) {
        self.number = number
        mode = new.mode
        userID = new.userID
        groupID = new.groupID
        target = new.target
        device = new.device
        modificationTime = time
    }

    var type: FileType { mode.type }
    var isDirectory: Bool { type == .directory }

    /// Whether `other` is this or somewhere above it.
    func isBelow(_ other: ModelNode) -> Bool {
        var current: ModelNode? = self
        while let node = current {
            if node === other { return true }
            current = node.parent
        }
        return false
    }

    var linkCount: UInt32 {
        isDirectory ? UInt32(2 + entries.values.filter(\.isDirectory).count) : UInt32(names)
    }
}

/// Compares a volume with the model of it.
struct ModelComparison {
    let volume: Volume
    private(set) var differences: [String] = []
    private(set) var count = 0

    init(_ root: ModelNode, of volume: Volume, orphans: [ModelNode] = []) {
        self.volume = volume
        do {
            try compare(root, try volume.inode(root.number), path: "")
            for node in orphans {
                try compare(node, try volume.inodes.inode(node.number), path: "orphan")
            }
        } catch {
            differences.append("the comparison failed: \(error)")
        }
    }

    /// For parts.
    init(of volume: Volume) { self.volume = volume }

    private mutating func check<Value: Equatable>(
        _ path: String, _ what: String, _ expected: Value, _ found: Value
    ) {
        if expected != found {
            differences.append("\(path): \(what): expected \(expected), found \(found)")
        }
    }

    mutating func compare(_ node: ModelNode, _ inode: Inode, path: String) throws {
        count += 1
        guard differences.count < 20 else { return }
        check(path, "number", node.number, inode.number)
        check(path, "mode", node.mode.rawValue, inode.mode.rawValue)
        check(path, "owner", node.userID, inode.userID)
        check(path, "group", node.groupID, inode.groupID)
        // The root has one more subdirectory, lost+found.
        check(
            path, "links", node.linkCount + (inode.number == .root ? 1 : 0), inode.linkCount)
        check(path, "device", node.device, inode.device)
        check(path, "flags", node.flags, inode.flags.intersection(Workload.modelledFlags))
        check(path, "modification time", node.modificationTime, inode.modificationTime)
        var attributes: [FileName: [UInt8]] = [:]
        for attribute in try volume.extendedAttributes(of: inode) {
            attributes[attribute.name] = attribute.value
        }
        if attributes != node.attributes {
            let names = Set(attributes.keys).union(node.attributes.keys)
                .filter { attributes[$0] != node.attributes[$0] }
                .map {
                    "\($0) \(node.attributes[$0]?.count ?? -1)/\(attributes[$0]?.count ?? -1)"
                }
            differences.append("\(path): attributes differ: \(names.sorted())")
        }
        switch node.type {
        case .regular: try compareContents(node, inode, path)
        case .symlink:
            check(path, "target", node.target, try volume.symlinkTarget(of: inode))
        case .directory: try compareEntries(node, inode, path)
        default: break
        }
    }

    private mutating func compareEntries(
        _ node: ModelNode, _ inode: Inode, _ path: String
    ) throws {
        var found: [FileName: DirectoryEntry] = [:]
        for entry in try volume.entries(of: inode) {
            if found.updateValue(entry, forKey: entry.name) != nil {
                differences.append("\(path)/\(entry.name): listed twice")
            }
        }
        check(path, ".", node.number, found.removeValue(forKey: ".")?.inode ?? InodeNumber(0))
        check(
            path, "..", node.parent?.number ?? .root,
            found.removeValue(forKey: "..")?.inode ?? InodeNumber(0))
        if node.number == .root { found["lost+found"] = nil }
        for (name, child) in node.entries {
            guard let entry = found.removeValue(forKey: name) else {
                differences.append("\(path)/\(name): missing")
                continue
            }
            check("\(path)/\(name)", "entry's inode", child.number, entry.inode)
            check("\(path)/\(name)", "entry's type", child.type, entry.type)
            let inode = try volume.lookup(name, in: inode)
            try compare(child, inode, path: "\(path)/\(name)")
        }
        for name in found.keys { differences.append("\(path)/\(name): should not be there") }
    }

    private mutating func compareContents(
        _ node: ModelNode, _ inode: Inode, _ path: String
    ) throws {
        check(path, "size", node.contents.size, inode.size)
        guard node.contents.size == inode.size else { return }
        if inode.size <= 4 << 20 {
            try comparePart(node, inode, 0, Int(inode.size), path)
            return
        }
        // Of a sparse file, where either has something.
        for index in node.contents.pieces.keys {
            let offset = index * SparseContents.pieceSize
            try comparePart(node, inode, offset, Int(SparseContents.pieceSize), path)
        }
        let blockSize = UInt64(volume.blockSize)
        for run in try volume.mappings(of: inode) {
            guard case .mapped = run.state else { continue }
            try comparePart(
                node, inode, run.logical.rawValue * blockSize, Int(run.count * blockSize), path)
        }
        try comparePart(
            node, inode, inode.size - min(inode.size, 5000), 10_000, path)
    }

    mutating func comparePart(
        _ node: ModelNode, _ inode: Inode, _ offset: UInt64, _ count: Int, _ path: String
    ) throws {
        let expected = node.contents.bytes(at: offset, count: count)
        let found = try volume.bytes(of: inode, at: offset, count: count)
        guard !equal(expected, found) else { return }
        guard expected.count == found.count else {
            differences.append(
                "\(path): reading \(count) bytes at \(offset) gave \(found.count), not "
                    + "\(expected.count)")
            return
        }
        let first = expected.indices.first { expected[$0] != found[$0] } ?? 0
        let last = expected.indices.last { expected[$0] != found[$0] } ?? 0
        differences.append(
            "\(path): contents (size \(inode.size)) differ in \(offset + UInt64(first))..."
                + "\(offset + UInt64(last)): expected \(expected[first]), found \(found[first])"
                + (inode.usesInlineData ? " inline" : ""))
    }
}

/// `==` of arrays goes byte by byte where nothing is optimised.
func equal(_ a: [UInt8], _ b: [UInt8]) -> Bool {
    guard a.count == b.count else { return false }
    return unsafe a.withUnsafeBytes { a in
        unsafe b.withUnsafeBytes { b in
            guard let x = a.baseAddress, let y = b.baseAddress else { return true }
            return unsafe memcmp(x, y, a.count) == 0
        }
    }
}

extension Volume {
    /// Reads a part of a file.
    func bytes(of inode: Inode, at offset: UInt64, count: Int) throws(Ext4Error) -> [UInt8] {
        var bytes = [UInt8](repeating: 0xEE, count: count)
        let got: Int
        do {
            var span = bytes.mutableSpan
            var raw = unsafe span.mutableBytes
            got = try read(inode, at: offset, into: &raw)
        }
        return Array(bytes.prefix(got))
    }

    /// Writes to a file.
    func write(
        _ bytes: [UInt8], to inode: Inode, at offset: UInt64, by credentials: Credentials = .root
    ) throws(Ext4Error) {
        try write(unsafe bytes.span.bytes, to: inode, at: offset, by: credentials)
    }
}
