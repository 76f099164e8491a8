package import Ext4

/// One thing that a program does to a volume; paths are relative to the root.
package enum CrashOperation: Hashable, Sendable {
    case create(String)
    case makeDirectory(String)
    case symlink(String, targetCount: Int)
    case makeNode(String, mode: UInt16)
    /// A file without a name, which is held open; `as` gives it one.
    case createUnnamed(in: String, as: String?)
    case link(String, to: String)
    case unlink(String)
    /// Takes the name of a file that somebody has open until the end.
    case unlinkOpen(String)
    case removeDirectory(String)
    case rename(String, to: String, RenameFlags)
    case write(String, at: UInt64, count: Int)
    case append(String, count: Int)
    case truncate(String, size: UInt64)
    case change(String, RangeChange, at: UInt64, count: UInt64)
    case setAttribute(String, name: String, count: Int)
    case removeAttribute(String, name: String)
    case setMode(String, UInt16)
    case setOwner(String, UInt32)
    case setTimes(String)
    case fsync(String)
    case fdatasync(String)
    case sync
    /// What the mount does every five seconds: nothing is promised to anybody.
    case commit
}

extension CrashOperation: CustomStringConvertible {
    /// The operation in the words of a shell.
    package var description: String {
        switch self {
        case .create(let path): "create \(path)"
        case .makeDirectory(let path): "mkdir \(path)"
        case .symlink(let path, let count): "symlink \(path) (\(count) bytes)"
        case .makeNode(let path, let mode): "mknod \(path) \(String(mode, radix: 8))"
        case .createUnnamed(let path, let name):
            "open \(path) O_TMPFILE" + (name.map { ", link \($0)" } ?? "")
        case .link(let path, let name): "link \(path) \(name)"
        case .unlink(let path): "unlink \(path)"
        case .unlinkOpen(let path): "unlink \(path), which is open"
        case .removeDirectory(let path): "rmdir \(path)"
        case .rename(let path, let name, let flags):
            "rename \(path) \(name)"
                + (flags == .exchange ? " EXCHANGE" : flags == .noReplace ? " NOREPLACE" : "")
        case .write(let path, let offset, let count): "write \(path) \(offset)+\(count)"
        case .append(let path, let count): "append \(path) \(count)"
        case .truncate(let path, let size): "truncate \(path) \(size)"
        case .change(let path, let change, let offset, let count):
            "fallocate \(path) \(change) \(offset)+\(count)"
        case .setAttribute(let path, let name, let count): "setxattr \(path) \(name) (\(count))"
        case .removeAttribute(let path, let name): "removexattr \(path) \(name)"
        case .setMode(let path, let mode): "chmod \(path) \(String(mode, radix: 8))"
        case .setOwner(let path, let owner): "chown \(path) \(owner)"
        case .setTimes(let path): "utimens \(path)"
        case .fsync(let path): "fsync \(path.isEmpty ? "/" : path)"
        case .fdatasync(let path): "fdatasync \(path)"
        case .sync: "sync"
        case .commit: "commit"
        }
    }

    /// What a program would call fsync for after it: where the thing is then.
    package var target: String {
        switch self {
        case .create(let path), .makeDirectory(let path), .symlink(let path, _),
            .makeNode(let path, _), .write(let path, _, _), .append(let path, _),
            .truncate(let path, _), .change(let path, _, _, _), .setAttribute(let path, _, _),
            .removeAttribute(let path, _), .setMode(let path, _), .setOwner(let path, _),
            .setTimes(let path), .fsync(let path), .fdatasync(let path):
            path
        case .createUnnamed(let directory, let name): name ?? directory
        case .link(_, let name), .rename(_, let name, _): name
        case .unlink(let path), .unlinkOpen(let path), .removeDirectory(let path):
            Self.parent(of: path)
        case .sync, .commit: ""
        }
    }

    /// The directory part of a path.
    static func parent(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "" }
        return String(path[..<slash])
    }

    /// Whether it may take several transactions, so that a crash can leave a part of it.
    var mayTakeSteps: Bool {
        switch self {
        case .write, .append, .truncate, .change: true
        default: false
        }
    }

    /// Whether it moves contents to other places of the file, by steps.
    var movesContents: Bool {
        switch self {
        case .change(_, .collapse, _, _), .change(_, .insert, _, _): true
        default: false
        }
    }

    /// Whether it makes something durable, or tries to.
    package var isPersistence: Bool {
        switch self {
        case .fsync, .fdatasync, .sync, .commit: true
        default: false
        }
    }
}

/// Does operations to a volume.
struct CrashActor {
    let volume: Volume
    /// How many operations were done: every one writes other bytes.
    private(set) var count = 0

    init(_ volume: Volume) { self.volume = volume }

    private func inode(_ path: String) throws(Ext4Error) -> Inode {
        path.isEmpty
            ? try volume.root() : try volume.inode(atPath: path, followingSymlinks: false)
    }

