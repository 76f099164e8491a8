import Ext4
import Ext4Verify

/// One tree with something of everything that ext2, ext3 and ext4 can hold, made through a mount.
///
/// What a volume cannot take (a 64 KiB attribute without `ea_inode`, `fallocate` on an indirect
/// map) is made as large as it can or left out; anything else that fails ends the filling.
struct RichTree {
    /// How much of it.
    struct Scale {
        /// The bytes of a block.
        var blockSize: UInt64
        /// The blocks that are allocated together; 1 without bigalloc.
        var clusterBlocks: UInt64 = 1
        /// The names in the big directory.
        var bigDirectory = 100_000
        /// Whether those names are long, so that the index needs three levels.
        var hasLongNames = false
        /// The subdirectories of one directory, beyond 65,000 to pass the limit of links.
        var subdirectories = 0
        /// Whether there are encrypted directories.
        var isEncrypted = false
        /// Whether `mke2fs -d` is to copy it, which makes two of a symbolic link with two names,
        /// and cuts off the hole behind the data of a file with inline data.
        var isForCopying = false
    }

    let root: HostFile
    let scale: Scale
    private(set) var random = Seeded(0x5EED)

    init(in root: HostFile, scale: Scale) {
        self.root = root
        self.scale = scale
    }

    /// Makes the tree.
    mutating func fill() throws(HostFailure) {
        try makeTypes()
        try makeNames()
        try makeTimes()
        try makeLinks()
        try makeAttributes()
        try makeFlags()
        try makeInlineFiles()
        try makeSparseFiles()
        try makeFragmentedFiles()
        try makeAllocatedFiles()
        try makeDeepExtentTree()
        try makeDirectories()
        try makeBigDirectory()
        if scale.isEncrypted { try makeEncrypted() }
        try root.syncFileSystem()
    }

    private mutating func makeTypes() throws(HostFailure) {
        let types = try root.makeDirectory("types".bytes)
        _ = try types.create("empty".bytes)
        try write(random.bytes(3000), to: "small", in: types)
        try write(random.bytes(5 << 20 | 77), to: "large", in: types)
        try types.makeNode("fifo".bytes, mode: 0o010644)
        try types.makeNode("socket".bytes, mode: 0o140755)
        let devices: [(String, UInt32, UInt32, UInt32)] = [
            ("null", 0o020666, 1, 3), ("zero-minor", 0o020600, 4, 0), ("sda1", 0o060660, 8, 1),
            ("old-end", 0o060660, 255, 255), ("new-major", 0o020600, 256, 0),
            ("new-minor", 0o060600, 8, 256), ("new-end", 0o020600, 4095, 1_048_575),
            ("none", 0o020600, 0, 0),
        ]
        for (name, mode, major, minor) in devices {
            try types.makeNode(name.bytes, mode: mode, major: major, minor: minor)
        }

        let modes = try root.makeDirectory("modes".bytes)
        for mode: UInt32 in [0, 0o4755, 0o2755, 0o6711, 0o1777, 0o7777, 0o600, 0o2640, 0o111] {
            let name = String(mode, radix: 8)
            _ = try modes.create(name.bytes)
            try modes.setMode(name.bytes, mode)
            try modes.makeDirectory(("d" + name).bytes)
            try modes.setMode(("d" + name).bytes, mode)
        }
        let owners: [(UInt32, UInt32)] = [
            (1, 2), (65_535, 65_536), (70_000, 80_000), (0xFFFF_FFFE, 0x1_0000),
            (0x8000_0000, 0x7FFF_FFFF),
        ]
        for (user, group) in owners {
            _ = try modes.create("u\(user)".bytes)
            try modes.setOwner("u\(user)".bytes, user: user, group: group)
            try modes.makeSymlink("l\(user)".bytes, to: "x".bytes)
            try modes.setOwner("l\(user)".bytes, user: user, group: group)
        }
    }

