import Ext4

// Contents, sizes and attributes that change.

extension Workload {
    func write() {
        guard let node = someFile() else { return }
        let size = node.contents.size
        let lengths = [1, 7, 100, 1000, 4096, 5000, 20_000, 70_000, 200_000]
        let bytes = random.bytes(1 + random.below(lengths[random.below(lengths.count)]))
        let offset: UInt64
        switch random.below(12) {
        case 0...4: offset = size
        case 5...7: offset = UInt64(random.below(Int(min(size, 1 << 30)) + 1))
        case 8: offset = size / blockSize * blockSize
        case 9: offset = size + UInt64(random.below(100_000))
        case 10: offset = 0
        default: offset = hasFarOffsets ? farOffset() : 0
        }
        let dropsPrivileges = random.chance(20)
        let isDone = attempt(
            "write \(bytes.count) at \(offset) to \(node.number), size \(size)", expecting: nil
        ) { () throws(Ext4Error) in
            try volume.write(
                bytes, to: inode(node), at: offset, dropsPrivileges: dropsPrivileges)
        }
        if dropsPrivileges { model.dropSetID(of: node) }
        guard isDone else { return takeOver(node) }
        model.write(bytes, to: node, at: offset, time: clock.now)
        if random.chance(20) { read(node) }
    }

    /// Somewhere where maps are deep.
    private func farOffset() -> UInt64 {
        let perBlock = blockSize / 4
        let borders = [
            12, 12 + perBlock, 12 + perBlock + perBlock * perBlock, 1000, 40_000, 1 << 20,
        ]
        let border = borders[random.below(borders.count)] * blockSize
        return border + UInt64(random.below(100_000)) - min(border, 50_000)
    }

    private func read(_ node: ReferenceModel.Node) {
        let size = node.contents.size
        let offset = UInt64(random.below(Int(min(size, 1 << 40)) + 1))
        let count = 1 + random.below(20_000)
        var comparison = ReferenceComparison(of: volume)
        do throws(Ext4Error) {
            try comparison.comparePart(
                of: node, inode(node), at: offset, count: count, "inode \(node.number)")
        } catch {
            // A device that fails is met here, too; what is asked for again must be there.
            guard toleratesFailure, error.isOfDevice else {
                return fail("read \(node.number): \(error)")
            }
        }
        if !comparison.differences.isEmpty {
            fail(comparison.differences.joined(separator: "; "))
        }
    }

    func truncate() {
        guard let node = someFile() else { return }
        let size = node.contents.size
        let new: UInt64
        switch random.below(7) {
        case 0: new = 0
        case 1...3: new = UInt64(random.below(Int(min(size, 1 << 40)) + 1))
        case 4: new = size + UInt64(random.below(100_000))
        case 5: new = size / blockSize * blockSize
        default: new = hasFarOffsets ? farOffset() : size
        }
        setSize(of: node, to: new)
    }

    func setSize(of node: ReferenceModel.Node, to size: UInt64) {
        var changes = AttributeChanges()
        changes.size = size
        // A time makes it more than a size that stays: nothing is left out.
        changes.modificationTime = .now
        let isDone = attempt(
            "truncate \(node.number) from \(node.contents.size) to \(size)", expecting: nil
        ) { () throws(Ext4Error) in
            try volume.setAttributes(changes, of: inode(node))
        }
        guard isDone else { return takeOver(node) }
        model.resize(node, to: size, at: clock.now)
    }

    func changeRange() {
        guard let node = someFile() else { return }
        let size = node.contents.size
        var start = UInt64(random.below(Int(min(size, 1 << 30)) + 50_000))
        var end = start + 1 + UInt64(random.below(60_000))
        if random.chance(50) {
            start = start / blockSize * blockSize
            end = start + blockSize * UInt64(1 + random.below(12))
        }
        let changes: [RangeChange] = [
            .allocate(keepsSize: false), .allocate(keepsSize: true), .punchHole, .punchHole,
            .zero(keepsSize: false), .zero(keepsSize: true), .collapse, .insert,
        ]
        let change = changes[random.below(changes.count)]
        let expected = model.failure(
            of: change, start..<end, of: node, blockSize: blockSize, usesExtents: isUsingExtents)
        let isDone = attempt(
            "\(change) \(start)..<\(end) of \(node.number), size \(size)", expecting: expected
        ) { () throws(Ext4Error) in
            try volume.change(change, of: inode(node), at: start, count: end - start)
        }
        guard isDone else { return takeOver(node) }
        model.apply(change, start..<end, to: node, at: clock.now)
    }

    /// Takes over what a change that did not fit left of a file: a part of it, and nothing that was
    /// never written.
    private func takeOver(_ node: ReferenceModel.Node) {
        guard toleratesFullVolume, isRunning else { return }
        do throws(Ext4Error) {
            let inode = try inode(node)
            let bytes = try volume.contents(of: inode)
            if bytes.contains(Randomness.poison) {
                fail("poison shows in inode \(node.number) after a change that did not fit")
            }
            node.contents = SparseContents()
            node.contents.write(bytes, at: 0)
            node.modificationTime = inode.modificationTime
            node.changeTime = inode.changeTime
            node.mode = inode.mode
        } catch {
            fail("inode \(node.number) after a change that did not fit: \(error)")
        }
    }

    // MARK: Attributes

