/// The way from the root of an extent tree down to a leaf: which node, and which of its entries,
/// at each level. Level 0 is the root.
///
/// It holds the buffers on the way, so it is handed on and never copied.
struct ExtentPath: ~Copyable {
    /// The level of the leaf.
    private(set) var depth = 0
    /// What the nodes above say that the leaf may hold.
    private(set) var range = LogicalBlock(0)..<LogicalBlock.end
    // Level 0 has no buffer: it stands in the inode.
    private var buffers: InlineArray<6, Buffer?> = .init(repeating: nil)
    private var slots: InlineArray<6, Int> = .init(repeating: 0)

    /// The entry taken at a level; at the leaf's the last one that starts at or before the block
    /// that was looked for, -1 when there is none.
    subscript(slot level: Int) -> Int {
        get { slots[level] }
        set { slots[level] = newValue }
    }

    /// The entry of the leaf that was found; see `subscript(slot:)`.
    var leafSlot: Int { slots[depth] }

    /// The block that the node at `level` stands in; nil for the root.
    func buffer(_ level: Int) -> Buffer? { buffers[level] }

    /// Goes down by entry `slot` to the node in `buffer`, which may hold `range`.
    mutating func descend(by slot: Int, to buffer: Buffer, holding range: Range<LogicalBlock>) {
        slots[depth] = slot
        depth &+= 1
        buffers[depth] = buffer
        self.range = range
    }

    /// The root's contents have moved to `buffer`, the root's only child.
    mutating func grow(by buffer: Buffer) {
        var level = depth
        while level > 0 {
            buffers[level &+ 1] = buffers[level]
            level &-= 1
        }
        level = depth
        while level >= 0 {
            slots[level &+ 1] = slots[level]
            level &-= 1
        }
        buffers[1] = buffer
        slots[0] = 0
        depth &+= 1
    }
}
