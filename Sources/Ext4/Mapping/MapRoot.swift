/// The 60 bytes of an inode's `i_block`, where every map of a file starts: the root of an extent
/// tree, or 15 pointers.
///
/// They stand in place, not in an array: each look into a map makes a copy of them.
struct MapRoot: Sendable {
    private var storage: InlineArray<60, UInt8>

    /// Takes over what an inode has.
    init(_ record: InodeRecord) { self = record.withBlock { MapRoot(copying: $0) } }

    /// Copies 60 bytes.
    init(copying source: RawSpan) {
        precondition(source.byteCount == 60, "an inode's map has 60 bytes")
        storage = .init(repeating: 0)
        withMutableBytes { $0.copy(from: source) }
    }

    /// The map of a file without blocks.
    init(emptyWithExtents usesExtents: Bool) {
        storage = .init(repeating: 0)
        guard usesExtents else { return }
        withMutableBytes { bytes in
            let maximum = bytes.byteCount / ExtentNode.entrySize &- 1
            ExtentNode.writeHeader(to: &bytes, count: 0, maximum: maximum, depth: 0)
        }
    }

    /// The bytes, as the disk has them.
    var bytes: [UInt8] { withBytes { $0.copy() } }

    /// Makes this the map of an inode.
    func store(in record: inout InodeRecord) {
        let storage = storage
        record.withMutableBytes { bytes in
            var block = bytes._mutatingExtracting(InodeRecord.Layout.block)
            block.copy(from: unsafe storage.span.bytes)
        }
    }

    /// Runs `body` on the bytes.
    @inline(__always)
    func withBytes<Result, Failure: Error>(
        _ body: (RawSpan) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try body(unsafe storage.span.bytes)
    }

    /// Runs `body` on the bytes, to change them.
    @inline(__always)
    mutating func withMutableBytes<Result, Failure: Error>(
        _ body: (inout MutableRawSpan) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        var span = storage.mutableSpan
        var bytes = unsafe span.mutableBytes
        return try body(&bytes)
    }

    /// Pointer `index` of 15.
    func pointer(_ index: Int) -> UInt32 { withBytes { $0[IndirectMap.pointer(index)] } }
}
