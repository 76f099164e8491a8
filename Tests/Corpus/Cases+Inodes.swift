import Ext4
import Ext4Check
import Ext4Verify

extension CaseList {
    mutating func addInodes() {
        add("inode/checksum", on: "ext4", "inode128") {
            try $0.inode("/hello", seals: false) { $0[IN.checksumLow] ^= 1 }
        }
        add("inode/checksum-high", on: "ext4") {
            try $0.inode("/hello", seals: false) { $0[IN.checksumHigh] ^= 1 }
        }
        add("inode/checksum-of-directory", on: "ext4") {
            try $0.inode("/dir", seals: false) { $0[IN.checksumLow] ^= 1 }
        }
        add("inode/checksum-of-root", on: "ext4") {
            try $0.inode(2, seals: false) { $0[IN.checksumLow] ^= 1 }
        }
        add("inode/checksum-of-free-inode", on: "ext4") { editor in
            try editor.inode(editor.superblock.inodesPerGroup, seals: false) {
                $0[IN.checksumLow] ^= 1
            }
        }
        add("inode/garbage", on: "ext4", "ext2") {
            try $0.inode("/hello", seals: false) { $0.fill(0..<128, 0xC3) }
        }
        add("inode/mode-zero", on: "ext4", "ext2") { try $0.inode("/hello") { $0[IN.mode] = 0 } }
        add("inode/mode-unknown", on: "ext4", "ext2") {
            try $0.inode("/hello") { $0[IN.mode] = 0x3000 | 0o644 }
        }
        add("inode/mode-file-as-directory", on: "ext4", "ext2") {
            try $0.inode("/hello") { $0[IN.mode] = 0o040755 }
        }
        add("inode/mode-directory-as-file", on: "ext4", "ext2") {
            try $0.inode("/dir") { $0[IN.mode] = 0o100644 }
        }
        add("inode/mode-file-as-link", on: "ext4") {
            try $0.inode("/hello") { $0[IN.mode] = 0o120777 }
        }
        add("inode/mode-file-as-device", on: "ext4", "ext2") {
            try $0.inode("/big") { $0[IN.mode] = 0o060600 }
        }
        add("inode/links-more", on: "ext4", "ext2") {
            try $0.inode("/hello") { $0[IN.linkCount] += 1 }
        }
        add("inode/links-fewer", on: "ext4", "ext2") {
            try $0.inode("/hello") { $0[IN.linkCount] -= 1 }
        }
        add("inode/links-zero", on: "ext4", "ext2") {
            try $0.inode("/big") { $0[IN.linkCount] = 0 }
        }
        add("inode/links-of-directory", on: "ext4", "ext2") {
            try $0.inode("/dir") { $0[IN.linkCount] += 2 }
        }
        add("inode/links-of-directory-one", on: "ext4") {
            try $0.inode("/dir") { $0[IN.linkCount] = 1 }
        }
        add("inode/links-of-root-zero", on: "ext4", "ext2") {
            try $0.inode(2) { $0[IN.linkCount] = 0 }
        }
        add("inode/deletion-time", on: "ext4", "ext2") {
            try $0.inode("/hello") { $0[IN.deletionTime] = 1_000_000_000 }
        }
        add("inode/deletion-time-small", on: "ext2") {
            try $0.inode("/hello") { $0[IN.deletionTime] = 15 }
        }
        add("inode/free-without-deletion-time", on: "ext2") { editor in
            let last = editor.superblock.inodesPerGroup
            try editor.inode(last) { $0[IN.mode] = 0o100644 }
        }
        add("inode/free-with-links", on: "ext4", "ext2") { editor in
            let free = editor.superblock.inodesPerGroup - 2
            try editor.inode(free) {
                $0[IN.mode] = 0o100644
                $0[IN.linkCount] = 1
            }
        }
        add("inode/size-larger", on: "ext4", "ext2") {
            try $0.inode("/big") { $0[IN.sizeLow] += 100_000 }
        }
        add("inode/size-smaller", on: "ext4", "ext2") {
            try $0.inode("/big") { $0[IN.sizeLow] = 1000 }
        }
        add("inode/size-zero", on: "ext4", "ext2") { try $0.inode("/big") { $0[IN.sizeLow] = 0 } }
        add("inode/size-high", on: "ext2") { try $0.inode("/hello") { $0[IN.sizeHigh] = 0x8000 } }
        add("inode/size-high-of-directory", on: "ext4") {
            try $0.inode("/dir") { $0[IN.sizeHigh] = 1 }
        }
        add("inode/size-of-directory", on: "ext4", "ext2") { editor in
            let more = UInt32(editor.blockSize)
            try editor.inode("/dir") { $0[IN.sizeLow] += more }
        }
        add("inode/size-of-directory-odd", on: "ext4", "ext2") {
            try $0.inode("/dir") { $0[IN.sizeLow] -= 100 }
        }
        add("inode/size-of-directory-zero", on: "ext4", "ext2") {
            try $0.inode("/dir") { $0[IN.sizeLow] = 0 }
        }
        add("inode/blocks-more", on: "ext4", "ext2") {
            try $0.inode("/big") { $0[IN.blocksLow] += 2 }
        }
        add("inode/blocks-zero", on: "ext4", "ext2") {
            try $0.inode("/big") { $0[IN.blocksLow] = 0 }
        }
        add("inode/blocks-high", on: "ext4") { try $0.inode("/big") { $0[IN.blocksHigh] = 1 } }
        add("inode/blocks-of-empty", on: "ext4", "ext2") {
            try $0.inode("/empty") { $0[IN.blocksLow] = 8 }
        }
        add("inode/huge-file-flag", on: "ext4") { try $0.inode("/big") { $0[IN.flags] |= 0x40000 } }
        add("inode/extra-size-odd", on: "ext4") { try $0.inode("/hello") { $0[IN.extraSize] = 33 } }
        add("inode/extra-size-large", on: "ext4") {
            try $0.inode("/hello") { $0[IN.extraSize] = 200 }
        }
        add("inode/extra-size-small", on: "ext4") {
            try $0.inode("/hello") { $0[IN.extraSize] = 2 }
        }
        add("inode/extra-size-zero", on: "ext4") { try $0.inode("/hello") { $0[IN.extraSize] = 0 } }
        add("inode/extents-flag-missing", on: "ext4") {
            try $0.inode("/big") { $0[IN.flags] &= ~0x80000 }
        }
        add("inode/extents-flag-wrong", on: "ext2", "ext3", "pointers") {
            try $0.inode("/big") { $0[IN.flags] |= 0x80000 }
        }
        add("inode/index-flag-on-file", on: "ext4", "ext2") {
            try $0.inode("/hello") { $0[IN.flags] |= 0x1000 }
        }
        add("inode/index-flag-missing", on: "ext4") {
            try $0.inode("/index") { $0[IN.flags] &= ~0x1000 }
        }
        add("inode/index-flag-on-linear", on: "ext4", "ext3") {
            try $0.inode("/dir") { $0[IN.flags] |= 0x1000 }
        }
        add("inode/inline-flag", on: "ext4", "inline") {
            try $0.inode("/big") { $0[IN.flags] |= 0x1000_0000 }
        }
        add("inode/ea-inode-flag", on: "ext4", "eainode") {
            try $0.inode("/hello") { $0[IN.flags] |= 0x20_0000 }
        }
        add("inode/fragment-address", on: "ext2") {
            try $0.inode("/hello") { $0[Field<UInt32>.le(IN.sizeHigh.end)] = 5 }  // i_faddr
        }
        add("inode/attribute-block-outside", on: "ext4", "ext2") {
            try $0.inode("/hello") { $0[IN.fileACLLow] = 0x0FFF_FFFF }
        }
        add("inode/attribute-block-high", on: "ext4", "ext2") {
            try $0.inode("/hello") { $0[IN.fileACLHigh] = 7 }
        }
        add("inode/times-before-epoch", on: "ext4") {
            try $0.inode("/hello") { $0[IN.accessTime] = 0x8000_0001 }
        }
        add("inode/time-extra-bits", on: "ext4") {
            try $0.inode("/hello") {
                $0[IN.modificationTime] = 0x9000_0000
                $0[IN.modificationTimeExtra] |= 3
            }
        }
        add("inode/immutable-file", on: "ext4") { try $0.inode("/hello") { $0[IN.flags] |= 0x10 } }
        add("inode/unknown-flags", on: "ext4", "ext2") {
            try $0.inode("/hello") { $0[IN.flags] |= 0x8000_0000 }
        }
        add("inode/compressed-flag", on: "ext2") { try $0.inode("/hello") { $0[IN.flags] |= 4 } }
    }

