public import Ext4

// A walk through a tree of an image, for whoever takes the tree out of it.
//
// Nothing in the image can make the walk run for ever, grow without bound or name a place outside
// the tree:
//   - A directory is entered once. A second way to it is reported: that is a loop, or a hard link
//     to a directory, which no sound volume has.
//   - Names that are no names (empty, with `/` or NUL, a second `.` or `..`) are reported.
//   - Directories are read in parts, and the deeper the walk is, the smaller the parts are.

/// A file or directory that a walk came by.
public struct TreeEntry: Sendable {
    /// The path from the start of the walk, with no `/` at its beginning; empty for the start.
    public let path: [UInt8]
    /// The last part of the path.
    public let name: [UInt8]
    /// How many directories stand above it in the walk.
    public let depth: Int
    /// Its inode.
    public let inode: Inode
}

/// Something that a walk could not go on with; it went on with what comes after.
public struct TreeProblem: Sendable, CustomStringConvertible {
    /// The kinds of problems.
    public enum Reason: Sendable {
        /// The engine could not read it.
        case failed(Ext4Error)
        /// The directory holds a name that is none.
        case name([UInt8])
        /// The directory was entered already.
        case enteredBefore(InodeNumber)
        /// More directories within each other than a walk follows.
        case tooDeep
        /// Whatever takes the tree could not take this file; in words.
        case refused(String)
    }

    /// The path from the start of the walk of what is concerned.
    public let path: [UInt8]
    /// What is wrong.
    public let reason: Reason

    /// Makes the description of a problem.
    public init(path: [UInt8], reason: Reason) {
        self.path = path
        self.reason = reason
    }

    /// The reason in words, without the path.
    public var description: String {
        switch reason {
        case .failed(let error): "\(error)"
        case .name(let bytes):
            "it holds the name \"\(Quoted(bytes))\", which no file can have: skipped"
        case .enteredBefore(let number):
            "the directory (inode \(number)) is in the tree a second time: skipped"
        case .tooDeep: "more than \(TreeWalk.depthLimit) directories within each other: skipped"
        case .refused(let words): words
        }
    }
}

/// A walk through a tree, directories before what is in them.
public struct TreeWalk {
    /// What the walk came to.
    public enum Step: Sendable {
        /// A directory. What is in it follows, unless `skipDirectory` is called.
        case enter(TreeEntry)
        /// The end of a directory that was entered.
        case leave(TreeEntry)
        /// Anything else.
        case file(TreeEntry)
        /// What could not be walked.
        case problem(TreeProblem)
    }

    /// A directory that the walk is in.
    private struct Frame {
        let entry: TreeEntry
        /// Entries that were read and not yet walked, in reverse.
        var batch: [DirectoryEntry] = []
        var position: UInt64 = 0
        var isAtEnd = false
        var dots = 0
        var dotDots = 0
    }

    /// How many directories within each other are followed.
    static let depthLimit = 65_536

    private let volume: Volume
    private var start: TreeEntry?
    private var frames: [Frame] = []
    private var entered = InodeSet()
    private var pending: [TreeProblem] = []

    /// Begins a walk at `inode`, which may also be a file.
    public init(_ volume: Volume, from inode: Inode, named name: [UInt8] = []) {
        self.volume = volume
        start = TreeEntry(path: [], name: name, depth: 0, inode: inode)
    }

    /// Goes to the next step; nil at the end.
    public mutating func next() -> Step? {
        if let entry = start {
            start = nil
            return step(to: entry)
        }
        while true {
            if let problem = pending.popLast() { return .problem(problem) }
            guard let top = frames.indices.last else { return nil }
            if let item = frames[top].batch.popLast() {
                if let step = step(to: item, in: top) { return step }
            } else if frames[top].isAtEnd {
                return .leave(frames.removeLast().entry)
            } else {
                readOn(top)
            }
        }
    }

    /// Leaves out the rest of the directory entered last, and its `leave`.
    public mutating func skipDirectory() { _ = frames.popLast() }

    private mutating func step(to item: DirectoryEntry, in top: Int) -> Step? {
        let parent = frames[top].entry
        let name = item.name.bytes
        guard Self.isName(name) else {
            // The first `.` and the first `..` are every directory's own.
            if name == [0x2E] {
                frames[top].dots += 1
                if frames[top].dots == 1 { return nil }
            } else if name == [0x2E, 0x2E] {
                frames[top].dotDots += 1
                if frames[top].dotDots == 1 { return nil }
            }
            return .problem(TreeProblem(path: parent.path, reason: .name(name)))
        }
        let path = parent.path.isEmpty ? name : parent.path + [0x2F] + name
        do throws(Ext4Error) {
            let inode = try volume.inode(item.inode)
            return step(
                to: TreeEntry(path: path, name: name, depth: parent.depth + 1, inode: inode))
        } catch {
            return .problem(TreeProblem(path: path, reason: .failed(error)))
        }
    }

    private mutating func step(to entry: TreeEntry) -> Step {
        guard entry.inode.type == .directory else { return .file(entry) }
        guard entry.depth < Self.depthLimit else {
            return .problem(TreeProblem(path: entry.path, reason: .tooDeep))
        }
        guard entered.insert(entry.inode.number) else {
            return .problem(
                TreeProblem(path: entry.path, reason: .enteredBefore(entry.inode.number)))
        }
        frames.append(Frame(entry: entry))
        return .enter(entry)
    }

    /// Reads the next entries of a directory. They are walked in the order of their inodes, which
    /// is how they stand on the disk.
    private mutating func readOn(_ top: Int) {
        let frame = frames[top]
        let limit = frame.entry.depth < 64 ? 1_024 : 16
        var batch: [DirectoryEntry] = []
        var position = frame.position
        do throws(Ext4Error) {
            try volume.readDirectory(frame.entry.inode, from: position) {
                (item) throws(Ext4Error) -> Bool in
                batch.append(item)
                position = item.next
                return batch.count < limit
            }
            frames[top].isAtEnd = batch.count < limit
        } catch {
            frames[top].isAtEnd = true
            pending.append(TreeProblem(path: frame.entry.path, reason: .failed(error)))
        }
        batch.sort { $0.inode > $1.inode }
        frames[top].batch = batch
        frames[top].position = position
    }

    /// Whether a file can have the name, so that it means a place in its directory and no other.
    package static func isName(_ bytes: [UInt8]) -> Bool {
        !bytes.isEmpty && bytes != [0x2E] && bytes != [0x2E, 0x2E]
            && !bytes.contains(0x2F) && !bytes.contains(0)
    }
}
