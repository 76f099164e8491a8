// What is written to an image passes through one buffer: files come one after another and lie so,
// and many small ones go out in one request.

/// Blocks of an image on their way to the device.
struct ImageWriter {
    private let device: any BlockDevice
    private let blockSize: Int
    private var buffer: [UInt8]
    /// Where the buffer's first byte belongs.
    private var start: UInt64 = 0
    /// How many bytes of the buffer are in use: whole blocks.
    private var filled = 0

    /// Bytes that go out at once.
    private static let capacity = 1 << 20

    init(_ device: any BlockDevice, blockSize: Int) {
        self.device = device
        self.blockSize = blockSize
        buffer = [UInt8](repeating: 0, count: max(Self.capacity, 4 * blockSize))
    }

    /// Writes out what the buffer has.
    mutating func flush() throws(Ext4Error) {
        guard filled > 0 else { return }
        let count = filled
        filled = 0
        try unsafe device.write(buffer.span.bytes.extracting(0..<count), at: start)
        start &+= UInt64(count)
    }

    /// Gives `body` up to `count` bytes from byte `offset` of the device on, all of blocks that
    /// follow each other, to fill from their start. What it does not fill of the last block that it
    /// fills is undefined. An offset inside a block goes on with what was written of that.
    ///
    /// - Returns: how many bytes `body` has filled; it may say less than none.
    mutating func fill(
        at offset: UInt64, count: Int, _ body: (inout MutableRawSpan) -> Int
    ) throws(Ext4Error) -> Int {
        let inBlock = Int(offset & UInt64(blockSize &- 1))
        let block = offset &- UInt64(inBlock)
        try open(block, isBegun: inBlock > 0)
        // The block may be the last one in the buffer or the one behind it.
        let first = Int(block &- start)
        let room = min(count, buffer.count &- first &- inBlock)
        var span = buffer.mutableSpan
        var all = unsafe span.mutableBytes
        var part = all._mutatingExtracting(first &+ inBlock..<first &+ inBlock &+ room)
        let written = max(min(body(&part), room), 0)
        let end = first &+ (inBlock &+ written &+ blockSize &- 1) / blockSize &* blockSize
        filled = max(filled, end)
        return written
    }

    /// Makes `block`, by its first byte, one that is in the buffer or follows what is in it.
    private mutating func open(_ block: UInt64, isBegun: Bool) throws(Ext4Error) {
        let end = start &+ UInt64(filled)
        if filled > 0, block >= start, block &+ UInt64(blockSize) == end { return }
        if filled > 0, block == end, filled < buffer.count { return }
        try flush()
        start = block
        guard isBegun else { return }
        // Others were written since.
        let (device, count) = (device, blockSize)
        var span = buffer.mutableSpan
        var all = unsafe span.mutableBytes
        var part = all._mutatingExtracting(0..<count)
        try device.read(at: block, into: &part)
        filled = count
    }

    /// Puts bytes at byte `offset` of the device.
    mutating func write(_ bytes: RawSpan, at offset: UInt64) throws(Ext4Error) {
        var done = 0
        while done < bytes.byteCount {
            let rest = bytes.extracting(done..<bytes.byteCount)
            done &+= try fill(at: offset &+ UInt64(done), count: rest.byteCount) { target in
                let count = target.byteCount
                target.copy(from: rest.extracting(0..<count))
                return count
            }
        }
    }

    /// Makes `count` bytes from byte `offset` of the device on zeros.
    mutating func clear(at offset: UInt64, count: Int) throws(Ext4Error) {
        var done = 0
        while done < count {
            done &+= try fill(at: offset &+ UInt64(done), count: count &- done) { target in
                target.clear()
                return target.byteCount
            }
        }
    }
}
