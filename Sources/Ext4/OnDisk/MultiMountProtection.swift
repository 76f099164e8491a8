// The block by which machines that share a device keep from mounting a volume twice. Who has the
// volume open writes a new sequence number every few seconds; who wants it looks whether the
// number moves.

/// The contents of the multi-mount protection block.
package struct MultiMountProtection: Hashable, Sendable {
    package enum Layout {  // struct mmp_struct
        package static let magic = Field<UInt32>.le(0x00)  // mmp_magic
        package static let sequence = Field<UInt32>.le(0x04)  // mmp_seq
        package static let time = Field<UInt64>.le(0x08)  // mmp_time
        package static let nodeName = 0x10..<0x50  // mmp_nodename
        package static let deviceName = 0x50..<0x70  // mmp_bdevname
        package static let checkInterval = Field<UInt16>.le(0x70)  // mmp_check_interval
        package static let checksum = Field<UInt32>.le(0x3FC)  // mmp_checksum
        package static let size = 0x400
    }

    /// `EXT4_MMP_MAGIC`, "MMP" backwards.
    package static let magic: UInt32 = 0x004D_4D50

    /// What the sequence number says.
    package enum State: Hashable, Sendable {
        /// Nobody has the volume open (`EXT4_MMP_SEQ_CLEAN`).
        case clean
        /// A check is running, or was broken off (`EXT4_MMP_SEQ_FSCK`).
        case beingChecked
        /// Somebody has or had it open, and was there last with this number.
        case inUse(UInt32)
        /// A number that no program writes.
        case unknown(UInt32)
    }

    /// The largest number of somebody who has the volume open (`EXT4_MMP_SEQ_MAX`).
    package static let maximumSequence: UInt32 = 0xE24D_4D4F
    private static let cleanSequence: UInt32 = 0xFF4D_4D50
    private static let checkSequence: UInt32 = 0xE24D_4D50

    /// Whether the volume is in use.
    package let state: State
    /// When the block was last written, in seconds since 1970.
    package let time: UInt64
    /// The name of the machine that wrote it.
    package let nodeName: [UInt8]
    /// The device by which that machine has the volume.
    package let deviceName: [UInt8]
    /// After how many seconds without a new number the other one is dead.
    package let checkInterval: UInt16

    /// Reads and checks the block.
    ///
    /// - Parameter checksumSeed: the volume's seed, nil where checksums are not in use or not
    ///   wanted.
    /// - Throws: `Ext4Error.corrupt` when the magic number or the checksum is wrong.
    package init(
        parsing block: RawSpan, at number: BlockNumber, checksumSeed: UInt32?
    ) throws(Ext4Error) {
        let place = Corruption.Place(block: number)
        guard block.byteCount >= Layout.size else {
            throw .corrupt(.multiMountProtection, at: place, .truncated)
        }
        guard block[Layout.magic] == Self.magic else {
            throw .corrupt(
                .multiMountProtection, at: place, .magic(found: UInt64(block[Layout.magic])))
        }
        if let checksumSeed {
            let stored = block[Layout.checksum]
            let computed = Self.checksum(of: block, seed: checksumSeed)
            guard stored == computed else {
                throw .corrupt(
                    .multiMountProtection, at: place,
                    .checksum(stored: stored, computed: computed))
            }
        }
        state =
            switch block[Layout.sequence] {
            case Self.cleanSequence: .clean
            case Self.checkSequence: .beingChecked
            case let number where number <= Self.maximumSequence: .inUse(number)
            case let number: .unknown(number)
            }
        time = block[Layout.time]
        nodeName = Self.text(in: block, Layout.nodeName)
        deviceName = Self.text(in: block, Layout.deviceName)
        checkInterval = block[Layout.checkInterval]
    }

    /// The checksum: over the bytes before its own field.
    package static func checksum(of block: RawSpan, seed: UInt32) -> UInt32 {
        var crc = CRC32C(seed)
        crc.update(block.extracting(0..<Layout.checksum.offset))
        return crc.value
    }

    private static func text(in block: RawSpan, _ range: Range<Int>) -> [UInt8] {
        Array(block.copy(range).prefix { $0 != 0 })
    }
}

extension MultiMountProtection {
    /// `EXT4_MMP_UPDATE_INTERVAL`, in seconds.
    package static let defaultInterval: UInt16 = 5

    /// Makes the zeros of `block` those of a volume that nobody has open.
    package static func writeClean(
        interval: UInt16, checksumSeed: UInt32?, to block: inout MutableRawSpan
    ) {
        block[Layout.magic] = magic
        block[Layout.sequence] = cleanSequence
        block[Layout.checkInterval] = interval
        if let checksumSeed {
            block[Layout.checksum] = checksum(of: block.bytes, seed: checksumSeed)
        }
    }
}
