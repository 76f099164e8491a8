import Ext4
import Ext4Check
import Ext4Verify

extension CaseList {
    mutating func addJournal() {
        func header(
            _ name: String, seals: Bool = true, _ change: @escaping @Sendable (inout Record) -> Void
        ) {
            add("journal/" + name, on: "ext4", "ext3") {
                try $0.journalSuperblock(seals: seals, change)
            }
        }
        header("magic") { $0[JS.magic] = 5 }
        header("type") { $0[JS.blockType] = 9 }
        header("block-size") { $0[JS.blockSize] = 512 }
        header("length") { $0[JS.length] = 0x00FF_FFFF }
        header("length-small") { $0[JS.length] = 3 }
        header("length-shorter") { $0[JS.length] -= 8 }
        header("first-zero") { $0[JS.first] = 0 }
        header("first-large") { $0[JS.first] = 0x00FF_FFFF }
        header("start-large") { $0[JS.start] = 0x00FF_FFFF }
        header("start-set") { $0[JS.start] = 1 }
        header("incompatible") { $0[JS.incompatible] |= 0x8000_0000 }
        header("read-only-compatible") { $0[JS.readOnlyCompatible] |= 0x8000_0000 }
        header("compatible") { $0[JS.compatible] |= 0x8000_0000 }
        header("errno") { $0[JS.errno] = UInt32(bitPattern: -5) }
        header("uuid") { $0.fill(JS.uuid, 9) }
        header("sequence") { $0[JS.sequence] = 0xFFFF_FFF0 }
        header("zeroed", seals: false) { $0.fill(0..<1024) }
        header("garbage", seals: false) { $0.fill(0..<1024, 0xDB) }
        add("journal/uuid-of-another", on: "ext4", "ext3") {
            $0.superblock { $0.fill(Superblock.Layout.journalUUID, 0x5A) }
        }
        add("journal/both-checksums", on: "dirty") {
            try $0.journalSuperblock {
                $0[JS.incompatible] |=
                    JournalSuperblock.Feature.checksumV2 | JournalSuperblock.Feature.checksumV3
            }
        }
        add("journal/checksum", on: "dirty") {
            try $0.journalSuperblock(seals: false) { $0[JS.checksum] ^= 1 }
        }
        add("journal/checksum-type", on: "dirty") {
            try $0.journalSuperblock { $0[JS.checksumType] = 1 }
        }
        add("journal/dirty", on: "dirty") { _ in }
        add("journal/dirty-without-flag", on: "dirty") {
            $0.superblock { $0[SB.incompatible] &= ~IncompatibleFeatures.recover.rawValue }
        }
        add("journal/commit-garbage", on: "dirty") { editor in
            let journal = try editor.sound.inode(.journal)
            editor.block(try editor.block(3, of: journal)) { $0.fill(0..<$0.bytes.count, 0x31) }
        }
        add("journal/descriptor-garbage", on: "dirty") { editor in
            let journal = try editor.sound.inode(.journal)
            editor.block(try editor.block(1, of: journal)) { $0.fill(16..<$0.bytes.count, 0x31) }
        }
        add("journal/recover-flag", on: "ext4", "ext3") {
            $0.superblock { $0[SB.incompatible] |= IncompatibleFeatures.recover.rawValue }
        }
    }