    private func makeNames() throws(HostFailure) {
        let names = try root.makeDirectory("names".bytes)
        var list: [[UInt8]] = [
            [UInt8](repeating: UInt8(ascii: "n"), count: 255),
            [UInt8](repeating: 0xFF, count: 255),
            "caf\u{E9}".bytes, "cafe\u{301}".bytes,  // one name to a String, two to a disk
            [0xFF, 0xFE, 0x80], [0xC3, 0x28], [0xED, 0xA0, 0x80],
            "a\u{0}b".bytes.filter { $0 != 0 },
            "new\nline".bytes, "tab\there".bytes, "\u{1B}[31mred".bytes, "-rf".bytes, "...".bytes,
            " ".bytes, " space at both ends ".bytes, "back\\slash".bytes, "quote\"'`$*?".bytes,
            "日本語のファイル名".bytes, "😀👩‍👩‍👧‍👦".bytes, "İıſẞß".bytes, "UPPER".bytes, "upper".bytes,
            ".hidden".bytes, "~".bytes, "#".bytes, "%s%n".bytes,
        ]
        for byte in UInt8(1)...255 where byte != 0x2F && byte != 0x2E && byte != 0x20 {
            if byte != 0x23, byte != 0x7E { list.append([byte]) }
        }
        // Every length: each alignment of a directory record.
        for length in 2...254 { list.append("l".bytes + [UInt8](repeating: 0x61, count: length)) }
        _ = try names.create("0".bytes + "source".bytes)
        for (index, name) in list.enumerated() {
            if index % 8 == 0 {
                _ = try names.create(name)
            } else {
                try names.link("0source".bytes, to: names, as: name)
            }
        }
    }

    private func makeTimes() throws(HostFailure) {
        let times = try root.makeDirectory("times".bytes)
        let moments: [Int64] = [
            -2_147_483_648, -2_147_483_647, -1_000_000_000, -1, 0, 1, 1_000_000_000,
            2_147_483_647, 2_147_483_648, 4_294_967_295, 4_294_967_296, 6_442_450_943,
            6_442_450_944, 8_589_934_591, 8_589_934_592, 10_737_418_240, 12_884_901_888,
            15_032_385_535, -5_000_000_000, 20_000_000_000,
        ]
        for (index, seconds) in moments.enumerated() {
            let name = "t\(index)".bytes
            switch index % 4 {
            case 0: try times.makeDirectory(name)
            case 1: try times.makeSymlink(name, to: "nowhere".bytes)
            case 2: try times.makeNode(name, mode: 0o010600)
            default: _ = try times.create(name)
            }
            try times.setTimes(
                name,
                access: Timestamp(
                    seconds: moments[(index + 5) % moments.count],
                    nanoseconds: UInt32(999_999_999 - index)),
                modification: Timestamp(
                    seconds: seconds, nanoseconds: UInt32(index) * 52_631_579 % 1_000_000_000))
        }
        // Files of their own for the times that only `debugfs` can set.
        for index in 0..<8 { _ = try times.create("set\(index)".bytes) }
    }

    private func makeLinks() throws(HostFailure) {
        let links = try root.makeDirectory("links".bytes)
        let other = try links.makeDirectory("other".bytes)
        try write("linked".bytes, to: "file", in: links)
        for index in 0..<300 {
            try links.link(
                "file".bytes, to: index % 2 == 0 ? links : other, as: "link\(index)".bytes)
        }
        try links.makeNode("fifo".bytes, mode: 0o010600)
        try links.link("fifo".bytes, to: other, as: "fifo2".bytes)
        try links.makeSymlink("symlink".bytes, to: "file".bytes)
        if !scale.isForCopying {
            try links.link("symlink".bytes, to: other, as: "symlink2".bytes)
        }
        // 59 bytes is the last fast one; inline data takes more of them in.
        for length in [1, 2, 58, 59, 60, 61, 100, 150, 200, 255, 256, 500, 900, 1000] {
            try makeSymlink(length, in: links)
        }
        for length in [4095, 4000, 2047, 2000, 1023] {
            do throws(HostFailure) {
                try makeSymlink(length, in: links)
            } catch  where error.errno == 36 {  // ENAMETOOLONG: a block holds no more.
            }
        }
        try links.makeSymlink("absolute".bytes, to: "/etc/../links/file".bytes)
        try links.makeSymlink("up".bytes, to: "../../..".bytes)
        try links.makeSymlink("loop".bytes, to: "loop".bytes)
        try links.makeSymlink([0xFE, 0xED], to: [0xFF, 0x01, 0x80])
    }

