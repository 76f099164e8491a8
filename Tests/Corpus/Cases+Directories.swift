import Ext4
import Ext4Check
import Ext4Verify

extension CaseList {
    mutating func addDirectories() {
        add("directory/checksum", on: "ext4") {
            try $0.directoryBlock(of: "/dir", seals: false) { $0.bytes[$0.bytes.count - 1] ^= 1 }
        }
        add("directory/no-tail", on: "ext4") {
            try $0.directoryBlock(of: "/dir") { $0.bytes[$0.bytes.count - 5] = 0 }
        }
        add("directory/record-length-odd", on: "ext4", "ext2") {
            try $0.entry("file", in: "/dir") { $0[DE.recordLength.at($1)] += 1 }
        }
        add("directory/record-length-zero", on: "ext4", "ext2") {
            try $0.entry("file", in: "/dir") { $0[DE.recordLength.at($1)] = 0 }
        }
        add("directory/record-length-large", on: "ext4", "ext2") {
            try $0.entry("file", in: "/dir") { $0[DE.recordLength.at($1)] = 0x7FFC }
        }
        add("directory/record-length-small", on: "ext4", "ext2") {
            try $0.entry("file", in: "/dir") { $0[DE.recordLength.at($1)] = 8 }
        }
        add("directory/record-length-hides", on: "ext4", "ext2") {
            try $0.entry("file", in: "/dir") { record, start in
                let length = record[DE.recordLength.at(start)]
                let next = record[DE.recordLength.at(start + Int(length))]
                record[DE.recordLength.at(start)] = length + next
            }
        }
        add("directory/name-length-zero", on: "ext4", "ext2") {
            try $0.entry("file", in: "/dir") { $0[DE.nameLength.at($1)] = 0 }
        }
        add("directory/name-length-large", on: "ext4", "ext2") {
            try $0.entry("file", in: "/dir") { $0[DE.nameLength.at($1)] = 200 }
        }
        add("directory/name-slash", on: "ext4", "ext2") {
            try $0.entry("file", in: "/dir") { $0.bytes[$1 + 9] = UInt8(ascii: "/") }
        }
        add("directory/name-zero-byte", on: "ext4", "ext2") {
            try $0.entry("file", in: "/dir") { $0.bytes[$1 + 9] = 0 }
        }
        add("directory/name-twice", on: "ext4", "ext2") {
            try $0.entry("file", in: "/dir") { record, start in
                for (i, byte) in "gile".utf8.enumerated() { record.bytes[start + 8 + i] = byte }
            }
        }
        add("directory/name-of-a-directory-twice", on: "ext4") { editor in
            let target = try editor.number("/dir/sub")
            try editor.entry("file", in: "/dir") { record, start in
                record[DE.inode.at(start)] = target
                record[DE.fileType.at(start)] = 2
            }
        }
        add("directory/inode-too-large", on: "ext4", "ext2") {
            try $0.entry("file", in: "/dir") { $0[DE.inode.at($1)] = 0x00FF_FFFF }
        }
        add("directory/inode-unused", on: "ext4", "ext2") { editor in
            let free = editor.superblock.inodesPerGroup
            try editor.entry("file", in: "/dir") { $0[DE.inode.at($1)] = free }
        }
        add("directory/inode-zero", on: "ext4", "ext2") {
            try $0.entry("file", in: "/dir") { $0[DE.inode.at($1)] = 0 }
        }
        add("directory/inode-reserved", on: "ext4", "ext2") {
            try $0.entry("file", in: "/dir") { $0[DE.inode.at($1)] = 8 }
        }
        add("directory/inode-bad-blocks", on: "ext2") {
            try $0.entry("file", in: "/dir") { $0[DE.inode.at($1)] = 1 }
        }
        add("directory/inode-is-root", on: "ext4", "ext2") {
            try $0.entry("sub", in: "/dir") { $0[DE.inode.at($1)] = 2 }
        }
        add("directory/inode-is-itself", on: "ext4", "ext2") { editor in
            let itself = try editor.number("/dir")
            try editor.entry("sub", in: "/dir") { $0[DE.inode.at($1)] = itself }
        }
        add("directory/type-wrong", on: "ext4", "ext2") {
            try $0.entry("file", in: "/dir") { $0[DE.fileType.at($1)] = 5 }
        }
        add("directory/type-unset", on: "ext4", "ext2") {
            try $0.entry("file", in: "/dir") { $0[DE.fileType.at($1)] = 0 }
        }
        add("directory/type-without-feature", on: "notype") {
            try $0.entry("file", in: "/dir") { $0[DE.fileType.at($1)] = 1 }
        }
        add("directory/type-garbage", on: "ext4", "ext2") {
            try $0.entry("file", in: "/dir") { $0[DE.fileType.at($1)] = 0xF0 }
        }
        add("directory/block-zeroed", on: "ext4", "ext2") {
            try $0.directoryBlock(of: "/dir", seals: false) { $0.fill(0..<$0.bytes.count) }
        }
        add("directory/block-garbage", on: "ext4", "ext2") {
            try $0.directoryBlock(of: "/dir", seals: false) { $0.fill(0..<$0.bytes.count, 0x77) }
        }
        add("directory/root-block-zeroed", on: "ext4", "ext2") {
            try $0.directoryBlock(of: "/", seals: false) { $0.fill(0..<$0.bytes.count) }
        }
        add("directory/hole", on: "ext2", "ext3") {
            try $0.inode("/lost+found") { $0[pointer(2)] = 0 }
        }
        add("directory/no-blocks", on: "ext4") {
            try $0.inode("/dir") { $0[EH.entries.at(mapStart)] = 0 }
        }
        add("directory/no-pointers", on: "ext2") { try $0.inode("/dir") { $0[pointer(0)] = 0 } }
        add("directory/hole-in-extents", on: "ext4") {
            try $0.inode("/dir") { $0[EE.block.at(rootEntry(0))] = 1 }
        }
        add("directory/lost-and-found-entry", on: "ext4", "ext2") {
            try $0.entry("lost+found", in: "/") { $0.bytes[$1 + 8] = UInt8(ascii: "L") }
        }
        add("directory/lost-and-found-gone", on: "ext4", "ext2") {
            try $0.entry("lost+found", in: "/") { $0[DE.inode.at($1)] = 0 }
        }
    }