    mutating func addOrphans() {
        add("orphan/in-use", on: "ext4", "ext2") { editor in
            let number = try editor.number("/hello")
            editor.superblock { $0[SB.lastOrphan] = number }
        }
        add("orphan/outside", on: "ext4", "ext2") {
            $0.superblock { $0[SB.lastOrphan] = 0x00FF_FFFF }
        }
        add("orphan/reserved", on: "ext4", "ext2") { $0.superblock { $0[SB.lastOrphan] = 5 } }
        add("orphan/free-inode", on: "ext4", "ext2") { editor in
            let free = editor.superblock.inodesPerGroup
            editor.superblock { $0[SB.lastOrphan] = free }
        }
        add("orphan/unlinked", on: "ext4", "ext2") { editor in
            let number = try editor.number("/big")
            try editor.entry("big", in: "/") { $0[DE.inode.at($1)] = 0 }
            try editor.inode(number) {
                $0[IN.linkCount] = 0
                $0[IN.deletionTime] = 0
            }
            editor.superblock { $0[SB.lastOrphan] = number }
        }
        add("orphan/circle", on: "ext4", "ext2") { editor in
            let number = try editor.number("/big")
            try editor.entry("big", in: "/") { $0[DE.inode.at($1)] = 0 }
            try editor.inode(number) {
                $0[IN.linkCount] = 0
                $0[IN.deletionTime] = number
            }
            editor.superblock { $0[SB.lastOrphan] = number }
        }
        add("orphan/cut-off", on: "ext4", "ext2") { editor in
            // A file that was being cut off when the machine stopped.
            let number = try editor.number("/big")
            try editor.inode(number) {
                $0[IN.sizeLow] = 5000
                $0[IN.deletionTime] = 0
            }
            editor.superblock { $0[SB.lastOrphan] = number }
        }
        func file(
            _ name: String, seals: Bool = true, _ change: @escaping @Sendable (inout Record) -> Void
        ) {
            add("orphan-file/" + name, on: "orphan") { editor in
                let superblock = editor.record(Int(Superblock.byteOffset), Superblock.byteCount)
                let inode = try editor.sound.inode(
                    InodeNumber(superblock[SB.orphanFileInode]))
                let block = try editor.block(of: inode)
                editor.block(block) { record in
                    change(&record)
                    guard seals else { return }
                    let tail = record.bytes.count - OrphanFileBlock.Tail.size
                    record[OrphanFileBlock.Tail.checksum.at(tail)] =
                        unsafe OrphanFileBlock.checksum(
                            of: record.bytes.span.bytes, at: BlockNumber(block),
                            seed: inode.checksumSeed)
                }
            }
        }
        file("magic") { $0[OrphanFileBlock.Tail.magic.at($0.bytes.count - 8)] = 5 }
        file("checksum", seals: false) {
            $0[OrphanFileBlock.Tail.checksum.at($0.bytes.count - 8)] ^= 1
        }
        file("entry-without-flag") { $0[OrphanFileBlock.slot(3)] = 13 }
        file("entry-outside") { $0[OrphanFileBlock.slot(3)] = 0x00FF_FFFF }
        file("zeroed", seals: false) { $0.fill(0..<$0.bytes.count) }
        func orphanInode(
            _ name: String, _ change: @escaping @Sendable (inout Record) -> Void
        ) {
            add("orphan-file/" + name, on: "orphan") { editor in
                let superblock = editor.record(Int(Superblock.byteOffset), Superblock.byteCount)
                try editor.inode(superblock[SB.orphanFileInode], change)
            }
        }
        orphanInode("inode-mode") { $0[IN.mode] = 0o040755 }
        orphanInode("inode-links") { $0[IN.linkCount] = 0 }
        orphanInode("inode-size") { $0[IN.sizeLow] = 100 }
        orphanInode("inode-zeroed") { $0.fill(0..<128) }
        add("orphan-file/number", on: "orphan") { $0.superblock { $0[SB.orphanFileInode] = 9 } }
        add("orphan-file/number-outside", on: "orphan") {
            $0.superblock { $0[SB.orphanFileInode] = 0x00FF_FFFF }
        }
        add("orphan-file/present-flag", on: "orphan") {
            $0.superblock {
                $0[SB.readOnlyCompatible] |= ReadOnlyCompatibleFeatures.orphanPresent.rawValue
            }
        }
    }

    mutating func addQuota() {
        for (name, number) in [("user", 3), ("group", 4)] as [(String, UInt32)] {
            add("quota/\(name)-header", on: "quota") { editor in
                let inode = try editor.sound.inode(InodeNumber(number))
                editor.block(try editor.block(of: inode)) { $0[word(0)] = 5 }
            }
            add("quota/\(name)-inode-mode", on: "quota") {
                try $0.inode(number) { $0[IN.mode] = 0o040755 }
            }
            add("quota/\(name)-inode-zeroed", on: "quota") {
                try $0.inode(number) { $0.fill(0..<128) }
            }
        }
        add("quota/usage", on: "quota") { editor in
            // One more file of root than the quota file knows.
            try editor.inode("/hello") { $0[IN.userIDLow] = 1234 }
        }
        add("quota/number", on: "quota") { $0.superblock { $0[SB.userQuotaInode] = 12 } }
        add("quota/number-outside", on: "quota") {
            $0.superblock { $0[SB.groupQuotaInode] = 0x00FF_FFFF }
        }
        add("quota/number-zero", on: "quota") { $0.superblock { $0[SB.userQuotaInode] = 0 } }
        add("quota/tree-garbage", on: "quota") { editor in
            let inode = try editor.sound.inode(.userQuota)
            editor.block(try editor.block(1, of: inode)) { $0.fill(0..<$0.bytes.count, 0x42) }
        }
        add("quota/feature-missing", on: "quota") {
            $0.superblock {
                $0[SB.readOnlyCompatible] &= ~ReadOnlyCompatibleFeatures.quota.rawValue
            }
        }
    }

    mutating func addMultiMount() {
        typealias MMP = MultiMountProtection.Layout
        func block(
            _ name: String, seals: Bool = true, _ change: @escaping @Sendable (inout Record) -> Void
        ) {
            add("mmp/" + name, on: "mmp") { editor in
                let superblock = editor.record(Int(Superblock.byteOffset), Superblock.byteCount)
                let seed = editor.superblock.checksumSeed
                editor.block(superblock[SB.mmpBlock]) { record in
                    change(&record)
                    guard seals else { return }
                    record[MMP.checksum] = unsafe MultiMountProtection.checksum(
                        of: record.bytes.span.bytes, seed: seed)
                }
            }
        }
        block("magic") { $0[MMP.magic] = 5 }
        block("checksum", seals: false) { $0[MMP.checksum] ^= 1 }
        block("sequence-check") { $0[MMP.sequence] = 0xE24D_4D50 }
        block("sequence-in-use") { $0[MMP.sequence] = 77 }
        block("zeroed", seals: false) { $0.fill(0..<$0.bytes.count) }
        add("mmp/block-outside", on: "mmp") { $0.superblock { $0[SB.mmpBlock] = 0x0FFF_FFFF } }
        add("mmp/block-zero", on: "mmp") { $0.superblock { $0[SB.mmpBlock] = 0 } }
        add("mmp/block-in-metadata", on: "mmp") { editor in
            let table = try editor.descriptor(0).inodeTable.rawValue
            editor.superblock { $0[SB.mmpBlock] = table }
        }
    }
}
