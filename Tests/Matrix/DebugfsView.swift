import Ext4
import Ext4Verify

/// What `debugfs` says of each inode of an image, for the images that no kernel here mounts.
struct DebugfsView {
    private let bench: Workbench
    private let seen: TreeManifest
    private let blockSize: UInt64

    /// Asks for the inodes of a manifest.
    init(of seen: TreeManifest, on bench: Workbench) throws {
        self.seen = seen
        self.bench = bench
        let output = try bench.debugfs(["show_super_stats -h"], on: bench.image, writing: false)
        var blockSize: UInt64 = 0
        for line in lines(of: output) where line.hasPrefix("Block size:") {
            blockSize = line.split(separator: " ").last.flatMap { UInt64($0) } ?? 0
        }
        guard blockSize > 0 else { throw TrialError.failed("debugfs shows no block size") }
        self.blockSize = blockSize
    }

    /// The same manifest with everything that `debugfs` tells in place of what it had.
    func manifest() throws -> TreeManifest {
        let numbers = seen.nodes.keys.sorted()
        let output = try bench.debugfs(
            numbers.map { "stat <\($0)>" }, on: bench.image, writing: false)
        var result = seen
        var number: UInt64 = 0
        var node: TreeNode?
        var told = 0
        var inMap = false
        for line in lines(of: output) {
            if line.hasPrefix("Inode: ") {
                if let node { result.nodes[number] = node }
                let words = line.split(separator: " ")
                number = words.count > 1 ? UInt64(words[1]) ?? 0 : 0
                node = seen.nodes[number]
                // The map shows only where there are blocks.
                if node?.map != nil { node?.map = [] }
                told += node == nil ? 0 : 1
                inMap = false
            }
            guard node != nil else { continue }
            if inMap {
                if line.hasPrefix("TOTAL") {
                    inMap = false
                } else if node?.map != nil {
                    addRuns(of: line, to: &node)
                }
            } else if line == "EXTENTS:" || line == "BLOCKS:" {
                inMap = true
            } else {
                read(line, into: &node)
            }
        }
        if let node { result.nodes[number] = node }
        guard told == numbers.count else {
            throw TrialError.failed("debugfs told of \(told) inodes of \(numbers.count)")
        }
        return result
    }

    private func read(_ line: Substring, into node: inout TreeNode?) {
        let words = line.split(separator: " ")
        func value(_ label: String, radix: Int = 10) -> Int64? {
            guard let at = words.firstIndex(of: label[...]), at + 1 < words.count else {
                return nil
            }
            let word = words[at + 1]
            return Int64(word.hasPrefix("0x") ? word.dropFirst(2) : word, radix: radix)
        }
        if line.hasPrefix("Inode: "), let mode = value("Mode:", radix: 8) {
            node?.permissions = UInt16(truncatingIfNeeded: mode)
            if let flags = value("Flags:", radix: 16) {
                node?.flags = UInt32(truncatingIfNeeded: flags) & 0x725B_DFFF
            }
        } else if line.hasPrefix("Generation: "), let generation = value("Generation:") {
            node?.generation = UInt32(truncatingIfNeeded: generation)
        } else if line.hasPrefix("User: "), let user = value("User:"), let group = value("Group:"),
            let size = value("Size:")
        {
            node?.userID = UInt32(truncatingIfNeeded: user)
            node?.groupID = UInt32(truncatingIfNeeded: group)
            node?.size = UInt64(bitPattern: size)
        } else if line.hasPrefix("Links: "), let links = value("Links:"),
            let blocks = value("Blockcount:")
        {
            node?.linkCount = UInt32(truncatingIfNeeded: links)
            // As `stat` shows it, which counts what is inline.
            let inline = node?.type == .regular && (node?.flags ?? 0) & 0x1000_0000 != 0
            let size = inline ? node?.size ?? 0 : 0
            node?.blocks512 = UInt64(bitPattern: blocks) + (size + 511) / 512
        } else if words.count > 1, words[1].hasPrefix("0x") {
            let time = time(words[1].dropFirst(2))
            switch words[0] {
            case "atime:": node?.accessTime = time
            case "mtime:": node?.modificationTime = time
            case "ctime:": node?.changeTime = time
            case "crtime:": node?.creationTime = time
            default: break
            }
        } else if line.contains("Device major/minor number: ") {
            guard let at = words.firstIndex(of: "number:"), at + 1 < words.count else { return }
            let parts = words[at + 1].split(separator: ":").compactMap { UInt32($0) }
            if parts.count == 2 { node?.device = DeviceNumber(major: parts[0], minor: parts[1]) }
        }
    }

    /// `6b031a6c:0000000c`, the two words of a time, or the first alone.
    private func time(_ text: Substring) -> Timestamp {
        let words = text.split(separator: ":").map { UInt32($0, radix: 16) ?? 0 }
        let low = Int64(Int32(bitPattern: words[0]))
        guard words.count > 1 else { return Timestamp(seconds: low) }
        return Timestamp(seconds: low + Int64(words[1] % 4) << 32, nanoseconds: words[1] / 4)
    }

    /// `(ETB0):33, (0-4):100-104, (5[u]):200, (IND):7`
    private func addRuns(of line: Substring, to node: inout TreeNode?) {
        for part in line.split(separator: ",") {
            let sides = part.split(separator: ":")
            guard sides.count == 2 else { continue }
            let name = sides[0].drop { $0 == " " || $0 == "(" }.prefix { $0 != ")" }
            let isUnwritten = name.hasSuffix("[u]")
            let logical = (isUnwritten ? name.dropLast(3) : name).split(separator: "-")
            guard let first = logical.first.flatMap({ UInt64($0) }),
                let last = logical.last.flatMap({ UInt64($0) }),
                let place = sides[1].split(separator: "-").first.flatMap({ UInt64($0) })
            else { continue }
            node?.map?.append(
                merging: TreeNode.Extent(
                    logical: first * blockSize, physical: place * blockSize,
                    count: (last - first + 1) * blockSize, isUnwritten: isUnwritten))
        }
    }
}

private func lines(of output: [UInt8]) -> [Substring] {
    String(decoding: output, as: UTF8.self).split(separator: "\n")
}
