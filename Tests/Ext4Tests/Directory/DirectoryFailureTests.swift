import Testing

@testable import Ext4

/// Operations that fail in the middle, directories that may not be changed, and damaged ones.
@Suite struct DirectoryFailureTests {
    typealias Entry = DirectoryBench.Entry
    typealias Options = DirectoryBench.Options

    static let entry = Entry(inode: InodeNumber(77), type: .regular)

    /// Fails each append of each operation, and each operation after its last step.
    @Test(arguments: [
        Options(hashVersion: nil), Options(), Options(hasChecksums: false, hasLargeDir: true),
    ])
    func failedOperationsChangeNothing(_ options: Options) throws {
        let bench = try DirectoryBench(options)
        let tail = [UInt8](repeating: 120, count: 200)
        var model: [[UInt8]: Entry] = [:]
        var failures: Set<Int> = []
        for i in 0..<1_600 {
            let name = Array("\(i)".utf8) + tail
            // While the tree is small every operation is tried, then those that split.
            let before = i < 60 || i % 100 == 0 ? try bench.contents() : nil
            for growths in 0..<5 {
                bench.growths = growths
                let blocks = bench.blockCount
                if try fails(name, bench) {
                    failures.insert(growths)
                    #expect(bench.blockCount == blocks)
                    if let before { #expect(try bench.contents() == before) }
                    #expect(try bench.find(name) == nil)
                    continue
                }
                break
            }
            bench.growths = .max
            try bench.insert(name, Self.entry)
            model[name] = Self.entry
        }
        #expect(failures.isSuperset(of: options.hashVersion == nil ? [0] : [0, 1]))
        try bench.reload()
        try bench.check(model)
        for name in model.keys.sorted(by: { $0.lexicographicallyPrecedes($1) }).prefix(300) {
            let before = try bench.contents()
            try takenBack(bench) { (handle) throws(Ext4Error) in
                _ = try bench.directory.remove(unsafe name.span.bytes, in: &handle)
            }
            try takenBack(bench) { (handle) throws(Ext4Error) in
                let directory = try bench.directory
                _ = try directory.replace(
                    unsafe name.span.bytes, inode: InodeNumber(9), type: .symlink, in: &handle)
                try directory.setParent(InodeNumber(99), in: &handle)
            }
            #expect(try bench.contents() == before)
            #expect(try bench.remove(name) == model.removeValue(forKey: name))
        }
        try bench.reload()
        try bench.check(model)
    }

    /// Tries to insert, and takes it back when it succeeds; whether it failed for want of room.
    private func fails(_ name: [UInt8], _ bench: DirectoryBench) throws -> Bool {
        do throws(Ext4Error) {
            try bench.journal.withHandle(credits: 0) { (handle) throws(Ext4Error) in
                _ = try bench.insert(name, Self.entry, in: &handle)
                throw .quotaExceeded
            }
        } catch {
            #expect(error == .noSpace || error == .quotaExceeded)
            return error == .noSpace
        }
        return false
    }

    private func takenBack(
        _ bench: DirectoryBench, _ body: (inout Handle) throws(Ext4Error) -> Void
    ) throws {
        #expect(throws: Ext4Error.quotaExceeded) {
            try bench.journal.withHandle(credits: 0) { (handle) throws(Ext4Error) in
                try body(&handle)
                throw Ext4Error.quotaExceeded
            }
        }
    }

    @Test func manyOperationsOfOneHandleAreTakenBackTogether() throws {
        let bench = try DirectoryBench()
        var model: [[UInt8]: Entry] = [:]
        for i in 0..<200 {
            let name = Array("name \(i)".utf8)
            try bench.insert(name, Self.entry)
            model[name] = Self.entry
        }
        try bench.reload()
        try takenBack(bench) { (handle) throws(Ext4Error) in
            for i in 0..<200 {
                _ = try bench.directory.remove(
                    unsafe Array("name \(i)".utf8).span.bytes, in: &handle)
                let new = Array("another name, of another length \(i)".utf8)
                _ = try bench.insert(new, Self.entry, in: &handle)
            }
        }
        // Free bytes may differ: what counts is what they are read as.
        try bench.check(model)
        try bench.reload()
        try bench.check(model)
    }

    // MARK: What is refused

    @Test func namesAndNumbersAreChecked() throws {
        let bench = try DirectoryBench()
        let long = [UInt8](repeating: 97, count: 256)
        #expect(throws: Ext4Error.nameTooLong) { try bench.insert(long, Self.entry) }
        #expect(throws: Ext4Error.invalidArgument) { try bench.insert([], Self.entry) }
        #expect(throws: Ext4Error.exists) { try bench.insert([46, 46], Self.entry) }
        #expect(throws: Ext4Error.invalidArgument) { try bench.remove([46]) }
        #expect(throws: Ext4Error.invalidArgument) { try bench.replace([46, 46], Self.entry) }
        for number in [0, bench.superblock.inodesCount + 1] {
            let entry = Entry(inode: InodeNumber(number), type: .regular)
            #expect(throws: Ext4Error.invalidArgument) { try bench.insert([97], entry) }
        }
        try bench.insert(Array(long.dropLast()), Self.entry)
        #expect(try bench.find(Array(long.dropLast())) == Self.entry)
    }

