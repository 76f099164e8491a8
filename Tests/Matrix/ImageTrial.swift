import Ext4
import Ext4Host
import Ext4Verify
import Glibc

/// One image from `mke2fs` to the comparison.
struct ImageTrial {
    let recipe: Recipe
    let bench: Workbench
    /// What is worth telling about the image.
    private(set) var notes: [String] = []

    init(_ recipe: Recipe, in folder: String) {
        self.recipe = recipe
        bench = Workbench(folder)
    }

    /// Makes, fills, reads and compares the image.
    ///
    /// - Throws: `TrialError` for the first thing that is wrong.
    mutating func run() throws {
        try bench.prepare()
        switch recipe.way {
        case .kernel: try runWithKernel()
        case .kernelThenChange: try runWithChange()
        case .copy: try runWithCopy()
        }
    }

    private mutating func runWithKernel() throws {
        try make(bench.image, options: recipe.options, before: recipe.before)
        try fill(recipe)
        try change()
        let expected = try kernelManifest(of: bench.image)
        let found = try engineManifest(of: bench.image)
        try compare(expected, found)
        try inspect(expected)
        if recipe.trial == .guarding { try Guarding(bench: bench, expected: expected).run(&notes) }
    }

    private mutating func runWithChange() throws {
        try make(bench.image, options: recipe.options, before: recipe.before)
        try fill(recipe)
        var expected = try kernelManifest(of: bench.image)
        try change()
        for (path, flags) in recipe.addedFlags {
            guard let number = expected.number(at: path), let old = expected.nodes[number]?.flags
            else { throw TrialError.failed("\(path) is not there") }
            expected.nodes[number]?.flags = old | flags
        }
        let found = try engineManifest(of: bench.image)
        // `debugfs` sets the time of change when it sets anything else.
        try compare(expected, found, aspects: .everything)
        try inspect(expected)
    }

    /// Makes an image.
    private func make(
        _ image: String, options: String, before: [String], from source: String? = nil
    ) throws {
        try bench.makeSparseFile(image, mebibytes: recipe.mebibytes)
        // Nothing of the machine's own defaults (mke2fs.conf) but the type's.
        var arguments = ["mke2fs", "-q", "-F"] + options.split(separator: " ").map(String.init)
        if let source { arguments += ["-d", source] }
        let (code, output) = try bench.run(arguments + [image])
        guard code == 0 else {
            throw TrialError.failed("mke2fs: " + String(decoding: output, as: UTF8.self))
        }
        if !before.isEmpty { try bench.debugfs(before, on: image, writing: true) }
    }

    /// Fills the image, and with the trial of a crash copies it while it is mounted.
    private mutating func fill(_ recipe: Recipe) throws {
        let bench = bench
        try bench.mounted(bench.image, options: recipe.mountOptions) { path in
            let root = try HostFile.directory(path: path)
            var tree = RichTree(
                in: root,
                scale: RichTree.Scale(
                    blockSize: recipe.way == .copy ? 4096 : recipe.blockSize,
                    clusterBlocks: recipe.way == .copy ? 1 : recipe.clusterBlocks,
                    bigDirectory: recipe.bigDirectory,
                    hasLongNames: recipe.hasLongNames, subdirectories: recipe.subdirectories,
                    isEncrypted: recipe.isEncrypted, isForCopying: recipe.way == .copy))
            try tree.fill()
            if recipe.trial == .crash {
                try tree.leaveWorkForRecovery()
                for name in ["crashed", "recovered"] {
                    try bench.run(
                        "cp --sparse=always \(bench.image) \(bench.path(name))")
                }
            }
        }
        guard recipe.trial == .crash else { return }
        let found = try engineManifest(of: bench.path("crashed"), mustRecover: true)
        let expected = try kernelManifest(of: bench.path("recovered"), isClean: false)
        let comparison = TreeComparison(expected: expected, found: found)
        try report(comparison.differences, after: "recovery")
        notes.append("recovered in memory")
        for name in ["crashed", "recovered"] { unsafe unlink(bench.path(name)) }
    }

    /// Does to the filled image what only tools can.
    private func change() throws {
        for line in recipe.changes { try bench.run(line, allowing: 0...1) }
        var edits = recipe.edits
        if recipe.inodeSize > 128, recipe.way != .copy {
            let moments: [(low: UInt32, extra: UInt32)] = [
                (0x8000_0000, 0), (0x8000_0000, 1), (0x7FFF_FFFF, 0xEE6B_27FD), (0, 2), (0, 3),
                (0xFFFF_FFFF, 4), (0x7FFF_FFFF, 3), (1, 0xEE6B_27FF),
            ]
            for (index, moment) in moments.enumerated() {
                for field in ["crtime", "ctime", "mtime", "atime"] {
                    let file = "/times/set\(index)"
                    edits.append("sif \(file) \(field) @0x\(String(moment.low, radix: 16))")
                    edits.append("sif \(file) \(field)_extra 0x\(String(moment.extra, radix: 16))")
                }
            }
        }
        guard !edits.isEmpty, recipe.way != .kernelThenChange || !recipe.edits.isEmpty else {
            return
        }
        if recipe.way == .kernelThenChange { edits = recipe.edits }
        try bench.debugfs(edits, on: bench.image, writing: true)
    }

