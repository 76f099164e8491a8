import Ext4
import Testing

/// A seeded source of numbers, the same on every machine.
struct Lottery {
    var state: UInt64

    mutating func next(below limit: Int) -> Int {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int(state >> 33) % limit
    }

    mutating func bytes(_ count: Int) -> [UInt8] {
        (0..<count).map { _ in UInt8(next(below: 256)) }
    }
}

/// What the attributes of some files should be, changed in step with a volume.
struct AttributeModel {
    var expected = AttributeListing()
    var lottery: Lottery
    /// The largest values that are tried.
    let largest: Int
    /// How often a value did not fit.
    var refusals = 0

    init(seed: UInt64, largest: Int) {
        lottery = Lottery(state: seed)
        self.largest = largest
    }

    /// Makes the files, and what is no file, in the root.
    func fill(_ volume: Volume) throws {
        let root = try volume.root()
        for i in 0..<8 {
            _ = try volume.create(
                FileName("file\(i)"), in: root, NewInode(mode: FileMode(rawValue: 0o100644)))
        }
        for i in 0..<2 {
            _ = try volume.create(
                FileName("directory\(i)"), in: root, NewInode(mode: FileMode(rawValue: 0o040755)))
        }
        _ = try volume.create("link", in: root, .symlink(to: Array("file0".utf8)))
        _ = try volume.create("pipe", in: root, NewInode(mode: FileMode(rawValue: 0o010600)))
    }

    static let paths =
        (0..<8).map { "file\($0)" } + ["directory0", "directory1", "link", "pipe"]

    /// One random change; when it fails for lack of room, nothing must have changed.
    mutating func change(_ volume: Volume) throws {
        let path = Self.paths[lottery.next(below: Self.paths.count)]
        let inode = try volume.inode(atPath: path, followingSymlinks: false)
        let name = name(isPlain: path.hasPrefix("file") || path.hasPrefix("directory"))
        let bytes = Array(name.utf8)
        guard lottery.next(below: 5) > 0 else {
            if expected.files[path]?[bytes] == nil {
                #expect(throws: Ext4Error.noAttribute) {
                    try volume.removeExtendedAttribute(FileName(name), of: inode)
                }
            } else {
                try volume.removeExtendedAttribute(FileName(name), of: inode)
                expected.files[path]?[bytes] = nil
                if expected.files[path]?.isEmpty == true { expected.files[path] = nil }
            }
            return
        }
        let value = value()
        do {
            try volume.setExtendedAttribute(FileName(name), to: value, of: inode)
            expected.files[path, default: [:]][bytes] = value
        } catch {
            guard error == .noSpace else { throw error }
            refusals += 1
        }
    }

    private mutating func name(isPlain: Bool) -> String {
        let prefix = ["user", "trusted", "security"][lottery.next(below: 3)]
        let number = lottery.next(below: 6)
        let rest = ["a", "b", "größe", "long-\(String(repeating: "x", count: 60))", "cc", "d"]
        return (isPlain ? prefix : "trusted") + "." + rest[number]
    }

    /// Small ones mostly, some that fill a block, some that several files have.
    private mutating func value() -> [UInt8] {
        switch lottery.next(below: 10) {
        case 0..<5: lottery.bytes(lottery.next(below: 60))
        case 5..<7: lottery.bytes(lottery.next(below: 600))
        case 7..<9: [UInt8](repeating: UInt8(lottery.next(below: 2)), count: 300)
        default: lottery.bytes(lottery.next(below: largest + 1))
        }
    }

    /// Compares with what the volume has.
    func compare(with volume: Volume, _ location: SourceLocation = #_sourceLocation) throws {
        let found = try AttributeListing.engine(volume)
        #expect(found.differences(from: expected) == [], sourceLocation: location)
    }
}
