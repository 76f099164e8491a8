import Ext4
import Ext4Verify

// Files whose blocks stand in every way that a map knows.

extension RichTree {
    /// Files with holes, up to the largest size that the volume takes.
    mutating func makeSparseFiles() throws(HostFailure) {
        let sparse = try root.makeDirectory("sparse".bytes)
        let limit = try sizeLimit(in: sparse)
        let largest = try extentFile("largest", in: sparse)
        try largest.write("begin".bytes, at: 0)
        try largest.write("middle".bytes, at: limit / 2)
        try largest.write("end".bytes, at: limit - 3)

        let hole = try sparse.create("only-a-hole".bytes)
        try hole.truncate(to: 1 << 30 | 123)
        let limitHole = try extentFile("hole-to-the-limit", in: sparse)
        try limitHole.truncate(to: limit)

        // The borders of the indirect map: 12 direct blocks, then 1, 2 and 3 levels.
        let block = scale.blockSize
        let pointers = block / 4
        let borders = [12, 12 + pointers, 12 + pointers + pointers * pointers]
        let file = try extentFile("borders", in: sparse)
        for border in borders {
            for index in [border - 1, border, border + 1] where (index + 1) * block <= limit {
                try file.write(randomBytes(Int(block)), at: index * block)
            }
        }
        let single = try extentFile("last-pointers", in: sparse)
        for index in [11, 11 + pointers, 11 + pointers + pointers * pointers, pointers * 7 + 5]
        where (index + 1) * block <= limit {
            try single.write("pointer".bytes, at: index * block + 17)
        }
        guard !scale.isForCopying else { return }
        let tail = try sparse.create("hole-at-both-ends".bytes)
        try tail.write(randomBytes(3 * Int(block)), at: 7 * block)
        try tail.truncate(to: 400 * block + 5)
        // Cut back: blocks beyond the end must be gone, and the rest of the last block zero.
        let cut = try sparse.create("cut".bytes)
        try cut.write(randomBytes(20 * Int(block)), at: 0)
        try cut.truncate(to: 3 * block + 100)
        try cut.truncate(to: 6 * block)
    }

    /// Makes an empty file that is not inline: the kernel takes an inline one to the limit of
    /// indirect maps only.
    private func extentFile(_ name: String, in directory: HostFile) throws(HostFailure) -> HostFile
    {
        let file = try directory.create(name.bytes)
        try file.write([UInt8](repeating: 1, count: Int(scale.blockSize)), at: 0)
        try file.truncate(to: 0)
        return file
    }

    /// The largest size that the volume takes for a file: between 1 GiB and 2⁶³.
    private func sizeLimit(in directory: HostFile) throws(HostFailure) -> UInt64 {
        let probe = try extentFile("probe", in: directory)
        var (good, bad): (UInt64, UInt64) = (1 << 30, 1 << 62)
        while bad - good > 1 {
            let middle = good + (bad - good) / 2
            do throws(HostFailure) {
                try probe.truncate(to: middle)
                good = middle
            } catch  where error.errno == 27 {  // EFBIG
                bad = middle
            }
        }
        try directory.unlink("probe".bytes)
        return good
    }

    /// Files in many pieces, written block by block.
    mutating func makeFragmentedFiles() throws(HostFailure) {
        let directory = try root.makeDirectory("fragmented".bytes)
        let block = scale.blockSize
        let step = scale.clusterBlocks
        let every = try directory.create("every-other".bytes)
        for index in 0..<UInt64(1500 / step + 64) {
            try every.write(randomBytes(Int(min(block, 64))), at: index * 2 * step * block)
        }
        // Two files that grow in turns share one stretch of the volume.
        let (left, right) = (
            try directory.create("left".bytes), try directory.create("right".bytes)
        )
        for index in 0..<40 as Range<UInt64> {
            try left.write(randomBytes(Int(block)), at: index * block)
            try left.sync()
            try right.write(randomBytes(Int(block)), at: index * block)
            try right.sync()
        }
        // Backwards, and in no order at all.
        let back = try directory.create("backwards".bytes)
        for index in (0..<200 as Range<UInt64>).reversed() {
            try back.write([UInt8(index)], at: index * 3 * step * block)
        }
        let scattered = try directory.create("scattered".bytes)
        for index in 0..<300 as Range<UInt64> {
            let place = index &* 2_654_435_761 % 60_000
            try scattered.write("\(index)".bytes, at: place * block + index)
        }
    }

