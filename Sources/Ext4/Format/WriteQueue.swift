/// Blocks that follow each other, so that they are written in one request.
struct WriteQueue {
    private let blockSize: Int
    private var start: UInt64 = 0
    private var bytes: [UInt8] = []
    private static let limit = 4 << 20

    init(blockSize: Int) { self.blockSize = blockSize }

    /// Adds a block. What does not precede it is written.
    mutating func add(
        _ block: [UInt8], at number: UInt64, _ write: ([UInt8], UInt64) throws(Ext4Error) -> Void
    ) throws(Ext4Error) {
        if bytes.isEmpty || number != start + UInt64(bytes.count / blockSize)
            || bytes.count >= Self.limit
        {
            try flush(write)
            start = number
        }
        bytes += block
    }

    /// Writes what is there.
    mutating func flush(
        _ write: ([UInt8], UInt64) throws(Ext4Error) -> Void
    ) throws(Ext4Error) {
        guard !bytes.isEmpty else { return }
        try write(bytes, start)
        bytes.removeAll(keepingCapacity: true)
    }
}