    mutating func addDots() {
        add("dots/dot-renamed", on: "ext4", "ext2") {
            try $0.entry(".", in: "/dir") { $0.bytes[$1 + 8] = UInt8(ascii: "x") }
        }
        add("dots/dot-inode", on: "ext4", "ext2") {
            try $0.entry(".", in: "/dir") { $0[DE.inode.at($1)] = 2 }
        }
        add("dots/dot-inode-zero", on: "ext4", "ext2") {
            try $0.entry(".", in: "/dir") { $0[DE.inode.at($1)] = 0 }
        }
        add("dots/dot-long", on: "ext4", "ext2") {
            try $0.entry(".", in: "/dir") { $0[DE.recordLength.at($1)] = 24 }
        }
        add("dots/dot-type", on: "ext4", "ext2") {
            try $0.entry(".", in: "/dir") { $0[DE.fileType.at($1)] = 1 }
        }
        add("dots/dot-not-terminated", on: "ext2") {
            try $0.entry(".", in: "/dir") { $0.bytes[$1 + 9] = 1 }
        }
        add("dots/dotdot-renamed", on: "ext4", "ext2") {
            try $0.entry("..", in: "/dir") { $0.bytes[$1 + 9] = UInt8(ascii: "y") }
        }
        add("dots/dotdot-inode", on: "ext4", "ext2") {
            try $0.entry("..", in: "/dir/sub") { $0[DE.inode.at($1)] = 2 }
        }
        add("dots/dotdot-inode-zero", on: "ext4", "ext2") {
            try $0.entry("..", in: "/dir") { $0[DE.inode.at($1)] = 0 }
        }
        add("dots/dotdot-inode-outside", on: "ext4", "ext2") {
            try $0.entry("..", in: "/dir") { $0[DE.inode.at($1)] = 0x00FF_FFFF }
        }
        add("dots/dotdot-of-root", on: "ext4", "ext2") { editor in
            let other = try editor.number("/dir")
            try editor.entry("..", in: "/") { $0[DE.inode.at($1)] = other }
        }
        add("dots/dotdot-is-a-file", on: "ext4") { editor in
            let other = try editor.number("/hello")
            try editor.entry("..", in: "/dir") { $0[DE.inode.at($1)] = other }
        }
        add("dots/dotdot-of-index", on: "ext4") { editor in
            let other = try editor.number("/dir")
            try editor.entry("..", in: "/index") { $0[DE.inode.at($1)] = other }
        }
        add("dots/second-dot", on: "ext4", "ext2") {
            try $0.entry("file", in: "/dir") {
                $0[DE.nameLength.at($1)] = 1
                $0.bytes[$1 + 8] = UInt8(ascii: ".")
            }
        }
        add("dots/second-dotdot", on: "ext4", "ext2") {
            try $0.entry("file", in: "/dir") {
                $0[DE.nameLength.at($1)] = 2
                $0.bytes[$1 + 8] = UInt8(ascii: ".")
                $0.bytes[$1 + 9] = UInt8(ascii: ".")
            }
        }
    }

