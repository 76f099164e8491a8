import Ext4Verify
import Glibc

/// Names that are made, moved and removed, with attributes: what is there is a state that the tree
/// went through, not before the last promise.
final class TreeWriter: Writer, @unchecked Sendable {
    let folder: String
    private var random: Randomness
    private var next = 0
    /// What each path is: its type and what can be seen of it.
    private typealias State = [String: String]
    /// The promised state and those since; the last one may be under way.
    private var states: [State] = [[:]]
    /// The directories, and the files cut off, that changed since the last promise.
    private var changed: Set<String> = []

    init(_ folder: String, seed: UInt64) {
        self.folder = folder
        random = Randomness(seed)
    }

    private func some(_ kind: Character) -> String? {
        random.element(of: states[states.count - 1].filter { $0.value.first == kind }.keys.sorted())
    }

    /// The directory that a path is in; empty for the top.
    private func parent(of path: String) -> String {
        path.lastIndex(of: "/").map { String(path[..<$0]) } ?? ""
    }

    private func freshPath() -> String {
        next += 1
        let parent = random.chance(60) ? some("d") : nil
        return (parent.map { $0 + "/" } ?? "") + "n\(next)"
    }

    func step(_ root: String) throws(Failure) {
        let base = "\(root)/\(folder)"
        for _ in 0..<1 + random.below(5) { try change(base) }
        // Of a directory, `fsync` promises its own entries. The kernel has no `syncfs` for FUSE.
        for path in changed.sorted() { try Names.sync(path.isEmpty ? base : "\(base)/\(path)") }
        changed = []
        states = [states[states.count - 1]]
    }

    private func change(_ base: String) throws(Failure) {
        var state = states[states.count - 1]
        let choice = state.count > 60 ? 4 + random.below(4) : random.below(8)
        switch choice {
        case 0:
            let path = freshPath()
            state[path] = "d"
            changed.insert(parent(of: path))
            try apply(state, "mkdir \(path)", { unsafe mkdir("\(base)/\(path)", 0o755) })
        case 1:
            let path = freshPath()
            state[path] = "f0"
            changed.insert(parent(of: path))
            states.append(state)
            _ = try OpenFile("\(base)/\(path)", O_WRONLY | O_CREAT | O_EXCL)
        case 2:
            let path = freshPath()
            let target = String(repeating: "t", count: 1 + random.below(200))
            state[path] = "l" + target
            changed.insert(parent(of: path))
            try apply(
                state, "symlink \(path)", { unsafe symlink(target, "\(base)/\(path)") })
        case 3:
            guard let path = some("f") else { return }
            let new = freshPath()
            state[new] = state[path]
            changed.insert(parent(of: new))
            // Both names show one size from now on: it is not changed any more.
            let fixed = "h" + (state[path] ?? "").dropFirst()
            state[path] = fixed
            state[new] = fixed
            try apply(
                state, "link \(path)",
                { unsafe link("\(base)/\(path)", "\(base)/\(new)") })
        case 4, 5: try move(base, &state)
        case 6:
            guard let path = some("f") else { return }
            let size = random.below(20_000)
            state[path] = "f\(size)"
            changed.insert(path)
            try apply(
                state, "truncate \(path)",
                { unsafe truncate("\(base)/\(path)", off_t(size)) })
        default: try remove(base, &state)
        }
    }

    private func apply(
        _ state: State, _ what: String, _ call: () -> Int32
    ) throws(Failure) {
        states.append(state)
        try Names.check(what, call())
    }

    private func move(_ base: String, _ state: inout State) throws(Failure) {
        guard let path = random.element(of: state.keys.sorted()) else { return }
        let new = freshPath()
        guard !new.hasPrefix(path + "/"), new != path else { return }
        for (old, value) in state where old == path || old.hasPrefix(path + "/") {
            state[old] = nil
            state[new + old.dropFirst(path.count)] = value
        }
        changed = Set(
            changed.map { old in
                old == path || old.hasPrefix(path + "/") ? new + old.dropFirst(path.count) : old
            })
        changed.formUnion([parent(of: path), parent(of: new)])
        try apply(
            state, "rename \(path) to \(new)",
            { unsafe rename("\(base)/\(path)", "\(base)/\(new)") })
    }

