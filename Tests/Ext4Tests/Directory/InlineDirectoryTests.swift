import Testing

@testable import Ext4

/// Entries in an inode: random changes against a dictionary, up to the move into a block.
@Suite struct InlineDirectoryTests {
    typealias Entry = DirectoryBench.Entry
    typealias Options = DirectoryBench.Options

    @Test(
        arguments: [0, 12, 60, 93, 160], [Options(), Options(hashVersion: nil, hasTypes: false)])
    func behavesLikeADictionary(capacity: Int, options: Options) throws {
        let superblock = try DirectoryBench.superblock(options)
        for seed in 1...12 as ClosedRange<UInt64> {
            var random = Xorshift(seed)
            var inline = InlineDirectory(
                superblock: superblock, inode: DirectoryBench.owner.inode, flags: .inlineData,
                block: InlineDirectory.empty(parent: InodeNumber(2), superblock: superblock),
                rest: [])
            #expect(try inline.isEmpty())
            var model: [[UInt8]: Entry] = [:]
            var isFull = false
            for _ in 0..<120 {
                let name =
                    Array("\(random.next(below: 12))".utf8)
                    + [UInt8](repeating: 97, count: random.next(below: 14))
                let type: FileType = options.hasTypes ? .fifo : .unknown
                let entry = Entry(
                    inode: InodeNumber(UInt32(13 + random.next(below: 99))), type: type)
                switch random.next(below: 5) {
                case 0...2 where model[name] == nil:
                    let fits = try unsafe inline.insert(
                        name.span.bytes, inode: entry.inode, type: .fifo, capacity: capacity)
                    if fits { model[name] = entry } else { isFull = true }
                case 0...2:
                    #expect(throws: Ext4Error.exists) {
                        _ = try unsafe inline.insert(
                            name.span.bytes, inode: entry.inode, type: .fifo, capacity: capacity)
                    }
                case 3 where model[name] != nil:
                    let old = try unsafe inline.replace(
                        name.span.bytes, inode: entry.inode, type: .fifo)
                    #expect(Entry(inode: old.inode, type: old.type) == model[name])
                    model[name] = entry
                default:
                    guard let known = model.removeValue(forKey: name) else {
                        #expect(throws: Ext4Error.notFound) {
                            _ = try unsafe inline.remove(name.span.bytes)
                        }
                        continue
                    }
                    let old = try unsafe inline.remove(name.span.bytes)
                    #expect(Entry(inode: old.inode, type: old.type) == known)
                }
                #expect(inline.rest.count <= capacity && inline.block.count == 60)
                #expect(try Self.listed(inline) == model)
                #expect(try inline.isEmpty() == model.isEmpty)
            }
            #expect(isFull)
            inline.setParent(InodeNumber(33))
            try moves(inline, model, options)
        }
    }

    /// What a listing in small pieces shows, without `.` and `..`.
    private static func listed(_ inline: InlineDirectory) throws -> [[UInt8]: Entry] {
        var listed: [[UInt8]: Entry] = [:]
        var position: UInt64 = 0
        var dots = 0
        while true {
            let start = position
            try inline.list(from: position) { (inode, type, name, next) in
                position = next
                if name.isDotOrDotDot {
                    dots += 1
                } else {
                    #expect(
                        listed.updateValue(Entry(inode: inode, type: type), forKey: name.copy())
                            == nil)
                }
                return false
            }
            guard position > start else { break }
        }
        #expect(dots == 2)
        return listed
    }

    /// Moves the entries to a block while they are listed.
    private func moves(
        _ inline: InlineDirectory, _ model: [[UInt8]: Entry], _ options: Options
    ) throws {
        var seen: [[UInt8]] = []
        var position: UInt64 = 0
        try inline.list(from: 0) { (_, _, name, next) in
            seen.append(name.copy())
            position = next
            return seen.count < 4
        }
        let bench = try DirectoryBench(options)
        let first = try bench.cache.buffer(of: BlockNumber(DirectoryBench.firstBlock))
        try bench.journal.withHandle(credits: 0) { (handle) throws(Ext4Error) in
            try inline.move(to: first, owner: DirectoryBench.owner, in: &handle)
        }
        try bench.reload()
        try bench.check(model)
        #expect(try bench.find([46, 46])?.inode == InodeNumber(33))
        while let piece = try bench.list(from: position, count: 2) {
            seen += piece.entries.map(\.name)
            position = piece.next
        }
        #expect(seen.count == model.count + 2 && Set(seen).count == seen.count)
    }
}
