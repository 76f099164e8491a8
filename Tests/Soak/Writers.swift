import Ext4Verify
import Glibc

/// Somebody who writes to the mount and keeps a ledger, outside of it, of what he was told is
/// durable. One thread uses him at a time.
protocol Writer: AnyObject, Sendable {
    /// The folder that is his own.
    var folder: String { get }
    /// Does something under `root`, and notes in the ledger what succeeded.
    func step(_ root: String) throws(Failure)
    /// What the ledger says and the tree under `root` does not.
    func faults(_ root: String) throws(Failure) -> [String]
    /// Takes over what is there: what had no promise may be there or not.
    func resume(_ root: String) throws(Failure)
}

/// A log: every byte up to the last promise is there, and no byte is another.
final class LogWriter: Writer, @unchecked Sendable {
    let folder: String
    private var random: Randomness
    private var generation = 0
    private var promised = 0
    private var written = 0

    init(_ folder: String, seed: UInt64) {
        self.folder = folder
        random = Randomness(seed)
    }

    private func byte(at offset: Int) -> UInt8 {
        UInt8(truncatingIfNeeded: (offset &+ generation) &* 2_654_435_761 >> 13 | 1)
    }

    func step(_ root: String) throws(Failure) {
        if written > 3 << 20 {
            let old = "\(root)/\(folder)/log-\(generation)"
            generation += 1
            (promised, written) = (0, 0)
            try Names.check("unlink", unsafe unlink(old))
        }
        let file = try OpenFile("\(root)/\(folder)/log-\(generation)", O_WRONLY | O_CREAT)
        for _ in 0..<1 + random.below(4) {
            let start = written
            let bytes = (start..<start + 1 + random.below(6000)).map { byte(at: $0) }
            written += bytes.count
            try file.write(bytes, at: start)
        }
        try file.sync(dataOnly: random.chance(50))
        promised = written
    }

    func faults(_ root: String) throws(Failure) -> [String] {
        let bytes = try Names.contents(of: "\(root)/\(folder)/log-\(generation)") ?? []
        guard bytes.count >= promised else {
            return ["\(folder): \(promised) bytes of the log were safe, \(bytes.count) are there"]
        }
        guard bytes.count <= written else {
            return ["\(folder): \(bytes.count) bytes of the log, only \(written) were written"]
        }
        let wrong = bytes.indices.first { bytes[$0] != byte(at: $0) }
        return wrong.map {
            ["\(folder): byte \($0) of \(bytes.count) (\(promised) safe) is \(bytes[$0])"]
        } ?? []
    }

    func resume(_ root: String) throws(Failure) {
        let size = try Names.contents(of: "\(root)/\(folder)/log-\(generation)")?.count ?? 0
        (promised, written) = (size, size)
    }
}

/// Files that are made and synced, and some that go again.
final class FileWriter: Writer, @unchecked Sendable {
    let folder: String
    private var random: Randomness
    private var next = 0
    private var promised: [Int: Int] = [:]
    /// Those that were promised to be gone, the last ones.
    private var gone: [Int] = []
    /// What was under way.
    private var uncertain: Set<Int> = []

    init(_ folder: String, seed: UInt64) {
        self.folder = folder
        random = Randomness(seed)
    }

    private func path(_ root: String, _ number: Int) -> String {
        "\(root)/\(folder)/file-\(number)"
    }

    private func contents(_ number: Int, _ count: Int) -> [UInt8] {
        var random = Randomness(UInt64(number) + 77)
        return random.bytes(count)
    }

    func step(_ root: String) throws(Failure) {
        next += 1
        let count = random.below(random.chance(20) ? 100_000 : 6000)
        uncertain.insert(next)
        do {
            let file = try OpenFile(path(root, next), O_WRONLY | O_CREAT | O_EXCL)
            try file.write(contents(next, count), at: 0)
            // Of ext4 one expects that the name is safe with the file.
            try file.sync()
        }
        if random.chance(50) { try Names.sync("\(root)/\(folder)") }
        uncertain.remove(next)
        promised[next] = count
        guard promised.count > 40 || random.chance(25),
            let victim = promised.keys.sorted().first
        else { return }
        promised[victim] = nil
        uncertain.insert(victim)
        try Names.check("unlink", unsafe unlink(path(root, victim)))
        try Names.sync("\(root)/\(folder)")
        uncertain.remove(victim)
        gone = gone.suffix(20) + [victim]
    }

    func faults(_ root: String) throws(Failure) -> [String] {
        var faults: [String] = []
        for (number, count) in promised {
            guard let bytes = try Names.contents(of: path(root, number)) else {
                faults.append("\(folder): file-\(number) was safe and is gone")
                continue
            }
            if !equal(bytes, contents(number, count)) {
                faults.append(
                    "\(folder): file-\(number) has other contents: \(bytes.count) of \(count)")
            }
        }
        for number in gone where try Names.contents(of: path(root, number)) != nil {
            faults.append("\(folder): file-\(number) was removed for good and is there")
        }
        let known = Set(promised.keys).union(uncertain)
        for name in try Names.list("\(root)/\(folder)") {
            if !known.contains(where: { "file-\($0)" == name }) {
                faults.append("\(folder): \(name) should not be there")
            }
        }
        return faults
    }