    private func kernelManifest(of image: String, isClean: Bool = true) throws -> TreeManifest {
        try bench.mounted(image, options: isClean ? "ro" : "noatime") { path in
            try HostTree.manifest(ofTreeAt: path)
        }
    }

    private func engineManifest(
        of image: String, mustRecover: Bool = false
    ) throws -> TreeManifest {
        let volume: Volume
        do throws(Ext4Error) {
            volume = try Volume.open(FileDevice(path: image))
        } catch {
            throw TrialError.failed("the engine does not open it: \(error)")
        }
        if mustRecover, volume.recovery == nil {
            throw TrialError.failed("nothing was recovered: the copy of a mounted image is clean")
        }
        do throws(Ext4Error) {
            return try TreeManifest(reading: volume)
        } catch {
            throw TrialError.failed("the engine does not read its root: \(error)")
        }
    }

    private mutating func compare(
        _ expected: TreeManifest, _ found: TreeManifest,
        aspects: TreeComparison.Aspects = .everything
    ) throws {
        let comparison = TreeComparison(expected: expected, found: found, aspects: aspects)
        notes.insert("\(expected.nodes.count) inodes, \(expected.nameCount) names", at: 0)
        try report(comparison.differences, after: "comparison")
    }

    private func report(_ differences: [TreeComparison.Difference], after stage: String) throws {
        guard !differences.isEmpty else { return }
        var text = "\(stage): \(differences.count) differences"
        for difference in differences.prefix(12) { text += "\n    \(difference)" }
        throw TrialError.failed(text)
    }

    /// Makes sure that the image holds what it is meant to hold: the tree would be as equal
    /// without a deep extent tree or an index.
    private mutating func inspect(_ manifest: TreeManifest) throws {
        let output = try bench.debugfs(
            ["ex deep", "stat /big"], on: bench.image, writing: false)
        let lines = String(decoding: output, as: UTF8.self).split(separator: "\n")
        var depth = 0
        for line in lines {
            let words = line.split(whereSeparator: { $0 == "/" || $0 == " " })
            if words.count > 6, let level = Int(words[0]), let of = Int(words[1]), level == of {
                depth = max(depth, of)
            }
        }
        if depth > 0 { notes.append("extents \(depth) levels deep") }
    }

    // MARK: Large blocks

    private mutating func runWithCopy() throws {
        // The source is an image of 4 KiB blocks: a file system that has all that is to be copied.
        let source = bench.path("source")
        let features = recipe.options.contains("ea_inode") ? " -O ea_inode" : ""
        try make(source, options: "-t ext4 -b 4096 -I 256" + features, before: [])
        try bench.run("mv \(source) \(bench.image)")
        try fill(recipe)
        try bench.run("mv \(bench.image) \(source)")
        let bench = bench
        let recipe = recipe
        let image = bench.image
        let maker = self
        var expected = try bench.mounted(source, options: "ro") { path in
            let manifest = try HostTree.manifest(ofTreeAt: path)
            try maker.make(image, options: recipe.options, before: recipe.before, from: path)
            return manifest
        }
        unsafe unlink(source)
        try bench.run("e2fsck -fyD IMAGE", allowing: 0...1)
        try change()

        let found = try engineManifest(of: image)
        // `mke2fs -d` copies 32 bits of seconds.
        for number in expected.nodes.keys { expected.nodes[number]?.cutTimes() }
        var same = found
        for number in same.nodes.keys { same.nodes[number]?.cutTimes() }
        // It gives the root times of its own, and attributes where it has any.
        if let root = found.nodes[found.root] {
            expected.nodes[expected.root]?.accessTime = root.accessTime
            expected.nodes[expected.root]?.modificationTime = root.modificationTime
            expected.nodes[expected.root]?.changeTime = root.changeTime
            expected.nodes[expected.root]?.cutTimes()
        }
        var aspects: TreeComparison.Aspects = [.tree, .times]
        if !recipe.options.contains("^filetype") { aspects.insert(.entryTypes) }
        try compare(expected, same, aspects: aspects)
        let view = try DebugfsView(of: found, on: bench).manifest()
        try compare(view, found)
        try inspect(found)
    }
}

extension TreeNode {
    /// Leaves of the times what 32 bits hold.
    fileprivate mutating func cutTimes() {
        func cut(_ time: Timestamp) -> Timestamp {
            Timestamp(seconds: Int64(Int32(truncatingIfNeeded: time.seconds)))
        }
        accessTime = cut(accessTime)
        modificationTime = cut(modificationTime)
        changeTime = cut(changeTime)
    }
}
