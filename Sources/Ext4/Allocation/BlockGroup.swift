/// A block group of a volume that is open for writing.
final class BlockGroup: Sendable {
    /// What the group's lock guards: all that changes in it, in memory and in its bitmaps and its
    /// descriptor.
    struct State {
        /// The descriptor, as it is in its block.
        var descriptor: GroupDescriptor
        var blocks: BusyMap
        var inodes: BusyMap
        /// No inode below that index is free.
        var firstFreeInode = 0
        /// Whether the group is among those whose bitmaps need a checksum.
        var isUnsealed = false
        /// Whether the group is among those that have maps in memory.
        var isCounted = false
    }

    let number: GroupNumber
    /// Where the group's descriptor is, and the block that holds it.
    let page: DescriptorPage
    let slot: Int
    let descriptorBuffer: Buffer
    /// All blocks of the group.
    let range: BlockRange
    let state: Guarded<State>

    init(
        _ number: GroupNumber, _ descriptor: GroupDescriptor, page: DescriptorPage,
        buffer: Buffer, _ geometry: GroupGeometry
    ) {
        self.number = number
        self.page = page
        slot = Int(number.rawValue &- page.first.rawValue)
        descriptorBuffer = buffer
        range = geometry.blocks(of: number)
        state = Guarded(
            State(
                descriptor: descriptor, blocks: BusyMap(count: UInt32(clamping: range.count)),
                inodes: BusyMap(count: geometry.inodesPerGroup)))
    }

    /// The bits of `range`, which lies in the group.
    func bits(of range: BlockRange) -> Range<Int> {
        let start = Int(range.start.rawValue &- self.range.start.rawValue)
        return start..<start &+ Int(range.count)
    }

    /// The blocks behind `bits` of the bitmap.
    func blocks(_ bits: Range<Int>) -> BlockRange {
        BlockRange(
            start: range.start.advanced(by: UInt64(bits.lowerBound)), count: UInt64(bits.count))
    }
}

/// The parsed descriptors of one block of the table, as they are now.
final class DescriptorPage: Sendable {
    /// The group of the first one.
    let first: GroupNumber
    /// The block that holds them.
    let block: BlockNumber
    private let descriptors: Guarded<[GroupDescriptor]>

    init(first: GroupNumber, block: BlockNumber, _ descriptors: [GroupDescriptor]) {
        self.first = first
        self.block = block
        self.descriptors = Guarded(descriptors)
    }

    subscript(_ slot: Int) -> GroupDescriptor {
        get { descriptors.withLock { $0[slot] } }
        set { descriptors.withLock { $0[slot] = newValue } }
    }
}