    func resume(_ root: String) throws(Failure) {
        for number in uncertain {
            if unsafe unlink(path(root, number)) != 0, errno != ENOENT {
                throw Failure("unlink \(path(root, number))", errno)
            }
        }
        uncertain = []
    }
}

/// A file whose new version takes the old one's place.
final class ReplacingWriter: Writer, @unchecked Sendable {
    let folder: String
    private var random: Randomness
    private var promised = 0
    private var attempted = 0

    init(_ folder: String, seed: UInt64) {
        self.folder = folder
        random = Randomness(seed)
    }

    private func contents(_ version: Int) -> [UInt8] {
        var random = Randomness(UInt64(version) + 1234)
        let count = random.below(50_000)
        return Array("\(version) ".utf8) + random.bytes(count)
    }

    func step(_ root: String) throws(Failure) {
        attempted += 1
        let (new, current) = ("\(root)/\(folder)/new", "\(root)/\(folder)/current")
        do {
            let file = try OpenFile(new, O_WRONLY | O_CREAT | O_TRUNC)
            try file.write(contents(attempted), at: 0)
            try file.sync()
        }
        try Names.check("rename", unsafe rename(new, current))
        try Names.sync("\(root)/\(folder)")
        promised = attempted
    }

    func faults(_ root: String) throws(Failure) -> [String] {
        guard let bytes = try Names.contents(of: "\(root)/\(folder)/current") else {
            return promised == 0 ? [] : ["\(folder): no version is there, \(promised) was safe"]
        }
        let text = String(decoding: bytes.prefix { $0 != 0x20 }, as: UTF8.self)
        guard let version = Int(text), promised...attempted ~= version else {
            return ["\(folder): version \(text), not \(promised)...\(attempted)"]
        }
        return equal(bytes, contents(version))
            ? [] : ["\(folder): version \(version) has other contents"]
    }

    func resume(_ root: String) throws(Failure) {
        guard let bytes = try Names.contents(of: "\(root)/\(folder)/current") else { return }
        promised = Int(String(decoding: bytes.prefix { $0 != 0x20 }, as: UTF8.self)) ?? promised
    }
}

/// Pages that are overwritten in place, as a database does.
final class PageWriter: Writer, @unchecked Sendable {
    let folder: String
    private static let pages = 64
    private static let size = 4096
    private var random: Randomness
    private var promised = [Int](repeating: 0, count: pages)
    private var attempted = [Int](repeating: 0, count: pages)

    init(_ folder: String, seed: UInt64) {
        self.folder = folder
        random = Randomness(seed)
    }

    /// Each sector tells its page and its version.
    private func sector(_ page: Int, _ index: Int, _ version: Int) -> [UInt8] {
        let word = UInt64(version) << 24 | UInt64(page) << 8 | UInt64(index)
        return (0..<512).map { UInt8(truncatingIfNeeded: word >> UInt64($0 % 8 * 8)) }
    }

    func step(_ root: String) throws(Failure) {
        let file = try OpenFile("\(root)/\(folder)/pages", O_RDWR | O_CREAT)
        var changed: Set<Int> = []
        for _ in 0..<1 + random.below(8) {
            let page = random.below(Self.pages)
            attempted[page] += 1
            changed.insert(page)
            let version = attempted[page]
            let bytes = (0..<8).flatMap { sector(page, $0, version) }
            try file.write(bytes, at: page * Self.size)
        }
        try file.sync(dataOnly: random.chance(70))
        for page in changed { promised[page] = attempted[page] }
    }

    private static func word(_ bytes: [UInt8]) -> UInt64 {
        bytes.prefix(8).reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }

    func faults(_ root: String) throws(Failure) -> [String] {
        let bytes = try Names.contents(of: "\(root)/\(folder)/pages") ?? []
        var faults: [String] = []
        for page in 0..<Self.pages {
            for index in 0..<8 {
                let start = page * Self.size + index * 512
                let isThere = start + 512 <= bytes.count
                let found = isThere ? Array(bytes[start..<start + 512]) : []
                let version = Int(Self.word(found) >> 24)
                let isKnown =
                    promised[page]...attempted[page] ~= version
                    && (version == 0
                        ? !found.contains { $0 != 0 } : equal(found, sector(page, index, version)))
                if !isKnown {
                    faults.append(
                        "\(folder): page \(page), sector \(index): version \(version), not "
                            + "\(promised[page])...\(attempted[page])")
                }
            }
        }
        return faults
    }

    func resume(_ root: String) throws(Failure) {
        // Versions go on from the highest that was attempted: what is there stays possible.
        let file = try OpenFile("\(root)/\(folder)/pages", O_RDWR | O_CREAT)
        for page in 0..<Self.pages where attempted[page] > promised[page] {
            let version = attempted[page]
            try file.write((0..<8).flatMap { sector(page, $0, version) }, at: page * Self.size)
        }
        try file.sync()
        promised = attempted
    }
}