    mutating func addReservedInodes() {
        add("reserved/root-zeroed", on: "ext4", "ext2", "inline") {
            try $0.inode(2, seals: false) { $0.fill(0..<$0.bytes.count) }
        }
        add("reserved/root-is-a-file", on: "ext4", "ext2") {
            try $0.inode(2) { $0[IN.mode] = 0o100644 }
        }
        add("reserved/root-deletion-time", on: "ext4", "ext2") {
            try $0.inode(2) { $0[IN.deletionTime] = 1_000_000_000 }
        }
        add("reserved/bad-blocks-mode", on: "ext4", "ext2") {
            try $0.inode(1) { $0[IN.mode] = 0o100644 }
        }
        add("reserved/bad-blocks-pointer", on: "ext4", "ext2") {
            try $0.inode(1) { $0[pointer(0)] = 1 }
        }
        add("reserved/bad-blocks-outside", on: "ext2") {
            try $0.inode(1) { $0[pointer(0)] = 0x0FFF_FFFF }
        }
        add("reserved/boot-loader", on: "ext4", "ext2") {
            try $0.inode(5) { $0[IN.mode] = 0o040755 }
        }
        add("reserved/undelete-in-use", on: "ext4", "ext2") {
            try $0.inode(6) {
                $0[IN.mode] = 0o100644
                $0[IN.linkCount] = 1
            }
        }
        add("reserved/resize-zeroed", on: "ext4", "ext2") {
            try $0.inode(7) { $0.fill(0..<128) }
        }
        add("reserved/resize-mode", on: "ext4", "ext2") {
            try $0.inode(7) { $0[IN.mode] = 0o040644 }
        }
        add("reserved/resize-pointer", on: "ext4", "ext2") {
            try $0.inode(7) { $0[pointer(13)] = 0x0FFF_FFFF }
        }
        add("reserved/resize-links", on: "ext4") { try $0.inode(7) { $0[IN.linkCount] = 0 } }
        add("reserved/resize-leaf", on: "ext4", "ext2") { editor in
            let map = editor.record(try editor.start(ofInode: 7), 128)
            editor.block(UInt64(map[pointer(13)])) { record in
                for i in 0..<record.bytes.count / 4 where record[word(i)] != 0 {
                    record[word(i)] += 1
                }
            }
        }
        add("reserved/journal-mode", on: "ext4", "ext3") {
            try $0.inode(8) { $0[IN.mode] = 0o040600 }
        }
        add("reserved/journal-zeroed", on: "ext4", "ext3") {
            try $0.inode(8) { $0.fill(0..<128) }
        }
        add("reserved/journal-links", on: "ext4") { try $0.inode(8) { $0[IN.linkCount] = 0 } }
        add("reserved/journal-size", on: "ext4", "ext3") {
            try $0.inode(8) { $0[IN.sizeLow] = 4096 }
        }
        add("reserved/journal-map", on: "ext4") {
            try $0.inode(8) { $0[EH.magic.at(mapStart)] = 0 }
        }
        add("reserved/journal-flags", on: "ext4") {
            try $0.inode(8) { $0[IN.flags] |= 0x1000_0000 }
        }
        add("reserved/exclude-inode", on: "ext4") { try $0.inode(9) { $0[IN.linkCount] = 3 } }
        add("reserved/lost-and-found-is-a-file", on: "ext4", "ext2") {
            try $0.inode("/lost+found") { $0[IN.mode] = 0o100644 }
        }
        add("reserved/lost-and-found-zeroed", on: "ext4", "ext2") {
            try $0.inode("/lost+found", seals: false) { $0.fill(0..<$0.bytes.count) }
        }
    }

