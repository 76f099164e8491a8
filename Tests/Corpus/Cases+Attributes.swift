import Ext4
import Ext4Check
import Ext4Verify

/// Where the attributes in the inode itself start: behind the fields.
private func inlineAttributes(_ record: Record) -> Int {
    InodeRecord.goodOldSize + Int(record[IN.extraSize])
}

extension CaseList {
    mutating func addAttributes() {
        let first = XB.size
        func inBlock(
            _ name: String, seals: Bool = true, _ change: @escaping @Sendable (inout Record) -> Void
        ) {
            add("attribute/" + name, on: "ext4", "ext2") {
                try $0.attributeBlock(of: "/attributes", seals: seals, change)
            }
        }
        add("attribute/block-checksum", on: "ext4") {
            try $0.attributeBlock(of: "/attributes", seals: false) { $0[XB.checksum] ^= 1 }
        }
        inBlock("block-magic") { $0[XB.magic] = 0 }
        inBlock("block-reference-count") { $0[XB.referenceCount] += 1 }
        inBlock("block-reference-count-zero") { $0[XB.referenceCount] = 0 }
        inBlock("block-reference-count-large") { $0[XB.referenceCount] = 5000 }
        inBlock("block-blocks") { $0[XB.blockCount] = 2 }
        inBlock("block-hash") { $0[XB.hash] ^= 1 }
        inBlock("entry-hash") { $0[XE.hash.at(first)] ^= 1 }
        inBlock("entry-hash-missing") { $0[XE.hash.at(first)] = 0 }
        inBlock("value-padding") { record in
            // The value grows shorter by a byte: the one behind it pads its last word. The hash is
            // over whole words, and stays right.
            record[XE.valueSize.at(first)] -= 1
        }
        inBlock("entry-name-length") { $0[XE.nameLength.at(first)] = 255 }
        inBlock("entry-name-index") { $0[XE.nameIndex.at(first)] = 99 }
        inBlock("entry-value-offset") { $0[XE.valueOffset.at(first)] = 0xFFFF }
        inBlock("entry-value-offset-low") { $0[XE.valueOffset.at(first)] = 8 }
        inBlock("entry-value-size") { $0[XE.valueSize.at(first)] = 100_000 }
        inBlock("entry-value-inode") { $0[XE.valueInode.at(first)] = 12 }
        inBlock("block-garbage", seals: false) { $0.fill(0..<$0.bytes.count, 0x99) }
        inBlock("block-zeroed", seals: false) { $0.fill(0..<$0.bytes.count) }
        add("attribute/block-in-metadata", on: "ext4", "ext2") { editor in
            let table = try editor.descriptor(0).inodeTable.rawValue
            try editor.inode("/hello") { $0[IN.fileACLLow] = UInt32(table) }
        }
        add("attribute/block-shared-uncounted", on: "ext4") { editor in
            let block = try editor.inode("/attributes").attributeBlock.rawValue
            try editor.inode("/hello") {
                $0[IN.fileACLLow] = UInt32(block)
                $0[IN.blocksLow] += 2
            }
        }
        func inInode(_ name: String, _ change: @escaping @Sendable (inout Record, Int) -> Void) {
            add("attribute/" + name, on: "ext4", "ext3") {
                try $0.inode("/attributes") { change(&$0, inlineAttributes($0)) }
            }
        }
        inInode("inode-magic") { $0[XAttrInodeHeader.Layout.magic.at($1)] = 0x1234 }
        inInode("inode-name-length") { $0[XE.nameLength.at($1 + 4)] = 250 }
        inInode("inode-name-length-zero") { $0[XE.nameLength.at($1 + 4)] = 0 }
        inInode("inode-name-index") { $0[XE.nameIndex.at($1 + 4)] = 77 }
        inInode("inode-value-offset") { $0[XE.valueOffset.at($1 + 4)] = 3000 }
        inInode("inode-value-size") { $0[XE.valueSize.at($1 + 4)] = 3000 }
        inInode("inode-value-overlap") { $0[XE.valueOffset.at($1 + 4)] = 0 }
        inInode("inode-hash") { $0[XE.hash.at($1 + 4)] = 5 }
        inInode("inode-value-inode") { $0[XE.valueInode.at($1 + 4)] = 12 }
    }

