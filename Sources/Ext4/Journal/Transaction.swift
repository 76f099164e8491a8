/// A set of changes that reach the disk all or not at all.
///
/// Every member is guarded by the journal's monitor.
final class Transaction: @unchecked Sendable {
    let id: TransactionID
    /// Handles that may still change something.
    var openHandles = 0
    /// Blocks that the open handles may still add.
    var promisedBlocks = 0
    /// The blocks that changed, each once, in the order of their first change.
    var buffers: [Buffer] = []
    /// Blocks that were freed: older copies of them in the log must not be replayed.
    var revoked: Set<BlockNumber> = []

    /// How many of those a block of the log has room for.
    private let revokesPerBlock: Int

    init(_ id: TransactionID, revokesPerBlock: Int) {
        self.id = id
        self.revokesPerBlock = revokesPerBlock
    }

    /// Whether nothing was changed: its number is given to the next one.
    var isEmpty: Bool { buffers.isEmpty && revoked.isEmpty }

    /// The blocks that the log must have room for, descriptors left out.
    var blockCount: Int {
        buffers.count + promisedBlocks + (revoked.count + revokesPerBlock - 1) / revokesPerBlock
    }
}

/// A transaction in the form of the log: its blocks in their order there, in memory.
///
/// It is written as it is, and then serves the checkpoint as the frozen copies of the blocks.
@safe
final class TransactionImage: @unchecked Sendable {
    /// A block of the volume and where its copy stands.
    struct Copy {
        let target: BlockNumber
        /// The copy's index among the blocks of the image.
        let index: Int
    }

    let id: TransactionID
    let format: JournalFormat
    /// Blocks of the log that the image takes, without the commit block.
    let blockCount: Int
    /// Revoked blocks, in order.
    let revoked: [BlockNumber]
    /// The copies, in the order of the log; later transactions take out what they revoke. Only the
    /// thread whose turn it is to commit or to checkpoint looks at it.
    var copies: [Copy]
    /// Keeps the blocks in the cache until they are in their places.
    private let buffers: [Buffer]
    private let storage: UnsafeMutableRawPointer

    /// Freezes `transaction`, of which no handle is open: copies its blocks.
    init(freezing transaction: Transaction, _ format: JournalFormat) {
        id = transaction.id
        self.format = format
        buffers = transaction.buffers.filter {
            !$0.isAbandoned && !transaction.revoked.contains($0.block)
        }
        revoked = transaction.revoked.sorted()
        let perDescriptor = JournalTag.capacity(format)
        let revokeBlocks = Self.quotient(revoked.count, JournalRevoke.capacity(format))
        blockCount = revokeBlocks + buffers.count + Self.quotient(buffers.count, perDescriptor)
        unsafe storage = .allocate(
            byteCount: (blockCount + 1) * format.blockSize, alignment: 4096)
        // Where the commit block will be, the log gets zeros first. Of that block only the first
        // sector is not zeros, so it arrives as a whole; behind an older block's second sector,
        // e2fsck and kernels before 6.10 would take it for damage.
        unsafe (storage + blockCount * format.blockSize).initializeMemory(
            as: UInt8.self, repeating: 0, count: format.blockSize)

        var copies: [Copy] = []
        copies.reserveCapacity(buffers.count)
        var index = revokeBlocks
        for (position, buffer) in buffers.enumerated() {
            if position % perDescriptor == 0 { index += 1 }
            copies.append(Copy(target: buffer.block, index: index))
            index += 1
        }
        self.copies = copies
        for (copy, buffer) in zip(copies, buffers) {
            buffer.withBytes { contents in
                withBlock(copy.index) { (block) in
                    unsafe block.withUnsafeMutableBytes { target in
                        unsafe contents.withUnsafeBytes { unsafe target.copyMemory(from: $0) }
                    }
                }
            }
        }
    }

    deinit { unsafe storage.deallocate() }

    private static func quotient(_ count: Int, _ capacity: Int) -> Int {
        (count + capacity - 1) / capacity
    }

    /// Fills in the control blocks, and escapes copies that look like one.
    ///
    /// - Parameter hasRevokes: false leaves revoke blocks empty, for the fault `revokeSkipped`.
    func seal(uuid: [UInt8], hasRevokes: Bool = true) {
        let perRevoke = JournalRevoke.capacity(format)
        var index = 0
        var rest = revoked[...]
        while !rest.isEmpty {
            withBlock(index) { block in
                block.clear()
                JournalRevoke.write(
                    hasRevokes ? rest.prefix(perRevoke) : [], id, to: &block, format)
            }
            rest = rest.dropFirst(perRevoke)
            index += 1
        }
        let perDescriptor = JournalTag.capacity(format)
        var remaining = copies[...]
        while let first = remaining.first {
            let tags = remaining.prefix(perDescriptor).map { copy in
                withBlock(copy.index) { block in
                    let isEscaped = block[JournalHeader.Layout.magic] == JournalHeader.magic
                    if isEscaped { block[JournalHeader.Layout.magic] = 0 }
                    // The checksum is that of the block as the log has it.
                    return JournalTag(
                        target: copy.target, isEscaped: isEscaped,
                        checksum: JournalTag.checksum(of: block.bytes, in: id, format))
                }
            }
            withBlock(first.index - 1) { block in
                block.clear()
                JournalTag.write(tags, id, uuid: uuid, to: &block, format)
            }
            for (copy, tag) in zip(remaining, tags) where tag.isEscaped {
                escaped.append(copy.index)
            }
            remaining = remaining.dropFirst(perDescriptor)
        }
    }

    /// Copies that were escaped, by index.
    private var escaped: [Int] = []

    /// Gives escaped copies their first bytes back, once the log has them.
    func unescape() {
        for index in escaped {
            withBlock(index) { $0[JournalHeader.Layout.magic] = JournalHeader.magic }
        }
        escaped = []
    }

    /// Runs `body` on `count` blocks from `index` on; behind the last one is one of zeros.
    func withBlocks<Result, Failure: Error>(
        _ index: Int, count: Int, _ body: (RawSpan) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        precondition(index >= 0 && count >= 0 && index + count <= blockCount + 1)
        return try body(
            unsafe RawSpan(
                _unsafeStart: storage + index * format.blockSize,
                byteCount: count * format.blockSize))
    }

    private func withBlock<Result, Failure: Error>(
        _ index: Int, _ body: (inout MutableRawSpan) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        precondition(index >= 0 && index < blockCount)
        var block = unsafe MutableRawSpan(
            _unsafeStart: storage + index * format.blockSize, byteCount: format.blockSize)
        return try body(&block)
    }
}