    @Test func directoriesThatNeedAKeyOrTablesTakeNoNames() throws {
        let bench = try DirectoryBench()
        for i in 0..<100 { try bench.insert(Array("the name number \(i)".utf8), Self.entry) }
        bench.flags.insert(.casefold)
        #expect(throws: Ext4Error.notSupported) { try bench.insert([97], Self.entry) }
        #expect(try bench.remove(Array("the name number 5".utf8)) == Self.entry)
        bench.flags.remove(.casefold)
        bench.flags.insert(.encrypted)
        #expect(throws: Ext4Error.noKey) { try bench.insert([97], Self.entry) }
        // A name is removed as it is shown, with the hash that leads to it.
        let index = try #require(try HTreeIndex(bench.directory))
        for i in 6..<20 {
            let name = Array("the name number \(i)".utf8)
            let shown = try #require(
                unsafe EncryptedName(
                    ciphertext: name.span.bytes,
                    hash: index.hash.hash(of: name.span.bytes) ?? .init(major: 0, minor: 0)))
            #expect(try bench.remove(shown.bytes) == Self.entry)
            #expect(throws: Ext4Error.notFound) { try bench.remove(shown.bytes) }
        }
        #expect(throws: Ext4Error.notFound) { try bench.remove(Array("the name number 8".utf8)) }
    }

    @Test func anUnknownHashForbidsAddingOnly() throws {
        let bench = try DirectoryBench()
        for i in 0..<100 { try bench.insert(Array("name number \(i)".utf8), Self.entry) }
        let root = try bench.cache.buffer(of: BlockNumber(DirectoryBench.firstBlock))
        root.withMutableBytes {
            $0[HTreeNode.RootLayout.hashVersion.at(HTreeNode.rootBase)] = 42
        }
        #expect(throws: Ext4Error.notSupported) { try bench.insert([97], Self.entry) }
        #expect(try bench.remove(Array("name number 9".utf8)) == Self.entry)
        #expect(try bench.find(Array("name number 9".utf8)) == nil)
        #expect(try bench.all().count == 101)
    }

    /// Without the feature the index is dead weight: the first name that is added may go over it.
    @Test func anIndexThatTheVolumeDoesNotUseIsDropped() throws {
        let bench = try DirectoryBench(Options(hasChecksums: false))
        var model: [[UInt8]: Entry] = [:]
        for i in 0..<150 {
            let name = Array("name number \(i)".utf8)
            try bench.insert(name, Self.entry)
            model[name] = Self.entry
        }
        #expect(bench.flags.contains(.index))
        bench.superblock = try DirectoryBench.superblock(
            Options(hasChecksums: false, hashVersion: nil))
        try bench.insert([98], Self.entry)
        model[[98]] = Self.entry
        #expect(!bench.flags.contains(.index))
        try bench.check(model)

        let sealed = try DirectoryBench()
        for i in 0..<150 { try sealed.insert(Array("name number \(i)".utf8), Self.entry) }
        sealed.superblock = try DirectoryBench.superblock(Options(hashVersion: nil))
        #expect { try sealed.insert([98], Self.entry) } throws: { error in
            guard case .corrupt(let found)? = error as? Ext4Error else { return false }
            return found.structure == .inode
        }
    }

    @Test func theParentCanBeChanged() throws {
        for count in [0, 200] {
            let bench = try DirectoryBench()
            for i in 0..<count { try bench.insert(Array("name number \(i)".utf8), Self.entry) }
            try bench.journal.withHandle(credits: 0) { (handle) throws(Ext4Error) in
                try bench.directory.setParent(InodeNumber(4711), in: &handle)
            }
            try bench.reload()
            let all = try bench.all()
            #expect(all[1].name == [46, 46] && all[1].entry.inode == InodeNumber(4711))
            #expect(all.count == count + 2)
        }
    }

    // MARK: Damage

    /// Bytes changed at random, then every operation: errors that name the corruption, no trap, no
    /// endless loop.
    @Test(arguments: [Options(hasChecksums: false), Options(hasChecksums: false, hashVersion: nil)])
    func damageIsFoundOrHarmless(_ options: Options) throws {
        var random = Xorshift(99)
        for round in 0..<120 {
            let bench = try DirectoryBench(options)
            let size = [5, 60, 400][round % 3]
            for i in 0..<size { try bench.insert(Array("name number \(i)".utf8), Self.entry) }
            for _ in 0..<1 + random.next(below: 8) {
                let isRoot = random.next(below: 2) == 0
                let block = isRoot ? 0 : random.next(below: Int(bench.blockCount))
                let offset = random.next(below: isRoot ? 80 : bench.superblock.blockSize)
                let value = UInt8(truncatingIfNeeded: random.next())
                let buffer = try bench.cache.buffer(
                    of: BlockNumber(DirectoryBench.firstBlock + UInt64(block)))
                buffer.withMutableBytes { $0[Field<UInt8>.le(offset)] = value }
            }
            for i in 0..<40 {
                let name = Array("name number \(random.next(below: size + 20))".utf8)
                do throws(Ext4Error) {
                    switch i % 5 {
                    case 0: _ = try bench.all()
                    case 1: _ = try bench.remove(name)
                    case 2: _ = try bench.replace(name, Self.entry)
                    case 3: _ = try bench.directory.isEmpty()
                    default: try bench.insert(name, Self.entry)
                    }
                } catch {
                    switch error {
                    case .corrupt, .exists, .notFound, .notSupported: break
                    default: Issue.record(error)
                    }
                }
            }
        }
    }
}