    private func makeSymlink(_ length: Int, in directory: HostFile) throws(HostFailure) {
        let target = (0..<length).map { UInt8(ascii: "a") + UInt8($0 % 26) }
        try directory.makeSymlink("s\(length)".bytes, to: target)
    }

    private mutating func makeInlineFiles() throws(HostFailure) {
        let small = try root.makeDirectory("small".bytes)
        for size in 1...40 { try write(random.bytes(size * 4), to: "f\(size)", in: small) }
        for size in [59, 60, 61, 159, 160, 161, 250, 400, 415, 416, 417, 700, 900, 927, 928, 929] {
            try write(random.bytes(size), to: "e\(size)", in: small)
        }
        // Inline, longer than its data; and with attributes that compete for the room.
        let sparse = try small.create("longer".bytes)
        try sparse.write("x".bytes, at: 0)
        try sparse.truncate(to: 90)
        try write(random.bytes(70), to: "attributed", in: small)
        try small.setAttribute("user.a", to: random.bytes(20), of: "attributed".bytes)
        // Inline directories, in the inode's first and second room, and one that left it.
        for count in [0, 1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 40] {
            let directory = try small.makeDirectory("d\(count)".bytes)
            for index in 0..<count { _ = try directory.create("e\(index)".bytes) }
        }
        let shrunk = try small.makeDirectory("shrunk".bytes)
        for index in 0..<6 { _ = try shrunk.create("entry\(index)".bytes) }
        for index in [0, 3, 5] { try shrunk.unlink("entry\(index)".bytes) }
    }

    private func makeFlags() throws(HostFailure) {
        let flags = try root.makeDirectory("flags".bytes)
        let masks: [(String, UInt32)] = [
            ("secure", 0x1), ("undelete", 0x2), ("sync", 0x8), ("immutable", 0x10),
            ("append", 0x20), ("nodump", 0x40), ("noatime", 0x80), ("journal", 0x4000),
            ("notail", 0x8000), ("all", 0xF8),
        ]
        for (name, mask) in masks {
            let file = try flags.create(name.bytes)
            try file.write("flagged".bytes, at: 0)
            try add(mask, to: file)
            let directory = try flags.makeDirectory(("d-" + name).bytes)
            try add(mask & 0xF8, to: directory)
        }
        for (name, mask) in [("dirsync", UInt32(0x10000)), ("topdir", 0x20000)] {
            try add(mask, to: try flags.makeDirectory(name.bytes))
        }
    }

    private func add(_ mask: UInt32, to file: HostFile) throws(HostFailure) {
        do throws(HostFailure) {
            try file.setFlags(try file.flags() | mask)
        } catch  where error.errno == 95 || error.errno == 1 {
            // EOPNOTSUPP, EPERM: this kernel lacks that flag, or guards it by a capability.
        }
    }

    func write(_ bytes: [UInt8], to name: String, in directory: HostFile) throws(HostFailure) {
        try directory.create(name.bytes).write(bytes, at: 0)
    }

    /// Does what a volume may lack.
    static func attempt(_ body: () throws(HostFailure) -> Void) throws(HostFailure) -> Bool {
        do throws(HostFailure) {
            try body()
            return true
        } catch  where error.errno == 95 {
            return false
        }
    }

    mutating func randomBytes(_ count: Int) -> [UInt8] { random.bytes(count) }
}

/// A small generator with a seed (SplitMix64): the same tree every time.
struct Seeded {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var word = state
        word = (word ^ word >> 30) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ word >> 27) &* 0x94D0_49BB_1331_11EB
        return word ^ word >> 31
    }

    mutating func bytes(_ count: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count)
        while bytes.count < count {
            var word = next()
            for _ in 0..<min(8, count - bytes.count) {
                bytes.append(UInt8(truncatingIfNeeded: word))
                word >>= 8
            }
        }
        return bytes
    }
}

extension String {
    var bytes: [UInt8] { [UInt8](utf8) }
}