    mutating func addConnectivity() {
        add("connect/directory-lost", on: "ext4", "ext2", "inline") {
            try $0.entry("dir", in: "/") { $0[DE.inode.at($1)] = 0 }
        }
        add("connect/file-lost", on: "ext4", "ext2", "inline") {
            try $0.entry("big", in: "/") { $0[DE.inode.at($1)] = 0 }
        }
        add("connect/empty-file-lost", on: "ext4", "ext2") {
            try $0.entry("empty", in: "/") { $0[DE.inode.at($1)] = 0 }
        }
        add("connect/device-lost", on: "ext4", "ext2") {
            try $0.entry("char", in: "/") { $0[DE.inode.at($1)] = 0 }
        }
        add("connect/link-lost", on: "ext4", "ext2") {
            try $0.entry("fast", in: "/") { $0[DE.inode.at($1)] = 0 }
        }
        add("connect/file-and-lost-and-found-lost", on: "ext4", "ext2") { editor in
            try editor.entry("lost+found", in: "/") { $0[DE.inode.at($1)] = 0 }
            try editor.entry("big", in: "/") { $0[DE.inode.at($1)] = 0 }
        }
        add("connect/loop", on: "ext4", "ext2") { editor in
            let sub = try editor.number("/dir/sub")
            try editor.entry("..", in: "/dir") { $0[DE.inode.at($1)] = sub }
            try editor.entry("dir", in: "/") { $0[DE.inode.at($1)] = 0 }
            let dir = try editor.number("/dir")
            try editor.entry("leaf", in: "/dir/sub") { record, start in
                record[DE.inode.at(start)] = dir
                record[DE.fileType.at(start)] = 2
            }
        }
        add("connect/index-lost", on: "ext4") {
            try $0.entry("index", in: "/") { $0[DE.inode.at($1)] = 0 }
        }
        add("connect/lost-and-found-number-taken", on: "ext4", "ext2") { editor in
            // The name that the lost file would get stands there already.
            let lost = try editor.number("/big")
            try editor.entry("big", in: "/") { $0[DE.inode.at($1)] = 0 }
            let other = try editor.number("/hello")
            try editor.directoryBlock(of: "/lost+found") { record in
                let name = Array("#\(lost)".utf8)
                let size = (8 + name.count + 3) & ~3
                let room = Int(record[DE.recordLength.at(12)])
                record[DE.recordLength.at(12)] = 12
                record[DE.inode.at(24)] = other
                record[DE.recordLength.at(24)] = UInt16(room - 12)
                record[DE.nameLength.at(24)] = UInt8(name.count)
                record[DE.fileType.at(24)] = 1
                record.bytes.replaceSubrange(32..<32 + name.count, with: name)
                _ = size
            }
            try editor.inode("/hello") { $0[IN.linkCount] += 1 }
        }
        add("connect/root-gone", on: "ext4", "ext2") { editor in
            try editor.inode(2, seals: false) { $0.fill(0..<$0.bytes.count) }
            try editor.inode("/lost+found", seals: false) { $0.fill(0..<$0.bytes.count) }
        }
    }

