package import Ext4
internal import Synchronization

/// Consecutive blocks of a directory.
package struct DirectoryRun: Hashable, Sendable {
    /// The first block of the directory.
    package let logical: UInt32
    /// How many they are.
    package let count: UInt32
    /// The first block of the volume.
    package let block: UInt64
}

/// What a check keeps of each directory: 32 bytes with its parents, and 16 for every run of its
/// blocks.
package struct DirectoryInfo: Hashable, Sendable {
    /// The directory.
    package let inode: InodeNumber
    /// Where its runs start, among those of all directories.
    var firstRun: UInt32
    /// How many runs it has.
    let runCount: UInt32
    /// The number of blocks by its size.
    package let blockCount: UInt32
    /// The flags of its inode.
    let flags: UInt32
    /// The generation of its inode: checksums start from it.
    let generation: UInt32
}

/// The directories of a volume, by inode.
@safe
package final class Directories: @unchecked Sendable {
    /// In the order of their numbers.
    package let infos: [DirectoryInfo]
    private let runs: [DirectoryRun]
    private let memory: ZeroedMemory
    /// For each directory who has a name for it, then where its `..` leads.
    private let parents: UnsafeMutablePointer<Atomic<UInt32>>

    init(_ infos: [DirectoryInfo], runs: [DirectoryRun]) throws(Ext4Error) {
        self.infos = infos
        self.runs = runs
        guard let memory = ZeroedMemory(byteCount: infos.count * 8) else { throw .noSpace }
        self.memory = memory
        unsafe parents = memory.bound(to: Atomic<UInt32>.self)
    }

    /// Where a directory is in the list; nil for an inode that is none.
    package func index(of inode: InodeNumber) -> Int? {
        var low = 0
        var high = infos.count
        while low < high {
            let middle = (low &+ high) / 2
            if infos[middle].inode < inode { low = middle &+ 1 } else { high = middle }
        }
        return low < infos.count && infos[low].inode == inode ? low : nil
    }

    /// The runs of a directory's blocks, in order.
    package func runs(of info: DirectoryInfo) -> ArraySlice<DirectoryRun> {
        runs[Int(info.firstRun)..<Int(info.firstRun) + Int(info.runCount)]
    }

    /// Who has a name for the directory; 0 for nobody.
    package func parent(at index: Int) -> InodeNumber {
        InodeNumber(unsafe parents[index * 2].load(ordering: .relaxed))
    }

    /// Where the directory's `..` leads; 0 for nowhere.
    package func dotDot(at index: Int) -> InodeNumber {
        InodeNumber(unsafe parents[index * 2 + 1].load(ordering: .relaxed))
    }

    /// Notes who has a name for a directory.
    ///
    /// - Returns: false when somebody has one already.
    func setParent(_ parent: InodeNumber, at index: Int) -> Bool {
        unsafe parents[index * 2].compareExchange(
            expected: 0, desired: parent.rawValue, ordering: .relaxed
        ).exchanged
    }

    /// Notes who of several keeps the name.
    func replaceParent(_ parent: InodeNumber, at index: Int) {
        unsafe parents[index * 2].store(parent.rawValue, ordering: .relaxed)
    }

    /// Notes where `..` leads.
    func setDotDot(_ target: InodeNumber, at index: Int) {
        unsafe parents[index * 2 + 1].store(target.rawValue, ordering: .relaxed)
    }
}
