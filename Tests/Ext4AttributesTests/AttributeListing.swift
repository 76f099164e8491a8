import Ext4
import Foundation

/// The extended attributes of a tree: of each path, below the root, the values by name.
struct AttributeListing: Equatable {
    var files: [String: [[UInt8]: [UInt8]]] = [:]

    /// What `getfattr` prints of a tree that the kernel has mounted. Files without attributes are
    /// left out.
    static func kernel(_ root: String) throws -> AttributeListing {
        // One call a file: the tool's own recursion follows no links, but stops at the first error.
        let text = try KernelImage.shell(
            "cd \"$1\"; find . -exec getfattr -h -d -m - -e hex -- {} +", root)
        var listing = AttributeListing()
        var path = ""
        for line in text.split(separator: UInt8(ascii: "\n")) {
            if line.starts(with: Array("# file: ".utf8)) {
                path = shortened(unescaped(line.dropFirst(8)))
                continue
            }
            let end = line.firstIndex(of: UInt8(ascii: "=")) ?? line.endIndex
            let name = unescaped(line[..<end])
            listing.files[path, default: [:]][name] = value(line[end...])
        }
        return listing
    }

    /// What this engine reads.
    static func engine(_ volume: Volume) throws -> AttributeListing {
        var listing = AttributeListing()
        var pending: [(path: String, inode: Inode)] = [("", try volume.root())]
        while let (path, inode) = pending.popLast() {
            let attributes = try volume.extendedAttributes(of: inode)
            for attribute in attributes {
                listing.files[path, default: [:]][attribute.name.bytes] = attribute.value
            }
            guard inode.isDirectory else { continue }
            for entry in try volume.entries(of: inode)
            where entry.name != "." && entry.name != ".." {
                let name = path.isEmpty ? "\(entry.name)" : "\(path)/\(entry.name)"
                pending.append((name, try volume.inode(entry.inode)))
            }
        }
        return listing
    }

    /// In which files, and which names, two listings differ.
    func differences(from other: AttributeListing) -> [String] {
        Set(files.keys).union(other.files.keys).sorted().flatMap { path -> [String] in
            let (mine, others) = (files[path] ?? [:], other.files[path] ?? [:])
            return Set(mine.keys).union(others.keys).filter { mine[$0] != others[$0] }.map {
                "\(path): \(String(decoding: $0, as: UTF8.self)): "
                    + "\(describe(mine[$0])) against \(describe(others[$0]))"
            }
        }
    }

    private func describe(_ value: [UInt8]?) -> String {
        value.map { "\($0.count) bytes \($0.prefix(40))" } ?? "none"
    }

    /// Takes `./` off; the root itself is the empty path.
    private static func shortened(_ bytes: [UInt8]) -> String {
        let path = String(decoding: bytes, as: UTF8.self)
        return path == "." ? "" : path.hasPrefix("./") ? String(path.dropFirst(2)) : path
    }

    /// `getfattr` writes some bytes as a backslash and three octal digits.
    private static func unescaped(_ text: ArraySlice<UInt8>) -> [UInt8] {
        var bytes: [UInt8] = []
        var rest = text
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "\\"), rest.count >= 3 else {
                bytes.append(byte)
                continue
            }
            let code = rest.prefix(3).reduce(0) { $0 * 8 + Int($1) - 0x30 }
            bytes.append(UInt8(truncatingIfNeeded: code))
            rest = rest.dropFirst(3)
        }
        return bytes
    }

    private static func value(_ text: ArraySlice<UInt8>) -> [UInt8] {
        let digits = text.dropFirst(3).compactMap { Character(UnicodeScalar($0)).hexDigitValue }
        return stride(from: 0, to: digits.count - 1, by: 2).map {
            UInt8(digits[$0] * 16 + digits[$0 + 1])
        }
    }
}
