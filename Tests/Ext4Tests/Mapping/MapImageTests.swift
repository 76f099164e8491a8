import Foundation
import Testing

@testable import Ext4

/// Maps of files on volumes that mke2fs made; e2fsck and debugfs say what came of them.
@Suite struct MapImageTests {
    /// A file, and what its blocks should be mapped to.
    private struct File {
        let inode: Inode
        var model: [UInt64: BlockRun.State] = [:]
    }

    private final class Bench {
        let volume: MadeVolume
        let table: InodeTable
        var files: [File] = []

        init(_ make: String) throws {
            let directory = FileManager.default.temporaryDirectory
                .appendingPathComponent("swift-ext4-maps-\(UUID().uuidString)").path
            defer { try? FileManager.default.removeItem(atPath: directory) }
            try MadeVolume.shell("mkdir $1; touch $1/a $1/b $1/c", directory)
            volume = try MadeVolume("\(make) -d \(directory)")
            table = InodeTable(volume.groups.reader, groups: volume.groups, budget: 16)
            // lost+found is the first inode that is not reserved.
            for number in 1...3 {
                let first = volume.superblock.firstInode.rawValue
                let inode = try table.inode(InodeNumber(first + UInt32(number)))
                #expect(inode.type == .regular && inode.size == 0)
                files.append(File(inode: inode))
            }
        }

        /// Runs `body` with an editor of a file, and stores what it made into the inode; `body`
        /// returns how many blocks of contents the file has more.
        func edit(
            _ file: Int,
            _ body: (inout MapEditor, inout Handle, BlockAllocator) throws(Ext4Error) -> Int64
        ) throws {
            let inode = files[file].inode
            let superblock = volume.superblock
            var editor = MapEditor(
                MapRoot(inode.record), usesExtents: inode.usesExtents, owner: inode.owner,
                reader: volume.groups.reader, blocks: volume.blocks, spender: .privileged)
            try volume.change { (handle) throws(Ext4Error) in
                let blocks = try body(&editor, &handle, volume.blocks)
                let delta = blocks + Int64(editor.metadataBlocksDelta)
                let root = editor.rootChanged ? editor.root : nil
                try table.update(inode, in: &handle) { (record) throws(Ext4Error) in
                    root?.store(in: &record)
                    try record.addBlocks(delta, superblock)
                }
            }
        }

        func insert(_ file: Int, at start: UInt64, _ count: UInt64, unwritten: Bool) throws {
            var done: UInt64 = 0
            while done < count {
                let goal = BlockNumber(UInt64(5000 + 9000 * file) + start % 20_000)
                let range = try volume.blocks.reserve(count - done, near: goal, for: .privileged)
                let run = BlockRun(
                    logical: LogicalBlock(start + done), count: range.count,
                    state: unwritten ? .unwritten(range.start) : .mapped(range.start))
                try edit(file) { (editor, handle, blocks) throws(Ext4Error) in
                    try blocks.claim(range, in: &handle)
                    try editor.insert(run, in: &handle)
                    return Int64(range.count)
                }
                for i in 0..<range.count {
                    let block = range.start.advanced(by: i)
                    files[file].model[start + done + i] =
                        unwritten ? .unwritten(block) : .mapped(block)
                }
                done += range.count
            }
        }

        func remove(_ file: Int, _ range: Range<UInt64>) throws {
            var end = LogicalBlock(range.upperBound)
            while true {
                var next: LogicalBlock?
                let rest = LogicalBlock(range.lowerBound)..<end
                try edit(file) { (editor, handle, blocks) throws(Ext4Error) in
                    let (freed, resumeAt) = try editor.remove(rest, limit: 30, in: &handle)
                    var count: Int64 = 0
                    for range in freed {
                        try blocks.free(range, isMetadata: false, in: &handle)
                        count += Int64(range.count)
                    }
                    next = resumeAt
                    return -count
                }
                guard let next else { break }
                end = next
            }
            for block in range { files[file].model[block] = nil }
        }

        /// Gives every file the size that its blocks ask for, and everything to the judges.
        func finish() throws {
            let superblock = volume.superblock
            for file in files {
                let end = (file.model.keys.max() ?? 0) + 1
                try volume.change { (handle) throws(Ext4Error) in
                    try table.update(file.inode, in: &handle) { (record) throws(Ext4Error) in
                        record.setSize(end * UInt64(superblock.blockSize))
                    }
                }
            }
            try volume.finish()
            let (status, output) = try volume.check()
            #expect(status == 0, "\(output)")
            let reopened = try Volume.open(MemoryDevice(volume.device.bytes))
            for file in files {
                let inode = try reopened.inode(file.inode.number)
                var found: [UInt64: BlockRun.State] = [:]
                for run in try reopened.mappings(of: inode) {
                    for i in 0..<run.count {
                        found[run.logical.rawValue + i] =
                            run.suffix(from: LogicalBlock(run.logical.rawValue + i)).state
                    }
                }
                #expect(found == file.model)
            }
            try compareWithDebugfs()
        }