    private func remove(_ base: String, _ state: inout State) throws(Failure) {
        let empty = state.keys.filter { path in
            !state.keys.contains { $0.hasPrefix(path + "/") }
        }
        guard let path = random.element(of: empty.sorted()) else { return }
        let isDirectory = state[path]?.first == "d"
        state[path] = nil
        changed.remove(path)
        changed.insert(parent(of: path))
        try apply(
            state, "remove \(path)",
            {
                isDirectory ? unsafe rmdir("\(base)/\(path)") : unsafe unlink("\(base)/\(path)")
            })
    }

    private func read(_ base: String, _ prefix: String = "") throws(Failure) -> State {
        var state: State = [:]
        for name in try Names.list(base) {
            let path = prefix + name
            let status = try Names.status("\(base)/\(name)")
            switch status.st_mode & S_IFMT {
            case S_IFDIR:
                state[path] = "d"
                state.merge(try read("\(base)/\(name)", path + "/")) { $1 }
            case S_IFLNK:
                var buffer = [UInt8](repeating: 0, count: 4096)
                let count = unsafe readlink("\(base)/\(name)", &buffer, buffer.count)
                guard count >= 0 else { throw Failure("readlink", errno) }
                state[path] = "l" + String(decoding: buffer[..<count], as: UTF8.self)
            default:
                state[path] = (status.st_nlink > 1 ? "h" : "f") + "\(status.st_size)"
            }
        }
        return state
    }

    /// A file that lost all its names but one looks like any other.
    private func plain(_ state: State) -> State {
        state.mapValues { $0.first == "h" ? "f" + $0.dropFirst() : $0 }
    }

    func faults(_ root: String) throws(Failure) -> [String] {
        let found = plain(try read("\(root)/\(folder)"))
        if states.contains(where: { plain($0) == found }) { return [] }
        let safe = plain(states[0])
        let missing = safe.filter { found[$0.key] != $0.value }.map { "\($0.key) (\($0.value))" }
        let extra = found.filter { safe[$0.key] != $0.value }.map { "\($0.key) (\($0.value))" }
        return [
            "\(folder): the tree is none of the \(states.count) it went through since the last "
                + "promise: without \(missing.prefix(5)), with \(extra.prefix(5))"
        ]
    }

    func resume(_ root: String) throws(Failure) {
        let found = plain(try read("\(root)/\(folder)"))
        // What has two names is known by the state that it matches.
        states = [states.first { plain($0) == found } ?? found]
        changed = []
    }
}

/// Changes that nobody waits for, so that there is always something under way.
final class NoiseWriter: Writer, @unchecked Sendable {
    let folder: String
    private var random: Randomness

    init(_ folder: String, seed: UInt64) {
        self.folder = folder
        random = Randomness(seed)
    }

    func step(_ root: String) throws(Failure) {
        let base = "\(root)/\(folder)"
        let path = "\(base)/d\(random.below(6))"
        try Names.makeDirectory(path)
        let name = "\(path)/f\(random.below(40))"
        switch random.below(6) {
        case 0, 1, 2:
            let file = try OpenFile(name, O_WRONLY | O_CREAT)
            try file.write(random.bytes(1 + random.below(60_000)), at: random.below(100_000))
        case 3: _ = unsafe rename(name, "\(base)/moved-\(random.below(30))")
        case 4: _ = unsafe unlink("\(base)/moved-\(random.below(30))")
        default: _ = unsafe truncate(name, off_t(random.below(50_000)))
        }
    }

    func faults(_ root: String) throws(Failure) -> [String] {
        // It was promised nothing, but must be readable.
        for directory in try Names.list("\(root)/\(folder)") where directory.hasPrefix("d") {
            for file in try Names.list("\(root)/\(folder)/\(directory)") {
                _ = try Names.contents(of: "\(root)/\(folder)/\(directory)/\(file)")
            }
        }
        return []
    }

    func resume(_ root: String) throws(Failure) {}
}