    /// What only extents can say: space that is reserved and not written.
    mutating func makeAllocatedFiles() throws(HostFailure) {
        let directory = try root.makeDirectory("allocated".bytes)
        let block = scale.blockSize
        let unit = block * scale.clusterBlocks
        let plain = try directory.create("plain".bytes)
        guard
            try Self.attempt({ () throws(HostFailure) in
                try plain.allocate(.growing, at: 0, count: 64 * block)
            })
        else { return }

        let beyond = try directory.create("beyond-the-end".bytes)
        try beyond.write(randomBytes(100), at: 0)
        try beyond.allocate(.keepingSize, at: 0, count: 50 * block)
        let partly = try directory.create("partly-written".bytes)
        try partly.allocate(.growing, at: 0, count: 300 * block)
        for index in [0, 7, 8, 9, 100, 150, 151, 299] as [UInt64] {
            try partly.write(randomBytes(Int(block)), at: index * block)
        }
        try partly.write(randomBytes(10), at: 200 * block + 5)
        try partly.sync()
        let punched = try directory.create("punched".bytes)
        try punched.write(randomBytes(200 * Int(block)), at: 0)
        try punched.sync()
        for index in [3, 50, 51, 120, 199] as [UInt64] {
            try punched.allocate(.punching, at: index * block, count: block)
        }
        try punched.allocate(.punching, at: 80 * block + 10, count: 2 * block)
        let zeroed = try directory.create("zeroed".bytes)
        try zeroed.write(randomBytes(64 * Int(block)), at: 0)
        try zeroed.sync()
        try zeroed.allocate(.zeroing, at: 16 * block, count: 8 * block)
        let collapsed = try directory.create("collapsed".bytes)
        try collapsed.write(randomBytes(40 * Int(unit)), at: 0)
        try collapsed.sync()
        try collapsed.allocate(.collapsing, at: 4 * unit, count: 8 * unit)
        let inserted = try directory.create("inserted".bytes)
        try inserted.write(randomBytes(20 * Int(unit)), at: 0)
        try inserted.sync()
        try inserted.allocate(.inserting, at: 2 * unit, count: 5 * unit)
        // The longest extents there are: 32,768 blocks written, 32,767 not.
        if scale.clusterBlocks == 1, block <= 1024 {
            let long = try directory.create("long".bytes)
            try long.allocate(.growing, at: 0, count: 33_000 * block)
        }
    }

    /// A file whose extent tree is five levels deep, of a few thousand blocks.
    ///
    /// A tree that is filled in order would need 10⁸ extents for that. But when a full leaf takes a
    /// new extent before its last one, the kernel moves that last one to a leaf of its own; where
    /// the nodes above are full and the leaf is their last child, each gets a new sibling as well.
    /// So one full leaf makes as many siblings as wanted, of one extent each.
    mutating func makeDeepExtentTree() throws(HostFailure) {
        let file = try root.create("deep".bytes)
        var tree = DeepExtentTree(
            file: file, blockSize: scale.blockSize,
            capacity: (scale.blockSize - 12) / 12)
        guard try Self.attempt({ () throws(HostFailure) in try tree.insert(0) }) else { return }
        // Nodes take a cluster each: with bigalloc or large blocks a smaller tree has to do.
        let height =
            scale.clusterBlocks > 1 ? 0 : scale.blockSize <= 2048 ? 3 : 2
        try tree.grow(toHeight: height)
        // Some of it is written.
        for (index, key) in tree.keys.enumerated() where index % 7 == 0 {
            try file.write("block \(key)".bytes, at: key * scale.blockSize + 100)
        }
    }
}

/// The insertions that make an extent tree deep.
struct DeepExtentTree {
    let file: HostFile
    let blockSize: UInt64
    /// The entries of a node.
    let capacity: UInt64
    private(set) var keys: [UInt64] = []

    init(file: HostFile, blockSize: UInt64, capacity: UInt64) {
        self.file = file
        self.blockSize = blockSize
        self.capacity = capacity
    }

    /// Allocates one block, never next to another: each is an extent of its own.
    mutating func insert(_ key: UInt64) throws(HostFailure) {
        try file.allocate(.growing, at: key * blockSize, count: blockSize)
        keys.append(key)
    }

    /// Makes a tree with `height + 2` levels of nodes below the inode, from block 0 on, which is
    /// there already.
    mutating func grow(toHeight height: Int) throws(HostFailure) {
        let last = room(height) * 2
        try fill(height: height, from: 0, last: last)
        // The inode holds four entries: the fifth makes one more level.
        for step in 1...4 as ClosedRange<UInt64> { try insert(last - 2 * step) }
    }

    /// The blocks of the file that a full node of that height is spread over.
    private func room(_ height: Int) -> UInt64 {
        var room = 6 * capacity
        for _ in 0..<height { room = 2 * room + 4 * capacity }
        return room
    }

    /// Makes the node that holds only `first` full, and so its last child and that one's, down to
    /// a leaf whose last extent is `last`.
    private mutating func fill(
        height: Int, from first: UInt64, last: UInt64
    ) throws(HostFailure) {
        guard height > 0 else {
            for step in 1..<(capacity - 1) { try insert(first + 2 * step) }
            try insert(last)
            return
        }
        let middle = first + room(height - 1)
        try fill(height: height - 1, from: first, last: middle)
        for step in 1..<capacity { try insert(middle - 2 * step) }
        try fill(height: height - 1, from: middle, last: last)
    }
}
