/// A file, directory or other object of a volume, as its inode describes it.
///
/// There is one `Inode` for a number as long as somebody holds it, and its properties are what the
/// volume has now; `attributes` gives all of them at one moment.
public final class Inode: Sendable {
    /// The inode's number.
    public let number: InodeNumber

    /// Guards what the inode leads to: contents, entries, attributes. It is taken before a handle
    /// is started; see `docs/LOCKING.md` for the order.
    let lock = SharedLock()
    private let state: Guarded<State>
    /// The run that the last mapping gave: most readers go on where they were.
    let lastRun: Guarded<BlockRun?>

    private struct State {
        var attributes: InodeAttributes
        var record: InodeRecord
        var checksumSeed: UInt32
        var lastChange: TransactionID?
        /// As `lastChange`, of what is needed to find the contents: not times.
        var lastDataChange: TransactionID?
        var isFreed = false
    }

    /// Makes sense of a record.
    init(_ record: InodeRecord, number: InodeNumber, superblock: Superblock) throws(Ext4Error) {
        self.number = number
        lastRun = Guarded(nil)
        let attributes = try InodeAttributes(record, number: number, superblock: superblock)
        state = Guarded(
            State(
                attributes: attributes, record: record,
                checksumSeed: InodeRecord.checksumSeed(
                    number, generation: attributes.generation, seed: superblock.checksumSeed),
                lastChange: nil, lastDataChange: nil))
    }

    /// Everything that the inode says, at one moment.
    public var attributes: InodeAttributes { state.withLock { $0.attributes } }

    /// The bytes, for what is parsed on demand.
    package var record: InodeRecord { state.withLock { $0.record } }

    /// The seed of the checksums of everything that belongs to this inode.
    package var checksumSeed: UInt32 { state.withLock { $0.checksumSeed } }

    /// Whether the number was freed, and may be another inode's by now: nothing is changed through
    /// this one any more.
    var isFreed: Bool {
        get { state.withLock { $0.isFreed } }
        set { state.withLock { $0.isFreed = newValue } }
    }

    /// The last transaction that changed the inode; nil for none since it was read.
    var lastChange: TransactionID? { state.withLock { $0.lastChange } }

    /// The last transaction that changed what is needed to find the contents again.
    var lastDataChange: TransactionID? { state.withLock { $0.lastDataChange } }

    /// Changes the record by `body`, which only sets fields, and copies it into `buffer`, the
    /// table's block, at `offset`.
    ///
    /// Everything happens under the short lock, so that no two changes of fields meet.
    ///
    /// - Returns: the record before, and `i_dtime` after.
    func change(
        _ superblock: Superblock, to buffer: Buffer, at offset: Int, isData: Bool = true,
        in handle: inout Handle,
        _ body: (inout InodeRecord) throws(Ext4Error) -> Void
    ) throws(Ext4Error) -> (before: InodeRecord, after: UInt32) {
        try state.withLock { (state) throws(Ext4Error) in
            let before = state.record
            var record = before
            try body(&record)
            record.seal(number: number, superblock: superblock)
            let attributes = try InodeAttributes(record, number: number, superblock: superblock)
            handle.modify(buffer) { bytes in
                var target = bytes._mutatingExtracting(offset..<offset &+ superblock.inodeSize)
                record.withBytes { target.copy(from: $0) }
            }
            if attributes.generation != state.attributes.generation {
                state.checksumSeed = InodeRecord.checksumSeed(
                    number, generation: attributes.generation, seed: superblock.checksumSeed)
            }
            state.record = record
            state.attributes = attributes
            state.lastChange = handle.transaction.id
            if isData { state.lastDataChange = handle.transaction.id }
            return (before, record[InodeRecord.Layout.deletionTime])
        }
    }
}

// MARK: - What the inode says now

extension Inode {
    /// Type and permissions (`i_mode`).
    public var mode: FileMode { attributes.mode }
    /// The owner (`i_uid`).
    public var userID: UInt32 { attributes.userID }
    /// The owning group (`i_gid`).
    public var groupID: UInt32 { attributes.groupID }
    /// The size in bytes (`i_size`).
    public var size: UInt64 { attributes.size }
    /// Names that lead here (`i_links_count`); 1 for a directory with too many to count.
    public var linkCount: UInt32 { attributes.linkCount }
    /// Last access (`i_atime`).
    public var accessTime: Timestamp { attributes.accessTime }
    /// Last change of the contents (`i_mtime`).
    public var modificationTime: Timestamp { attributes.modificationTime }
    /// Last change of the inode (`i_ctime`).
    public var changeTime: Timestamp { attributes.changeTime }
    /// When it was made (`i_crtime`), where the inode has room for that.
    public var creationTime: Timestamp? { attributes.creationTime }
    /// Space taken, in units of 512 bytes, as `stat` shows it.
    public var blocks512: UInt64 { attributes.blocks512 }
    /// Flags (`i_flags`).
    public var flags: InodeFlags { attributes.flags }
    /// The generation of this number (`i_generation`).
    public var generation: UInt32 { attributes.generation }
    /// The project (`i_projid`); 0 where the volume has none.
    public var projectID: UInt32 { attributes.projectID }
    /// The count of changes (`i_version`).
    public var version: UInt64 { attributes.version }
    /// For a device's special file, the device.
    public var device: DeviceNumber? { attributes.device }
    /// When it was deleted (`i_dtime`), in seconds; for an orphan, the number of the next one.
    public var deletionTime: UInt32 { attributes.deletionTime }
    /// The type of the object.
    public var type: FileType { attributes.type }
    /// Whether this is a directory.
    public var isDirectory: Bool { type == .directory }
    /// Whether contents, and for a directory names, are encrypted.
    public var isEncrypted: Bool { flags.contains(.encrypted) }
    /// Whether a Merkle tree guards the contents.
    public var isVerity: Bool { flags.contains(.verity) }
    /// Whether the contents stand in the inode.
    public var usesInlineData: Bool { flags.contains(.inlineData) }
    /// Whether an extent tree maps the blocks; an indirect map does otherwise.
    public var usesExtents: Bool { flags.contains(.extents) }

    /// The block with further extended attributes (`i_file_acl`); 0 for none.
    package var attributeBlock: BlockNumber { attributes.attributeBlock }
    /// Whether the inode is free: no name leads to it, and it has no type or was deleted.
    var isFree: Bool { attributes.isFree }
    /// The inode as the checksums of its blocks know it.
    var owner: BlockOwner { BlockOwner(inode: number, checksumSeed: checksumSeed) }
}