    mutating func addSpecialFiles() {
        add("symlink/fast-size", on: "ext4", "ext2") {
            try $0.inode("/fast") { $0[IN.sizeLow] += 1 }
        }
        add("symlink/fast-size-zero", on: "ext4", "ext2") {
            try $0.inode("/fast") { $0[IN.sizeLow] = 0 }
        }
        add("symlink/fast-size-large", on: "ext4", "ext2") {
            try $0.inode("/fast") { $0[IN.sizeLow] = 5000 }
        }
        add("symlink/fast-zero-byte", on: "ext4", "ext2") {
            try $0.inode("/fast") { $0.bytes[mapStart + 1] = 0 }
        }
        add("symlink/slow-size", on: "ext4", "ext2") {
            try $0.inode("/slow") { $0[IN.sizeLow] -= 5 }
        }
        add("symlink/slow-size-large", on: "ext4", "ext2") {
            try $0.inode("/slow") { $0[IN.sizeLow] = 70000 }
        }
        add("symlink/slow-zero-byte", on: "ext4", "ext2") { editor in
            editor.block(try editor.block(of: "/slow")) { $0.bytes[3] = 0 }
        }
        add("symlink/slow-no-block", on: "ext2") { try $0.inode("/slow") { $0[pointer(0)] = 0 } }
        add("symlink/flags", on: "ext4", "ext2") { try $0.inode("/fast") { $0[IN.flags] |= 0x30 } }
        add("symlink/index-flag", on: "ext4") { try $0.inode("/slow") { $0[IN.flags] |= 0x1000 } }
        add("device/size", on: "ext4", "ext2") { try $0.inode("/char") { $0[IN.sizeLow] = 12 } }
        add("device/extents-flag", on: "ext4") { try $0.inode("/char") { $0[IN.flags] |= 0x80000 } }
        add("device/pointers", on: "ext4", "ext2") {
            try $0.inode("/block") { $0[pointer(5)] = 77 }
        }
        add("device/immutable", on: "ext4", "ext2") {
            try $0.inode("/block") { $0[IN.flags] |= 0x10 }
        }
        add("device/append-only", on: "ext4") { try $0.inode("/char") { $0[IN.flags] |= 0x20 } }
        add("device/blocks", on: "ext4", "ext2") { try $0.inode("/char") { $0[IN.blocksLow] = 2 } }
        add("fifo/size", on: "ext4", "ext2") { try $0.inode("/fifo") { $0[IN.sizeLow] = 99 } }
        add("fifo/pointers", on: "ext4", "ext2") { try $0.inode("/fifo") { $0[pointer(0)] = 55 } }
        add("fifo/inline-flag", on: "inline") {
            try $0.inode("/fifo") { $0[IN.flags] |= 0x1000_0000 }
        }
    }

