@testable import Ext4

// Names that are added, moved and removed.

extension Workload {
    func link() {
        guard let node = random.element(of: files) else { return }
        let (name, directory) = (someName(), somewhere())
        let expected: Ext4Error? = directory.entries[name] != nil ? .exists : nil
        let isLinked = attempt(
            "link \(node.number) as \(name) in \(directory.number)", expecting: expected
        ) { () throws(Ext4Error) in
            try volume.link(inode(node), as: name, in: inode(directory))
        }
        guard isLinked else { return }
        directory.entries[name] = node
        directory.modificationTime = clock.now
        node.names += 1
    }

    func unlink() { unlink(someName(), in: somewhere()) }

    func unlink(_ name: FileName, in directory: ModelNode) {
        let node = directory.entries[name]
        let expected: Ext4Error? =
            node == nil ? .notFound : node?.isDirectory == true ? .isDirectory : nil
        let isDone = attempt("unlink \(name) in \(directory.number)", expecting: expected) {
            () throws(Ext4Error) in try volume.unlink(name, in: inode(directory))
        }
        guard isDone, let node else { return }
        directory.entries[name] = nil
        directory.modificationTime = clock.now
        drop(node)
    }

    /// One name less.
    private func drop(_ node: ModelNode) {
        if node.isDirectory {
            directories.removeAll { $0 === node }
            return
        }
        node.names -= 1
        guard node.names == 0 else { return }
        files.removeAll { $0 === node }
        if node.references > 0 { orphans.append(node) }
    }

    func removeDirectory() {
        var (name, directory) = (someName(), somewhere())
        // Most of the time something that is a directory.
        if random.chance(70), let node = random.element(of: directories), let parent = node.parent {
            directory = parent
            name = parent.entries.first { $0.value === node }?.key ?? name
        }
        let node = directory.entries[name]
        let expected: Ext4Error? =
            node == nil
            ? .notFound
            : node?.isDirectory != true
                ? .notDirectory : node?.entries.isEmpty == true ? nil : .notEmpty
        let isDone = attempt("rmdir \(name) in \(directory.number)", expecting: expected) {
            () throws(Ext4Error) in try volume.removeDirectory(name, in: inode(directory))
        }
        guard isDone, let node else { return }
        directory.entries[name] = nil
        directory.modificationTime = clock.now
        drop(node)
    }

    func rename() {
        let choices: [RenameFlags] = [
            [], [], [], .noReplace, .exchange, .whiteout, [.whiteout, .noReplace],
        ]
        let flags = choices[random.below(choices.count)]
        var (name, directory) = (someName(), somewhere())
        if random.chance(30), let node = random.element(of: directories), let parent = node.parent {
            directory = parent
            name = parent.entries.first { $0.value === node }?.key ?? name
        }
        let target = random.chance(30) ? directory : somewhere()
        move(name, in: directory, to: someName(), in: target, flags)
    }

    func move(
        _ name: FileName, in directory: ModelNode, to newName: FileName,
        in newDirectory: ModelNode, _ flags: RenameFlags
    ) {
        let source = directory.entries[name]
        let target = newDirectory.entries[newName]
        let expected = failure(source, target, directory, newDirectory, flags)
        let isDone = attempt(
            "rename \(name) in \(directory.number) to \(newName) in \(newDirectory.number) "
                + "\(flags.rawValue)", expecting: expected
        ) { () throws(Ext4Error) in
            try volume.rename(
                name, in: inode(directory), to: newName, in: inode(newDirectory), flags)
        }
        guard isDone, let source, source !== target else { return }
        directory.modificationTime = clock.now
        newDirectory.modificationTime = clock.now
        newDirectory.entries[newName] = source
        if source.isDirectory { source.parent = newDirectory }
        if flags.contains(.exchange), let target {
            directory.entries[name] = target
            if target.isDirectory { target.parent = directory }
            return
        }
        directory.entries[name] = nil
        if let target { drop(target) }
        if flags.contains(.whiteout) { addWhiteout(name, in: directory) }
    }

    private func addWhiteout(_ name: FileName, in directory: ModelNode) {
        do throws(Ext4Error) {
            let found = try volume.lookup(name, in: inode(directory))
            let new = NewInode(
                mode: FileMode(rawValue: 0o020000), device: DeviceNumber(major: 0, minor: 0))
            let node = ModelNode(number: found.number, new: new, time: clock.now)
            if directory.mode.rawValue & 0o2000 != 0 { node.groupID = directory.groupID }
            node.flags = directory.flags.intersection([.noDump, .noAccessTime])
            node.names = 1
            directory.entries[name] = node
            files.append(node)
        } catch {
            fail("no whiteout at \(name): \(error)")
        }
    }

    /// What a rename fails with, in the order in which Linux finds out.
    private func failure(
        _ source: ModelNode?, _ target: ModelNode?, _ directory: ModelNode,
        _ newDirectory: ModelNode, _ flags: RenameFlags
    ) -> Ext4Error? {
        guard let source else { return .notFound }
        if flags.contains(.exchange), target == nil { return .notFound }
        if flags.contains(.noReplace), target != nil { return .exists }
        if newDirectory.isBelow(source) { return .invalidArgument }
        guard let target else { return nil }
        if directory.isBelow(target) {
            return flags.contains(.exchange) ? .invalidArgument : .notEmpty
        }
        if source === target || flags.contains(.exchange) { return nil }
        if source.isDirectory {
            guard target.isDirectory else { return .notDirectory }
            return target.entries.isEmpty ? nil : .notEmpty
        }
        return target.isDirectory ? .isDirectory : nil
    }
}
