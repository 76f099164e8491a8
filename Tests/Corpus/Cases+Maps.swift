import Ext4
import Ext4Check
import Ext4Verify

extension CaseList {
    mutating func addExtents() {
        add("extent/root-magic", on: "ext4") {
            try $0.inode("/big") { $0[EH.magic.at(mapStart)] = 7 }
        }
        add("extent/root-depth", on: "ext4") {
            try $0.inode("/big") { $0[EH.depth.at(mapStart)] = 9 }
        }
        add("extent/root-depth-one", on: "ext4") {
            try $0.inode("/big") { $0[EH.depth.at(mapStart)] = 1 }
        }
        add("extent/root-entries", on: "ext4") {
            try $0.inode("/big") { $0[EH.entries.at(mapStart)] = 9 }
        }
        add("extent/root-no-entries", on: "ext4") {
            try $0.inode("/big") { $0[EH.entries.at(mapStart)] = 0 }
        }
        add("extent/root-maximum", on: "ext4") {
            try $0.inode("/big") { $0[EH.maximum.at(mapStart)] = 5 }
        }
        add("extent/root-maximum-zero", on: "ext4") {
            try $0.inode("/big") { $0[EH.maximum.at(mapStart)] = 0 }
        }
        add("extent/start-outside", on: "ext4", "bigalloc") {
            try $0.inode("/big") { $0[EE.startLow.at(rootEntry(0))] = 0x0FFF_FFFF }
        }
        add("extent/start-high", on: "ext4") {
            try $0.inode("/big") { $0[EE.startHigh.at(rootEntry(0))] = 1 }
        }
        add("extent/start-zero", on: "ext4") {
            try $0.inode("/big") { $0[EE.startLow.at(rootEntry(0))] = 0 }
        }
        add("extent/length-zero", on: "ext4") {
            try $0.inode("/big") { $0[EE.length.at(rootEntry(0))] = 0 }
        }
        add("extent/length-beyond-volume", on: "ext4") {
            try $0.inode("/big") { $0[EE.length.at(rootEntry(0))] = 30000 }
        }
        add("extent/over-metadata", on: "ext4") { editor in
            let table = try editor.descriptor(0).inodeTable.rawValue
            try editor.inode("/big") { $0[EE.startLow.at(rootEntry(0))] = UInt32(table) }
        }
        add("extent/over-superblock", on: "ext4") {
            try $0.inode("/hello") { $0[EE.startLow.at(rootEntry(0))] = 1 }
        }
        add("extent/unwritten-in-directory", on: "ext4") {
            try $0.inode("/dir") { $0[EE.length.at(rootEntry(0))] |= 0x8000 }
        }
        add("extent/unwritten-in-file", on: "ext4") {
            try $0.inode("/hello") { $0[EE.length.at(rootEntry(0))] |= 0x8000 }
        }
        add("extent/beyond-size", on: "ext4") {
            try $0.inode("/hello") { $0[EE.block.at(rootEntry(0))] = 50 }
        }
        add("extent/last-block", on: "ext4") {
            try $0.inode("/hello") { $0[EE.block.at(rootEntry(0))] = 0xFFFF_FFFF }
        }
        add("extent/root-index-outside", on: "ext4") {
            try $0.inode("/deep") { $0[EI.leafLow.at(rootEntry(0))] = 0x0FFF_FFFF }
        }
        add("extent/root-index-zero", on: "ext4") {
            try $0.inode("/deep") { $0[EI.leafLow.at(rootEntry(0))] = 0 }
        }
        add("extent/root-index-key", on: "ext4") {
            try $0.inode("/deep") { $0[EI.block.at(rootEntry(0))] = 3 }
        }
        add("extent/depth-too-small", on: "ext4") {
            try $0.inode("/deep") { $0[EH.depth.at(mapStart)] = 1 }
        }
        /// Changes the first node below the root of /deep, or with `leaf` the first leaf.
        func node(
            _ name: String, leaf: Bool = false, seals: Bool = true,
            _ change: @escaping @Sendable (inout Record) -> Void
        ) {
            add(name, on: "ext4") { editor in
                let inode = try editor.inode("/deep")
                var block = editor.extentChild(of: inode)
                if leaf {
                    let record = editor.record(editor.start(of: block), editor.blockSize)
                    block = unsafe ExtentNode.child(record.bytes.span.bytes, 0).rawValue
                }
                editor.extentNode(block, of: inode, seals: seals, change)
            }
        }
        node("extent/node-checksum", seals: false) { $0.bytes[$0.bytes.count - 4] ^= 1 }
        node("extent/node-magic") { $0[EH.magic] = 0 }
        node("extent/node-depth") { $0[EH.depth] = 3 }
        node("extent/node-entries") { $0[EH.entries] = 500 }
        node("extent/node-no-entries") { $0[EH.entries] = 0 }
        node("extent/node-maximum") { $0[EH.maximum] = 4000 }
        node("extent/node-index-outside") { $0[EI.leafLow.at(nodeEntry(0))] = 0x0FFF_FFFF }
        node("extent/node-index-key") { $0[EI.block.at(nodeEntry(1))] += 1 }
        node("extent/node-index-repeated") {
            $0[EI.leafLow.at(nodeEntry(1))] = $0[EI.leafLow.at(nodeEntry(0))]
        }
        node("extent/node-zeroed", seals: false) { $0.fill(0..<$0.bytes.count) }
        node("extent/leaf-checksum", leaf: true, seals: false) { $0.bytes[$0.bytes.count - 4] ^= 1 }
        node("extent/leaf-magic", leaf: true) { $0[EH.magic] = 0 }
        node("extent/leaf-garbage", leaf: true, seals: false) { $0.fill(0..<$0.bytes.count, 0x5A) }
        node("extent/leaf-outside", leaf: true) { $0[EE.startLow.at(nodeEntry(3))] = 0x0FFF_FFFF }
        node("extent/leaf-length-zero", leaf: true) { $0[EE.length.at(nodeEntry(3))] = 0 }
        node("extent/leaf-overlap", leaf: true) {
            $0[EE.block.at(nodeEntry(3))] = $0[EE.block.at(nodeEntry(2))]
        }
        node("extent/leaf-order", leaf: true) {
            let first = $0[EE.block.at(nodeEntry(3))]
            $0[EE.block.at(nodeEntry(3))] = $0[EE.block.at(nodeEntry(4))]
            $0[EE.block.at(nodeEntry(4))] = first
        }
        node("extent/leaf-before-key", leaf: true) { $0[EE.block.at(nodeEntry(0))] = 0xFFFF }
        node("extent/leaf-entries", leaf: true) { $0[EH.entries] = $0[EH.maximum] + 1 }
        add("extent/node-leads-to-itself", on: "ext4") { editor in
            let inode = try editor.inode("/deep")
            let block = editor.extentChild(of: inode)
            editor.extentNode(block, of: inode) { $0[EI.leafLow.at(nodeEntry(0))] = UInt32(block) }
        }
        add("extent/node-over-metadata", on: "ext4") { editor in
            let bitmap = try editor.descriptor(0).blockBitmap.rawValue
            try editor.inode("/deep") { $0[EI.leafLow.at(rootEntry(0))] = UInt32(bitmap) }
        }
        add("extent/node-of-directory", on: "ext4") { editor in
            try editor.inode("/index") { $0[EE.startLow.at(rootEntry(0))] = 0x0FFF_FFFF }
        }
    }

