/// What an inode says of its file, at one moment.
public struct InodeAttributes: Hashable, Sendable {
    /// Type and permissions (`i_mode`).
    public let mode: FileMode
    /// The owner (`i_uid`).
    public let userID: UInt32
    /// The owning group (`i_gid`).
    public let groupID: UInt32
    /// The size in bytes (`i_size`).
    public let size: UInt64
    /// Names that lead here (`i_links_count`); 1 for a directory with too many to count.
    public let linkCount: UInt32
    /// Last access (`i_atime`).
    public let accessTime: Timestamp
    /// Last change of the contents (`i_mtime`).
    public let modificationTime: Timestamp
    /// Last change of the inode (`i_ctime`).
    public let changeTime: Timestamp
    /// When it was made (`i_crtime`), where the inode has room for that.
    public let creationTime: Timestamp?
    /// Space taken, in units of 512 bytes, as `stat` shows it: `i_blocks`, and for an inline file
    /// its size.
    public let blocks512: UInt64
    /// Flags (`i_flags`).
    public let flags: InodeFlags
    /// The generation of this number (`i_generation`).
    public let generation: UInt32
    /// The project (`i_projid`); 0 where the volume has none.
    public let projectID: UInt32
    /// The count of changes (`i_version`).
    public let version: UInt64
    /// For a device's special file, the device.
    public let device: DeviceNumber?
    /// When it was deleted (`i_dtime`), in seconds; for an orphan, the number of the next one.
    public let deletionTime: UInt32
    /// The block with further extended attributes (`i_file_acl`); 0 for none.
    let attributeBlock: BlockNumber

    /// Makes sense of a record.
    init(_ record: InodeRecord, number: InodeNumber, superblock: Superblock) throws(Ext4Error) {
        typealias Layout = InodeRecord.Layout
        mode = FileMode(rawValue: record[Layout.mode])
        userID = UInt32(record[Layout.userIDLow]) | UInt32(record[Layout.userIDHigh]) << 16
        groupID = UInt32(record[Layout.groupIDLow]) | UInt32(record[Layout.groupIDHigh]) << 16
        linkCount = UInt32(record[Layout.linkCount])
        flags = InodeFlags(rawValue: record[Layout.flags])
        generation = record[Layout.generation]
        accessTime = record.time(Layout.accessTime, Layout.accessTimeExtra)
        changeTime = record.time(Layout.changeTime, Layout.changeTimeExtra)
        modificationTime = record.time(Layout.modificationTime, Layout.modificationTimeExtra)
        deletionTime = record[Layout.deletionTime]
        creationTime = record[extra: Layout.creationTime].map {
            Timestamp(low: $0, extra: record[extra: Layout.creationTimeExtra])
        }
        version =
            UInt64(record[Layout.versionLow])
            | UInt64(record[extra: Layout.versionHigh] ?? 0) << 32
        projectID =
            superblock.readOnlyCompatible.contains(.project)
            ? record[extra: Layout.projectID] ?? 0 : 0
        attributeBlock = BlockNumber(
            UInt64(record[Layout.fileACLLow])
                | (superblock.incompatible.contains(.bit64)
                    ? UInt64(record[Layout.fileACLHigh]) << 32 : 0))

        // A directory's high half was once `i_dir_acl`; it counts only with large_dir.
        let type = mode.type
        let hasHighSize = type == .regular || superblock.incompatible.contains(.largeDir)
        size =
            UInt64(record[Layout.sizeLow])
            | (hasHighSize ? UInt64(record[Layout.sizeHigh]) << 32 : 0)
        guard size <= UInt64(Int64.max) else {
            throw .corrupt(
                .inode, at: .init(inode: number),
                .field("i_size", value: size, rule: "less than 2⁶³"))
        }

        var blocks = record.blocks512(superblock)
        // What stands in the inode itself counts as if it had a place of its own: programs take a
        // file with a size and no blocks for one hole.
        if type == .regular, flags.contains(.inlineData) {
            blocks &+= size / 512 &+ (size % 512 == 0 ? 0 : 1)
        }
        blocks512 = blocks

        switch type {
        case .characterDevice, .blockDevice:
            device = DeviceNumber(old: record.blockWord(0), new: record.blockWord(1))
        default:
            device = nil
        }
    }

    /// The type of the object.
    public var type: FileType { mode.type }

    /// Whether the inode is free: no name leads to it, and it has no type or was deleted.
    var isFree: Bool { linkCount == 0 && (mode.rawValue == 0 || deletionTime != 0) }
}