    private func place(_ path: String) throws(Ext4Error) -> (directory: Inode, name: FileName) {
        let name = path.split(separator: "/").last.map(String.init) ?? ""
        return (try inode(CrashOperation.parent(of: path)), FileName(name))
    }

    /// The bytes that this operation writes: other ones than all others, in every sector.
    private func bytes(_ count: Int) -> [UInt8] {
        var random = SeededRandom(UInt64(self.count) &+ 77)
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count + 8)
        while bytes.count < count {
            unsafe withUnsafeBytes(of: random.next() | 1) { unsafe bytes.append(contentsOf: $0) }
        }
        return Array(bytes.prefix(count))
    }

    /// Does `operation`.
    mutating func run(_ operation: CrashOperation) throws(Ext4Error) {
        count += 1
        switch operation {
        case .create(let path): try make(path, NewInode(mode: FileMode(rawValue: 0o100644)))
        case .makeDirectory(let path): try make(path, NewInode(mode: FileMode(rawValue: 0o040755)))
        case .symlink(let path, let count):
            try make(path, .symlink(to: [UInt8](repeating: 0x61, count: count)))
        case .makeNode(let path, let mode):
            let device = DeviceNumber(major: 8, minor: 300)
            try make(path, NewInode(mode: FileMode(rawValue: mode), device: device))
        case .createUnnamed(let path, let name): try makeUnnamed(path, name)
        case .link(let path, let name):
            let (directory, name) = try place(name)
            try volume.link(inode(path), as: name, in: directory)
        case .unlink(let path):
            let (directory, name) = try place(path)
            try volume.unlink(name, in: directory)
        case .unlinkOpen(let path):
            let (directory, name) = try place(path)
            let inode = try volume.lookup(name, in: directory)
            guard !inode.isDirectory else { throw .isDirectory }
            volume.acquire(inode)
            try volume.unlink(name, in: directory)
        case .removeDirectory(let path):
            let (directory, name) = try place(path)
            try volume.removeDirectory(name, in: directory)
        case .rename(let path, let newPath, let flags):
            let (directory, name) = try place(path)
            let (newDirectory, newName) = try place(newPath)
            try volume.rename(name, in: directory, to: newName, in: newDirectory, flags)
        default: try changeOne(operation)
        }
    }

    private func changeOne(_ operation: CrashOperation) throws(Ext4Error) {
        var changes = AttributeChanges()
        switch operation {
        case .write(let path, let offset, let count): try write(path, offset, count)
        case .append(let path, let count): try write(path, inode(path).size, count)
        case .truncate(let path, let size):
            changes.size = size
            try volume.setAttributes(changes, of: inode(path))
        case .change(let path, let change, let offset, let count):
            try volume.change(change, of: inode(path), at: offset, count: count)
        case .setAttribute(let path, let name, let count):
            try volume.setExtendedAttribute(FileName(name), to: bytes(count), of: inode(path))
        case .removeAttribute(let path, let name):
            try volume.removeExtendedAttribute(FileName(name), of: inode(path))
        case .setMode(let path, let mode):
            changes.permissions = mode
            try volume.setAttributes(changes, of: inode(path))
        case .setOwner(let path, let owner):
            changes.userID = owner
            changes.groupID = owner
            try volume.setAttributes(changes, of: inode(path))
        case .setTimes(let path):
            changes.accessTime = .at(Timestamp(seconds: 1_000 + Int64(count), nanoseconds: 7))
            changes.modificationTime = .at(Timestamp(seconds: 2_000 + Int64(count)))
            try volume.setAttributes(changes, of: inode(path))
        case .fsync(let path): try volume.sync(inode(path))
        case .fdatasync(let path): try volume.sync(inode(path), dataOnly: true)
        case .sync: try volume.sync()
        case .commit: try volume.commit()
        default: throw .notSupported
        }
    }

    private func make(_ path: String, _ new: NewInode) throws(Ext4Error) {
        let (directory, name) = try place(path)
        _ = try volume.create(name, in: directory, new)
    }

    private func makeUnnamed(_ path: String, _ name: String?) throws(Ext4Error) {
        let new = NewInode(mode: FileMode(rawValue: 0o100600))
        let inode = try volume.createUnnamed(in: inode(path), new)
        let bytes = bytes(1500)
        try volume.write(unsafe bytes.span.bytes, to: inode, at: 0)
        guard let name else { return }
        let (directory, last) = try place(name)
        try volume.link(inode, as: last, in: directory)
        try volume.release(inode.number)
    }

    private func write(_ path: String, _ offset: UInt64, _ count: Int) throws(Ext4Error) {
        let bytes = bytes(count)
        try volume.write(unsafe bytes.span.bytes, to: inode(path), at: offset)
    }
}
