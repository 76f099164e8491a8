internal import Ext4

/// The fields of an inode that a check decides by, as they stand.
struct InodeFields {
    let number: InodeNumber
    let mode: FileMode
    let linkCount: UInt16
    let deletionTime: UInt32
    let flags: InodeFlags
    let generation: UInt32
    let size: UInt64
    let attributeBlock: UInt64
    /// `i_extra_isize`, or 0 when that is out of its range.
    let extraSize: Int
    /// Whether `i_extra_isize` is in its range.
    let hasSoundExtraSize: Bool

    typealias Layout = InodeRecord.Layout

    init(_ bytes: RawSpan, number: InodeNumber) {
        self.number = number
        mode = FileMode(rawValue: bytes[Layout.mode])
        linkCount = bytes[Layout.linkCount]
        deletionTime = bytes[Layout.deletionTime]
        flags = InodeFlags(rawValue: bytes[Layout.flags])
        generation = bytes[Layout.generation]
        size = UInt64(bytes[Layout.sizeLow]) | UInt64(bytes[Layout.sizeHigh]) << 32
        attributeBlock =
            UInt64(bytes[Layout.fileACLLow]) | UInt64(bytes[Layout.fileACLHigh]) << 32
        guard bytes.byteCount > InodeRecord.goodOldSize else {
            extraSize = 0
            hasSoundExtraSize = true
            return
        }
        let extra = Int(bytes[Layout.extraSize])
        // Either no fields at all, or at least the size itself and the checksum's high half.
        let isSound =
            extra == 0
            || (extra >= 4 && extra <= bytes.byteCount - InodeRecord.goodOldSize && extra & 3 == 0)
        extraSize = isSound ? extra : 0
        hasSoundExtraSize = isSound
    }

    var type: FileType { mode.type }

    /// Whether a field behind the first 128 bytes is there.
    func has<Value>(_ field: Field<Value>) -> Bool {
        field.end <= InodeRecord.goodOldSize + extraSize
    }

    /// The checksum as it stands and as it must be; nil when they agree.
    func checksumMismatch(_ bytes: RawSpan, seed: UInt32) -> (stored: UInt32, computed: UInt32)? {
        let hasHigh = has(Layout.checksumHigh)
        var stored = UInt32(bytes[Layout.checksumLow])
        var computed = InodeRecord.checksum(
            of: bytes, number: number, hasHighHalf: hasHigh, seed: seed)
        if hasHigh {
            stored |= UInt32(bytes[Layout.checksumHigh]) << 16
        } else {
            computed &= 0xFFFF
        }
        return stored == computed ? nil : (stored, computed)
    }

    /// `i_blocks` in units of 512 bytes.
    func blocks512(_ bytes: RawSpan, hasHugeFiles: Bool, blockSizeLog2: UInt64) -> UInt64 {
        var blocks = UInt64(bytes[Layout.blocksLow])
        if hasHugeFiles {
            blocks |= UInt64(bytes[Layout.blocksHigh]) << 32
            if flags.contains(.hugeFile) { blocks <<= blockSizeLog2 - 9 }
        }
        return blocks
    }
}

extension RawSpan {
    /// Whether all bytes, a multiple of eight, are zero.
    var isZero: Bool {
        var offset = 0
        while offset < byteCount {
            if self[Field<UInt64>.le(offset)] != 0 { return false }
            offset &+= 8
        }
        return true
    }
}
