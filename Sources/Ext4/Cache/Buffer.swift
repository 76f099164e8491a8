import Synchronization

/// One metadata block in memory. Holding a reference is pinning it.
@safe
final class Buffer: @unchecked Sendable {
    // Filled before the buffer is handed to anyone. Later changes come through a handle, under the
    // lock of whatever structure the block belongs to.
    private let storage: UnsafeMutableRawPointer
    private let byteCount: Int
    /// The block's number on the volume.
    let block: BlockNumber
    /// What the contents were last found to be, so that a checksum is computed once a load and not
    /// once a look: `Verification.rawValue`, 0 for nothing.
    private let verified = Atomic<UInt64>(0)
    /// The transaction that changed the contents last, one more than its number; 0 for none.
    private let changedBy = Atomic<UInt64>(0)
    /// What the contents need before they go to the disk; whoever may change them guards it.
    private(set) var seal: Seal = .none
    /// Whether the block was freed or made anew: nothing of this buffer may reach the disk. The
    /// journal's monitor guards it.
    var isAbandoned = false
    /// How often the block was wanted since its queue looked; the shard's lock guards it.
    var frequency: UInt8 = 0

    /// A structure that a block was checked as, and whose it is: a block that two inodes claim is
    /// checked for each.
    struct Verification: Equatable {
        let rawValue: UInt64

        enum Kind: UInt64 {
            case extentNode = 1
            case directoryLeaf
            case htreeNode
            case attributes
        }

        /// `detail` tells apart what the same owner may read the block as, in 16 bits.
        init(_ kind: Kind, owner: InodeNumber, detail: Int = 0) {
            rawValue =
                kind.rawValue << 56 | UInt64(UInt16(truncatingIfNeeded: detail)) << 32
                | UInt64(owner.rawValue)
        }
    }

    init(block: BlockNumber, byteCount: Int) {
        self.block = block
        self.byteCount = byteCount
        unsafe storage = .allocate(byteCount: byteCount, alignment: 4096)
    }

    deinit { unsafe storage.deallocate() }

    /// Makes every byte zero; before the buffer is shared.
    func fillWithZeros() { withMutableBytes { $0.clear() } }

    /// Fills the contents; before the buffer is shared.
    func fill(from device: any BlockDevice, at byteOffset: UInt64) throws(Ext4Error) {
        var bytes = unsafe MutableRawSpan(_unsafeStart: storage, byteCount: byteCount)
        try device.read(at: byteOffset, into: &bytes)
    }

    /// Fills the contents with a copy of `source`, which has the block's size.
    func fill(from source: RawSpan) {
        unsafe source.withUnsafeBytes { source in
            unsafe UnsafeMutableRawBufferPointer(start: storage, count: byteCount)
                .copyMemory(from: source)
        }
    }

    /// Runs `body` on the contents.
    @inline(__always)
    func withBytes<Result, Failure: Error>(
        _ body: (RawSpan) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try body(unsafe RawSpan(_unsafeStart: UnsafeRawPointer(storage), byteCount: byteCount))
    }

    /// The transaction that changed the contents last.
    var transaction: TransactionID? {
        get {
            let value = changedBy.load(ordering: .relaxed)
            return value == 0 ? nil : TransactionID(UInt32(truncatingIfNeeded: value &- 1))
        }
        set { changedBy.store(newValue.map { UInt64($0.rawValue) &+ 1 } ?? 0, ordering: .relaxed) }
    }

    /// Runs `body` on the contents, to change them; for handles only.
    func withMutableBytes<Result, Failure: Error>(
        _ body: (inout MutableRawSpan) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        var bytes = unsafe MutableRawSpan(_unsafeStart: storage, byteCount: byteCount)
        return try body(&bytes)
    }

    /// Notes as what the contents were changed: its checksum will be made by `applySeal`, and until
    /// then nobody may ask for it.
    func setSeal(_ seal: Seal) {
        self.seal = seal
        if let verification = seal.verification {
            verified.store(verification.rawValue, ordering: .releasing)
        }
    }

    /// Brings the checksum up to date, when nobody changes the contents.
    func applySeal() {
        if case .none = seal { return }
        let seal = seal
        let block = block
        withMutableBytes { seal.apply(to: &$0, block: block) }
    }

    /// Runs `check` on the contents unless they were found good as `verification` before.
    func verify(
        as verification: Verification, _ check: (RawSpan) throws(Ext4Error) -> Void
    ) throws(Ext4Error) {
        guard verified.load(ordering: .acquiring) != verification.rawValue else { return }
        try withBytes(check)
        verified.store(verification.rawValue, ordering: .releasing)
    }
}
