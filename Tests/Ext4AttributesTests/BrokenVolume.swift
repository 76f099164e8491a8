import Foundation

@testable import Ext4

/// A volume in memory of which bytes can be changed, to see what the engine says of it.
final class BrokenVolume {
    private let device: MemoryDevice
    private let whole: Volume

    init(_ image: KernelImage) throws {
        device = MemoryDevice(try image.bytes())
        whole = try Volume.open(device)
    }

    /// The inode of a file, as long as nothing is broken.
    func inode(_ path: String) throws -> Inode { try whole.inode(atPath: path) }

    /// Where an inode stands on the device.
    func offset(of inode: InodeNumber) throws -> UInt64 {
        let superblock = whole.superblock
        let index = inode.rawValue - 1
        let group = GroupNumber(index / superblock.inodesPerGroup)
        let table = try whole.groupDescriptor(group).inodeTable.rawValue
        return table * UInt64(superblock.blockSize)
            + UInt64(index % superblock.inodesPerGroup) * UInt64(superblock.inodeSize)
    }

    /// Where a block stands on the device.
    func offset(of block: BlockNumber) -> UInt64 {
        block.rawValue * UInt64(whole.superblock.blockSize)
    }

    /// The entry of that name in the inode of `path`, and where it stands on the device.
    func entryInInode(_ name: AttributeName, _ path: String) throws -> (AttributeEntry, UInt64)? {
        let inode = try inode(path)
        let list = try inode.record.withBytes { (bytes) throws(Ext4Error) in
            try AttributeList(
                parsingInode: bytes, extraSize: inode.record.extraSize,
                whole.attributeContext(inode))
        }
        guard let entry = list?.entry(named: name) else { return nil }
        return (entry, try offset(of: inode.number) + UInt64(entry.byteOffset))
    }

    /// The entry of that name in the block of `path`, and where it stands on the device.
    func entryInBlock(_ name: AttributeName, _ path: String) throws -> (AttributeEntry, UInt64)? {
        let inode = try inode(path)
        let start = offset(of: inode.attributeBlock)
        let bytes = try device.read(at: start, count: whole.blockSize)
        let list = try unsafe AttributeList(
            parsingBlock: bytes.span.bytes, at: inode.attributeBlock, whole.attributeContext(inode))
        guard let entry = list.entry(named: name) else { return nil }
        return (entry, start + UInt64(entry.byteOffset))
    }

    /// Runs `body` on the volume with `bytes` at `offset`, and puts back what was there.
    func patched<Result>(
        _ patches: [(offset: UInt64, bytes: [UInt8])], options: OpenOptions = .init(),
        _ body: (Volume) throws -> Result
    ) throws -> Result {
        var before: [(UInt64, [UInt8])] = []
        for (offset, bytes) in patches {
            before.append((offset, try device.read(at: offset, count: bytes.count)))
            try unsafe device.write(bytes.span.bytes, at: offset)
        }
        defer {
            for (offset, bytes) in before.reversed() {
                try? unsafe device.write(bytes.span.bytes, at: offset)
            }
        }
        return try body(try Volume.open(device, options: options))
    }

    /// What is found to be broken when `body` runs on the volume with these bytes.
    func corruption(
        _ patches: [(offset: UInt64, bytes: [UInt8])], _ body: (Volume) throws -> Void
    ) throws -> Corruption? {
        do {
            try patched(patches, body)
            return nil
        } catch let error as Ext4Error {
            guard case .corrupt(let corruption) = error else { throw error }
            return corruption
        }
    }

    /// A number as the disk has it.
    static func little<Number: FixedWidthInteger>(_ number: Number) -> [UInt8] {
        (0..<Number.bitWidth / 8).map { UInt8(truncatingIfNeeded: number >> Number($0 * 8)) }
    }
}