    mutating func addIndexes() {
        typealias Root = HTreeNode.RootLayout
        typealias Counts = HTreeNode.CountLayout
        typealias Entry = HTreeNode.EntryLayout
        let base = HTreeNode.rootBase
        let entries = base + Root.size
        func root(
            _ name: String, seals: Bool = true, _ change: @escaping @Sendable (inout Record) -> Void
        ) {
            add("index/" + name, on: "ext4", "ext3") {
                try $0.directoryBlock(of: "/index", seals: seals, isIndex: true, change)
            }
        }
        add("index/checksum", on: "ext4") {
            try $0.directoryBlock(of: "/index", seals: false, isIndex: true) {
                $0.bytes[$0.bytes.count - 1] ^= 1
            }
        }
        root("hash-version") { $0[Root.hashVersion.at(base)] = 77 }
        root("hash-version-other") { $0[Root.hashVersion.at(base)] ^= 1 }
        root("info-length") { $0[Root.infoLength.at(base)] = 7 }
        root("levels") { $0[Root.indirectLevels.at(base)] = 3 }
        root("levels-one") { $0[Root.indirectLevels.at(base)] = 1 }
        root("reserved-zero") { $0[Root.zero.at(base)] = 5 }
        root("limit") { $0[Counts.limit.at(entries)] -= 1 }
        root("limit-large") { $0[Counts.limit.at(entries)] = 0xFFFF }
        root("count-large") { $0[Counts.count.at(entries)] = 0xFFF }
        root("count-zero") { $0[Counts.count.at(entries)] = 0 }
        root("count-smaller") { $0[Counts.count.at(entries)] -= 1 }
        root("block-outside") { $0[Entry.block.at(entries + 8)] = 9999 }
        root("block-zero") { $0[Entry.block.at(entries + 8)] = 0 }
        root("block-twice") { $0[Entry.block.at(entries + 8)] = $0[Entry.block.at(entries + 16)] }
        root("hash-order") {
            let first = $0[Entry.hash.at(entries + 8)]
            $0[Entry.hash.at(entries + 8)] = $0[Entry.hash.at(entries + 16)]
            $0[Entry.hash.at(entries + 16)] = first
        }
        root("hash-bound") { $0[Entry.hash.at(entries + 8)] += 0x1000_0000 }
        add("index/name-in-wrong-leaf", on: "ext4", "ext3") {
            try $0.directoryBlock(1, of: "/index") { $0.bytes[9] ^= 3 }
        }
        add("index/leaf-zeroed", on: "ext4", "ext3") {
            try $0.directoryBlock(2, of: "/index", seals: false) { $0.fill(0..<$0.bytes.count) }
        }
        add("index/leaf-checksum", on: "ext4") {
            try $0.directoryBlock(2, of: "/index", seals: false) {
                $0.bytes[$0.bytes.count - 1] ^= 1
            }
        }
        add("index/root-zeroed", on: "ext4", "ext3") {
            try $0.directoryBlock(0, of: "/index", seals: false) { $0.fill(0..<$0.bytes.count) }
        }
        add("index/node-count", on: "htree") {
            try $0.directoryBlock(124, of: "/many", isIndex: true) { $0[Counts.count.at(8)] = 0 }
        }
    }
}