    mutating func addPointers() {
        add("pointer/direct-outside", on: "ext2", "ext3") {
            try $0.inode("/big") { $0[pointer(3)] = 0x0FFF_FFFF }
        }
        add("pointer/direct-of-directory", on: "ext2") {
            try $0.inode("/dir") { $0[pointer(0)] = 0x0FFF_FFFF }
        }
        add("pointer/direct-over-metadata", on: "ext2") { editor in
            let table = try editor.descriptor(0).inodeTable.rawValue
            try editor.inode("/big") { $0[pointer(3)] = UInt32(table) }
        }
        add("pointer/direct-over-superblock", on: "ext2") {
            try $0.inode("/big") { $0[pointer(3)] = 1 }
        }
        add("pointer/single-outside", on: "ext2", "ext3") {
            try $0.inode("/big") { $0[pointer(12)] = 0x0FFF_FFFF }
        }
        add("pointer/single-over-metadata", on: "ext2") { editor in
            let bitmap = try editor.descriptor(0).inodeBitmap.rawValue
            try editor.inode("/big") { $0[pointer(12)] = UInt32(bitmap) }
        }
        add("pointer/double-outside", on: "ext2") {
            try $0.inode("/far") { $0[pointer(13)] = 0x0FFF_FFFF }
        }
        add("pointer/triple-outside", on: "ext2") {
            try $0.inode("/far") { $0[pointer(14)] = 0x0FFF_FFFF }
        }
        add("pointer/triple-where-none", on: "ext2") {
            try $0.inode("/hello") { $0[pointer(14)] = 0x0FFF_FFFF }
        }
        add("pointer/double-is-single", on: "ext2") {
            try $0.inode("/far") { $0[pointer(13)] = $0[pointer(12)] }
        }
        /// Changes the first pointer that is not 0 of the block behind word `index` of /far.
        func indirect(
            _ name: String, _ index: Int,
            _ change: @escaping @Sendable (inout Record, Int, UInt32) -> Void
        ) {
            add(name, on: "ext2") { editor in
                let map = editor.record(
                    try editor.start(ofInode: try editor.number("/far")), 128)
                let block = map[pointer(index)]
                editor.block(UInt64(block)) { record in
                    for i in 0..<record.bytes.count / 4 where record[word(i)] != 0 {
                        change(&record, i, block)
                        return
                    }
                }
            }
        }
        indirect("pointer/in-single-outside", 12) { record, i, _ in record[word(i)] = 0x0FFF_FFFF }
        indirect("pointer/in-double-outside", 13) { record, i, _ in record[word(i)] = 0x0FFF_FFFF }
        indirect("pointer/in-double-to-itself", 13) { $0[word($1)] = $2 }
        indirect("pointer/in-triple-outside", 14) { record, i, _ in record[word(i)] = 0x0FFF_FFFF }
        indirect("pointer/in-triple-to-itself", 14) { $0[word($1)] = $2 }
        indirect("pointer/single-garbage", 12) { record, _, _ in
            for i in 0..<record.bytes.count / 4 { record[word(i)] = 0xF000_0000 + UInt32(i) }
        }
        add("pointer/map-garbage", on: "ext2", "ext3") {
            try $0.inode("/big") { record in
                for i in 0..<15 { record[pointer(i)] = 0xF000_0000 + UInt32(i) }
            }
        }
    }