    mutating func addAttributeInodes() {
        /// Changes the inode that holds the value of the large attribute of /huge.
        func value(
            _ name: String, _ change: @escaping @Sendable (inout Record) -> Void
        ) {
            add("ea-inode/" + name, on: "eainode") { editor in
                try editor.inode(try valueInode(editor), change)
            }
        }
        @Sendable func entry(_ record: Record) -> Int? {
            var offset = inlineAttributes(record) + 4
            while offset + 16 <= record.bytes.count, record[word(offset / 4)] != 0 {
                if record[XE.valueInode.at(offset)] != 0 { return offset }
                offset += (16 + Int(record[XE.nameLength.at(offset)]) + 3) & ~3
            }
            return nil
        }
        @Sendable func valueInode(_ editor: ImageEditor) throws -> UInt32 {
            let record = editor.record(
                try editor.start(ofInode: try editor.number("/huge")), editor.superblock.inodeSize)
            guard let offset = entry(record) else { throw Ext4Error.notFound }
            return record[XE.valueInode.at(offset)]
        }
        value("flag") { $0[IN.flags] &= ~0x20_0000 }
        value("links-zero") { $0[IN.linkCount] = 0 }
        value("mode") { $0[IN.mode] = 0o040755 }
        value("size") { $0[IN.sizeLow] -= 10 }
        value("reference-count") { $0[IN.changeTime] += 3 }
        value("zeroed") { $0.fill(0..<128) }
        value("hash") { $0[IN.accessTime] ^= 1 }
        add("ea-inode/contents", on: "eainode") { editor in
            let inode = try editor.sound.inode(InodeNumber(try valueInode(editor)))
            editor.block(try editor.block(of: inode)) { $0.bytes[7] ^= 1 }
        }
        func pointing(_ name: String, _ target: @escaping @Sendable (ImageEditor) throws -> UInt32)
        {
            add("ea-inode/" + name, on: "eainode") { editor in
                let target = try target(editor)
                try editor.inode("/huge") { record in
                    guard let offset = entry(record) else { return }
                    record[XE.valueInode.at(offset)] = target
                }
            }
        }
        pointing("number-outside") { _ in 0x00FF_FFFF }
        pointing("number-of-a-file") { try $0.number("/hello") }
        pointing("number-of-itself") { try $0.number("/huge") }
        pointing("number-unused") { $0.superblock.inodesPerGroup }
        pointing("number-root") { _ in 2 }
        add("ea-inode/name-in-directory", on: "eainode") { editor in
            let target = try valueInode(editor)
            try editor.entry("file", in: "/dir") { $0[DE.inode.at($1)] = target }
        }
        add("ea-inode/unreferenced", on: "eainode") {
            try $0.inode("/huge") { record in
                let start = inlineAttributes(record)
                record.fill(start..<record.bytes.count)
            }
        }
    }

    mutating func addInlineData() {
        add("inline/no-attribute", on: "inline") {
            try $0.inode("/hello") { record in
                record.fill(inlineAttributes(record)..<record.bytes.count)
            }
        }
        add("inline/no-attribute-of-long", on: "inline") {
            try $0.inode("/medium") { record in
                record.fill(inlineAttributes(record)..<record.bytes.count)
            }
        }
        add("inline/extents-flag", on: "inline") {
            try $0.inode("/hello") { $0[IN.flags] |= 0x80000 }
        }
        add("inline/flag-missing", on: "inline") {
            try $0.inode("/hello") { $0[IN.flags] &= ~0x1000_0000 }
        }
        add("inline/directory-parent", on: "inline") {
            try $0.inode("/dir") { $0[pointer(0)] = 0x00FF_FFFF }
        }
        add("inline/directory-parent-wrong", on: "inline") {
            try $0.inode("/dir/sub") { $0[pointer(0)] = 2 }
        }
        add("inline/directory-record-length", on: "inline") {
            try $0.inode("/dir") { $0[DE.recordLength.at(mapStart + 4)] = 3 }
        }
        add("inline/directory-inode", on: "inline") {
            try $0.inode("/dir") { $0[DE.inode.at(mapStart + 4)] = 0x00FF_FFFF }
        }
        add("inline/directory-name", on: "inline") {
            try $0.inode("/dir") { $0.bytes[mapStart + 4 + 9] = UInt8(ascii: "/") }
        }
        add("inline/directory-size", on: "inline") { try $0.inode("/dir") { $0[IN.sizeLow] = 37 } }
        add("inline/directory-index-flag", on: "inline") {
            try $0.inode("/dir") { $0[IN.flags] |= 0x1000 }
        }
        add("inline/blocks", on: "inline") { try $0.inode("/hello") { $0[IN.blocksLow] = 8 } }
        add("inline/attribute-value-size", on: "inline") {
            try $0.inode("/medium") { record in
                record[XE.valueSize.at(inlineAttributes(record) + 4)] = 9000
            }
        }
    }
}
