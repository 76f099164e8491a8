package import Ext4

/// The parts of a file that hold data, in order: what lies between them is holes, and blocks that
/// were reserved and never written. They are found one by one, however many there are.
struct DataRanges {
    private let volume: Volume
    private let inode: Inode
    private var position: UInt64 = 0

    init(_ volume: Volume, _ inode: Inode) {
        self.volume = volume
        self.inode = inode
    }

    /// The next part, inside the file's size; nil at the end.
    mutating func next() throws(Ext4Error) -> Range<UInt64>? {
        guard position < inode.size else { return nil }
        let start: UInt64
        do throws(Ext4Error) {
            start = try volume.offset(of: .data, in: inode, from: position)
        } catch {
            guard error == .endOfFile else { throw error }
            position = inode.size
            return nil
        }
        guard start < inode.size else { return nil }
        let end = min(try volume.offset(of: .hole, in: inode, from: start), inode.size)
        // The engine promises that; a step back would never end.
        guard start >= position, end > start else { throw .invalidArgument }
        position = end
        return start..<end
    }
}

extension Volume {
    /// Reads up to `count` bytes of a file to the front of `buffer`, which has room for them.
    package func read(
        _ inode: Inode, at byteOffset: UInt64, count: Int, into buffer: inout [UInt8]
    ) throws(Ext4Error) -> Int {
        var span = buffer.mutableSpan
        var bytes = unsafe span.mutableBytes
        var target = bytes._mutatingExtracting(first: count)
        return try read(inode, at: byteOffset, into: &target)
    }
}