    mutating func addSharedBlocks() {
        add("shared/two-files", on: "ext4") { editor in
            let block = try editor.block(of: "/big")
            try editor.inode("/hello") { $0[EE.startLow.at(rootEntry(0))] = UInt32(block) }
        }
        add("shared/two-files-pointers", on: "ext2", "ext3") { editor in
            let block = try editor.block(of: "/big")
            try editor.inode("/hello") { $0[pointer(0)] = UInt32(block) }
        }
        add("shared/three-files", on: "ext4") { editor in
            let block = try editor.block(2, of: "/big")
            for path in ["/hello", "/dir/file"] {
                try editor.inode(path) { $0[EE.startLow.at(rootEntry(0))] = UInt32(block) }
            }
        }
        add("shared/file-and-directory", on: "ext4") { editor in
            let block = try editor.block(of: "/dir")
            try editor.inode("/hello") { $0[EE.startLow.at(rootEntry(0))] = UInt32(block) }
        }
        add("shared/two-directories", on: "ext4") { editor in
            let block = try editor.block(of: "/dir")
            try editor.inode("/dir/sub") { $0[EE.startLow.at(rootEntry(0))] = UInt32(block) }
        }
        add("shared/file-and-node", on: "ext4") { editor in
            let node = editor.extentChild(of: try editor.inode("/deep"))
            try editor.inode("/hello") { $0[EE.startLow.at(rootEntry(0))] = UInt32(node) }
        }
        add("shared/file-and-pointer-block", on: "ext2") { editor in
            let map = editor.record(try editor.start(ofInode: try editor.number("/big")), 128)
            let block = map[pointer(12)]
            try editor.inode("/hello") { $0[pointer(0)] = block }
        }
        add("shared/within-one-file", on: "ext2") {
            try $0.inode("/big") { $0[pointer(4)] = $0[pointer(5)] }
        }
        add("shared/within-one-extent-file", on: "ext4") { editor in
            let inode = try editor.inode("/pieces")
            _ = inode
            try editor.inode("/pieces") {
                $0[EE.startLow.at(rootEntry(1))] = $0[EE.startLow.at(rootEntry(0))]
            }
        }
        add("shared/file-and-journal", on: "ext4") { editor in
            let journal = try editor.sound.inode(.journal)
            let block = try editor.block(100, of: journal)
            try editor.inode("/hello") { $0[EE.startLow.at(rootEntry(0))] = UInt32(block) }
        }
        add("shared/file-and-attributes", on: "ext4", "ext2") { editor in
            let block = try editor.inode("/attributes").attributeBlock.rawValue
            let isMapped = try editor.inode("/hello").usesExtents
            try editor.inode("/hello") {
                if isMapped {
                    $0[EE.startLow.at(rootEntry(0))] = UInt32(block)
                } else {
                    $0[pointer(0)] = UInt32(block)
                }
            }
        }
        add("shared/file-and-root", on: "ext4") { editor in
            let block = try editor.block(of: try editor.sound.root())
            try editor.inode("/hello") { $0[EE.startLow.at(rootEntry(0))] = UInt32(block) }
        }
        add("shared/whole-map", on: "ext4", "ext2") { editor in
            let map = editor.record(try editor.start(ofInode: try editor.number("/big")), 128)
            try editor.inode("/dir/file") { record in
                record.bytes.replaceSubrange(IN.block, with: map.bytes[IN.block])
                record[IN.sizeLow] = map[IN.sizeLow]
                record[IN.blocksLow] = map[IN.blocksLow]
            }
        }
        add("shared/symbolic-link", on: "ext2") { editor in
            let block = try editor.block(of: "/slow")
            try editor.inode("/hello") { $0[pointer(0)] = UInt32(block) }
        }
    }
}
