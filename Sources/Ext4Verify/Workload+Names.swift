import Ext4

// Names that are added, moved and removed.

extension Workload {
    func link() {
        guard let node = random.element(of: model.files) else { return }
        let (name, directory) = (someName(), somewhere())
        let isLinked = attempt(
            "link \(node.number) as \(name) in \(directory.number)",
            expecting: model.failure(ofMaking: name, in: directory)
        ) { () throws(Ext4Error) in
            try volume.link(inode(node), as: name, in: inode(directory))
        }
        if isLinked { model.link(node, as: name, in: directory, at: clock.now) }
    }

    func unlink() {
        let directory = somewhere()
        // Half of the time something that is there.
        if random.chance(50), let name = random.element(of: directory.list) {
            return unlink(name, in: directory)
        }
        unlink(someName(), in: directory)
    }

    /// Removes some names from a directory.
    func removeSome() {
        // Of several, the one with the most: the others may have none.
        let some = (0..<4).map { _ in somewhere() }
        guard let directory = some.max(by: { $0.list.count < $1.list.count }) else { return }
        for name in directory.list.prefix(1 + random.below(20))
        where isRunning && directory.entries[name]?.isDirectory == false {
            unlink(name, in: directory)
        }
    }

    func unlink(_ name: FileName, in directory: ReferenceModel.Node) {
        let target = directory.entries[name]
        let isDone = attempt(
            "unlink \(name) in \(directory.number)",
            expecting: model.failure(ofUnlinking: name, in: directory)
        ) { () throws(Ext4Error) in try volume.unlink(name, in: inode(directory)) }
        guard isDone else { return }
        model.remove(name, in: directory, at: clock.now)
        if let target { note(target) }
    }

    /// A name and its directory; in so many of a hundred cases, a directory's.
    private func someTarget(directories percent: Int) -> (FileName, ReferenceModel.Node) {
        if random.chance(percent), let node = random.element(of: model.directories),
            let parent = node.parent,
            let name = parent.entries.first(where: { $0.value === node })?.key
        {
            return (name, parent)
        }
        return (someName(), somewhere())
    }

    func removeDirectory() {
        let (name, directory) = someTarget(directories: 70)
        let isDone = attempt(
            "rmdir \(name) in \(directory.number)",
            expecting: model.failure(ofRemovingDirectory: name, in: directory)
        ) { () throws(Ext4Error) in try volume.removeDirectory(name, in: inode(directory)) }
        if isDone { model.remove(name, in: directory, at: clock.now) }
    }

    func rename() {
        let choices: [RenameFlags] = [
            [], [], [], .noReplace, .exchange, .whiteout, [.whiteout, .noReplace],
        ]
        let flags = choices[random.below(choices.count)]
        let (name, directory) = someTarget(directories: 30)
        let target = random.chance(30) ? directory : somewhere()
        move(name, in: directory, to: someName(), in: target, flags)
    }

    func move(
        _ name: FileName, in directory: ReferenceModel.Node, to newName: FileName,
        in newDirectory: ReferenceModel.Node, _ flags: RenameFlags
    ) {
        let source = directory.entries[name]
        let target = newDirectory.entries[newName]
        let isDone = attempt(
            "rename \(name) in \(directory.number) to \(newName) in \(newDirectory.number) "
                + "\(flags.rawValue)",
            expecting: model.failure(
                ofRenaming: name, in: directory, to: newName, in: newDirectory, flags)
        ) { () throws(Ext4Error) in
            try volume.rename(
                name, in: inode(directory), to: newName, in: inode(newDirectory), flags)
        }
        guard isDone, let source, source !== target else { return }
        var whiteout: InodeNumber?
        if flags.contains(.whiteout) {
            do throws(Ext4Error) {
                whiteout = try volume.lookup(name, in: inode(directory)).number
            } catch {
                return fail("no whiteout at \(name): \(error)")
            }
        }
        model.rename(
            name, in: directory, to: newName, in: newDirectory, flags, whiteout: whiteout,
            at: clock.now)
        note(source)
        if let target { note(target) }
    }
}