        /// Has debugfs say where some of the blocks are.
        private func compareWithDebugfs() throws {
            let path = FileManager.default.temporaryDirectory
                .appendingPathComponent("swift-ext4-maps-\(UUID().uuidString)").path
            defer { try? FileManager.default.removeItem(atPath: path) }
            try Data(volume.device.bytes).write(to: URL(fileURLWithPath: path))
            var commands = ""
            var expected: [String] = []
            for file in files {
                for block in file.model.keys.sorted().enumerated() where block.offset % 97 == 0 {
                    commands += "bmap <\(file.inode.number)> \(block.element)\n"
                    switch file.model[block.element] {
                    case .mapped(let place): expected.append("\(place)")
                    case .unwritten(let place): expected.append("\(place) (uninit)")
                    default: expected.append("0")
                    }
                }
            }
            let output = try MadeVolume.shell(
                "printf '%s' \"$2\" | debugfs -f - $1 2>/dev/null", path, commands)
            let answers = output.split(separator: "\n").filter { !$0.hasPrefix("debugfs") }
            #expect(answers.map(String.init) == expected)
        }
    }

    @Test(arguments: ["-t ext4 -b 1024", "-t ext4 -b 4096", "-t ext4 -b 1024 -O ^has_journal"])
    func extents(make: String) throws {
        let bench = try Bench(make)
        var random = Xorshift(UInt64(make.utf8.count))
        // One file of single blocks, which no other block follows in the file.
        let count: UInt64 = bench.volume.superblock.blockSize == 1024 ? 6000 : 2000
        for i in 0..<count { try bench.insert(0, at: 2 * i, 1, unwritten: i % 50 == 0) }
        // Two that change at random.
        for _ in 0..<500 {
            let file = 1 + random.next(below: 2)
            let start = UInt64(random.next(below: 3000))
            let count = 1 + UInt64(random.next(below: random.next(below: 4) == 0 ? 100 : 6))
            switch random.next(below: 10) {
            case 0..<5:
                guard bench.files[file].model[start] == nil else { continue }
                var free: UInt64 = 1
                while free < count, bench.files[file].model[start + free] == nil { free += 1 }
                try bench.insert(file, at: start, free, unwritten: random.next(below: 2) == 0)
            case 5..<7:
                let isWritten = random.next(below: 2) == 0
                try bench.edit(file) { (editor, handle, _) throws(Ext4Error) in
                    try editor.convert(
                        LogicalBlock(start)..<LogicalBlock(start + count), toWritten: isWritten,
                        in: &handle)
                    return 0
                }
                for block in start..<start + count {
                    switch bench.files[file].model[block] {
                    case .mapped(let place), .unwritten(let place):
                        bench.files[file].model[block] =
                            isWritten ? .mapped(place) : .unwritten(place)
                    default: break
                    }
                }
            case 7..<9:
                try bench.remove(file, start..<start + count)
            default:
                let isBack = random.next(below: 2) == 0
                if !isBack { try bench.remove(file, start..<start + count) }
                let from = isBack ? start : start + count
                let distance = isBack ? Int64(count) : -Int64(count)
                try bench.edit(file) { (editor, handle, _) throws(Ext4Error) in
                    try editor.shift(from: LogicalBlock(from), by: distance, in: &handle)
                    return 0
                }
                var moved: [UInt64: BlockRun.State] = [:]
                for (block, state) in bench.files[file].model {
                    moved[block < from ? block : UInt64(Int64(block) + distance)] = state
                }
                bench.files[file].model = moved
            }
        }
        try bench.finish()
    }

    @Test(arguments: ["-t ext2 -b 1024", "-t ext3 -b 1024", "-t ext2 -b 4096"])
    func pointers(make: String) throws {
        let bench = try Bench(make)
        #expect(!bench.files[0].inode.usesExtents)
        var random = Xorshift(UInt64(make.utf8.count))
        let perBlock = UInt64(bench.volume.superblock.blockSize / 4)
        let seams = [0, 12, 12 + perBlock, 12 + perBlock + perBlock * perBlock]
        for _ in 0..<300 {
            let file = random.next(below: 3)
            let seam = seams[random.next(below: 4)]
            let start = seam + UInt64(random.next(below: 600)) - min(seam, 10)
            let count = 1 + UInt64(random.next(below: random.next(below: 4) == 0 ? 300 : 6))
            if random.next(below: 3) > 0 {
                guard bench.files[file].model[start] == nil else { continue }
                var free: UInt64 = 1
                while free < count, bench.files[file].model[start + free] == nil { free += 1 }
                try bench.insert(file, at: start, free, unwritten: false)
            } else {
                try bench.remove(file, start..<start + count)
            }
        }
        try bench.finish()
    }

    /// All that was made goes: the volume is as free as it was.
    @Test func whatIsRemovedIsFree() throws {
        let bench = try Bench("-t ext4 -b 1024")
        let free = bench.volume.blocks.freeBlocks
        for i in 0..<3000 { try bench.insert(0, at: 3 * UInt64(i), 2, unwritten: false) }
        #expect(bench.volume.blocks.freeBlocks < free - 6000 - 3000 / 84)
        try bench.remove(0, 0..<10_000)
        try bench.volume.journal.commitRunning()
        #expect(bench.volume.blocks.freeBlocks == free)
        #expect(bench.files[0].inode.blocks512 == 0)
        try bench.finish()
    }
}