    func changeAttribute() {
        let node =
            (random.chance(70) ? someFile() : random.element(of: model.directories)) ?? model.root
        let prefixes = ["user.", "trusted.", "security."]
        let name = FileName(
            prefixes[random.below(3)] + "a\(random.below(8))"
                + String(repeating: "z", count: random.chance(10) ? 40 : 0))
        if random.chance(30) {
            let expected: Ext4Error? = node.attributes[name] == nil ? .noAttribute : nil
            let isDone = attempt("removexattr \(name) of \(node.number)", expecting: expected) {
                () throws(Ext4Error) in
                try volume.removeExtendedAttribute(name, of: inode(node))
            }
            if isDone { model.set(name, to: nil, of: node, at: clock.now) }
            return
        }
        let lengths = [0, 1, 10, 40, 100, 300, 900, 3000]
        var value = random.bytes(random.below(lengths[random.below(lengths.count)] + 1))
        if random.chance(4), volume.superblock.incompatible.contains(.eaInode) {
            value = random.bytes(random.below(30_000))
        }
        // Values that several have alike, so that blocks are shared.
        if random.chance(40) { value = [UInt8](repeating: 7, count: 200 * random.below(4)) }
        // How much fits depends on what else is there.
        let isDone = attempt(
            "setxattr \(name) \(value.count) of \(node.number)", expecting: nil,
            orEither: [.noSpace]
        ) { () throws(Ext4Error) in
            try volume.setExtendedAttribute(name, to: value, of: inode(node))
        }
        guard isDone else { return }
        // A value in an inode of its own is not looked at: the kernel counts it as a change.
        if node.attributes[name] == value, volume.superblock.incompatible.contains(.eaInode),
            let found = try? inode(node).changeTime, found == clock.now
        {
            node.changeTime = found
        }
        model.set(name, to: value, of: node, at: clock.now)
    }

    func changeMode() {
        let everything =
            model.files.isEmpty || random.chance(30) ? model.directories : model.files
        guard let node = random.element(of: everything), node !== model.root else { return }
        var changes = AttributeChanges()
        var mode = node.mode.rawValue
        switch random.below(3) {
        case 0:
            let permissions = UInt16(random.below(0o10000))
            changes.permissions = permissions
            mode = mode & 0o170000 | permissions
        case 1:
            changes.userID = UInt32(random.below(100_000))
            changes.groupID = UInt32(random.below(100_000))
            if node.type == .regular {
                mode &= ~0o4000
                if mode & 0o010 != 0 { mode &= ~0o2000 }
            }
        default:
            let time = Timestamp(
                seconds: Int64(random.below(2_000_000_000)),
                nanoseconds: UInt32(random.below(1_000_000_000)))
            let cut = volume.superblock.inodeSize < 156 ? Timestamp(seconds: time.seconds) : time
            changes.modificationTime = .at(cut)
            changes.accessTime = .now
        }
        let isDone = attempt("setattr of \(node.number)", expecting: nil) {
            () throws(Ext4Error) in
            try volume.setAttributes(changes, of: inode(node))
        }
        guard isDone else { return }
        node.mode = FileMode(rawValue: mode)
        node.userID = changes.userID ?? node.userID
        node.groupID = changes.groupID ?? node.groupID
        if case .at(let time) = changes.modificationTime { node.modificationTime = time }
        node.changeTime = clock.now
    }

    func changeFlags() {
        guard
            let node = random.element(
                of: random.chance(70) ? model.files : model.directories),
            node.type == .regular || node.isDirectory, node !== model.root
        else { return }
        if random.chance(60) {
            let flags: InodeFlags = random.chance(50) ? [.noDump] : [.noDump, .noAccessTime]
            setFlags(random.chance(30) ? [] : flags, of: node)
            return
        }
        // What must not be changed is not.
        setFlags([.immutable], of: node)
        _ = attempt("chmod of immutable \(node.number)", expecting: .notPermitted) {
            () throws(Ext4Error) in
            var changes = AttributeChanges()
            changes.permissions = 0o777
            try volume.setAttributes(changes, of: inode(node))
        }
        if node.isDirectory {
            _ = attempt("create in immutable \(node.number)", expecting: .notPermitted) {
                () throws(Ext4Error) in
                _ = try volume.create(
                    "new", in: inode(node), NewInode(mode: FileMode(rawValue: 0o100644)))
            }
        } else {
            _ = attempt("write to immutable \(node.number)", expecting: .notPermitted) {
                () throws(Ext4Error) in try volume.write([1], to: inode(node), at: 0)
            }
            setFlags([.appendOnly], of: node)
            _ = attempt("overwrite append-only \(node.number)", expecting: .notPermitted) {
                () throws(Ext4Error) in
                try volume.change(.punchHole, of: inode(node), at: 0, count: 1)
            }
        }
        setFlags([], of: node)
    }

    private func setFlags(_ flags: InodeFlags, of node: ReferenceModel.Node) {
        let isDone = attempt("set flags \(flags.rawValue) of \(node.number)", expecting: nil) {
            () throws(Ext4Error) in
            let inode = try inode(node)
            try volume.setFlags(
                inode.flags.subtracting(ReferenceModel.flags).union(flags), of: inode)
        }
        guard isDone else { return }
        node.flags = flags
        node.changeTime = clock.now
    }
}