    mutating func addFlags() {
        add("flags/casefold-without-feature", on: "ext4") {
            try $0.inode("/dir") { $0[IN.flags] |= 0x4000_0000 }
        }
        add("flags/casefold-on-file", on: "casefold") {
            try $0.inode("/hello") { $0[IN.flags] |= 0x4000_0000 }
        }
        add("flags/encrypt-without-feature", on: "ext4") {
            try $0.inode("/hello") { $0[IN.flags] |= 0x800 }
        }
        add("flags/encrypt-without-context", on: "encrypt") {
            try $0.inode("/hello") { $0[IN.flags] |= 0x800 }
        }
        add("flags/encrypt-directory", on: "encrypt") {
            try $0.inode("/dir") { $0[IN.flags] |= 0x800 }
        }
        add("flags/verity-without-feature", on: "ext4") {
            try $0.inode("/hello") { $0[IN.flags] |= 0x10_0000 }
        }
        add("flags/verity-on-directory", on: "verity") {
            try $0.inode("/dir") { $0[IN.flags] |= 0x10_0000 }
        }
        add("flags/project-inherit", on: "ext4") {
            try $0.inode("/dir") { $0[IN.flags] |= 0x2000_0000 }
        }
        add("flags/project-id", on: "quota") { try $0.inode("/hello") { $0[IN.projectID] = 7 } }
        add("flags/journal-data", on: "ext4") { try $0.inode("/hello") { $0[IN.flags] |= 0x4000 } }
        add("flags/casefold-order", on: "casefold") {
            try $0.inode("/index") { $0[IN.flags] ^= 0x4000_0000 }
        }
    }
}
