internal import Ext4
internal import Glibc

// Tar archives, as they stream by: nothing is kept of them but their names and links, which are in
// the image's tree. What comes twice is replaced, as tar does.

extension ImageImport {
    /// A hard link to what is not there yet.
    private struct PendingLink {
        let path: [UInt8]
        let target: [UInt8]
    }

    /// What an archive does besides adding: what a layer of a container image says by names.
    struct Layer {
        /// Everything from here on is of this layer; see `ImageImport+Container`.
        var nodeCount = 0
        /// Directories that were there before and that this layer names too.
        var touched: Set<ImageNode> = []
        /// Names of this layer that lead to what was there before: hard links.
        var links: Set<LinkName> = []
    }

    /// A name in a directory.
    struct LinkName: Hashable {
        let directory: ImageNode
        let name: FileName
    }

    /// Takes over what is in a tar archive, which may be compressed.
    ///
    /// - Parameters:
    ///   - descriptor: where it comes from; read to its end, and left open.
    ///   - path: for messages.
    /// - Throws: when the archive is damaged, or nothing can be written any more.
    public func addTar(_ descriptor: Int32, path: [UInt8]) throws(Failure) {
        var layer: Layer?
        try addTar(descriptor, path: path, &layer)
    }

    func addTar(
        _ descriptor: Int32, path: [UInt8], _ layer: inout Layer?
    ) throws(Failure) {
        var pending: [PendingLink] = []
        do throws(TarReader.Failure) {
            let reader = try TarReader(descriptor: descriptor)
            while let header = try reader.next() {
                let failure: TarReader.Failure?
                do throws(Failure) {
                    failure = try add(header, reader, &pending, &layer)
                } catch {
                    throw TarReader.Failure(description: error.description, isOthers: true)
                }
                if let failure { throw failure }
            }
        } catch {
            throw error.isOthers
                ? Failure(error.description) : Failure("\(Quoted(path)): \(error.description)")
        }
        for link in pending {
            guard try addLink(link.path, to: link.target, &layer) else {
                problem(
                    link.path,
                    "it is a hard link to \(Quoted(link.target)), which is not in the archive")
                continue
            }
        }
    }

    /// Takes over one entry.
    ///
    /// - Returns: why the archive cannot be read on.
    private func add(
        _ header: TarReader.Header, _ reader: TarReader, _ pending: inout [PendingLink],
        _ layer: inout Layer?
    ) throws(Failure) -> TarReader.Failure? {
        try report(header.path)
        let path: ImagePath
        do throws(ImagePath.Problem) {
            path = try ImagePath(header.path)
        } catch {
            problem(header.path, error.words)
            return nil
        }
        if layer != nil, try removeByName(path, header.path, &layer) { return nil }
        guard header.isOwnerKnown || (options.userID != nil && options.groupID != nil) else {
            problem(header.path, "its owner or group is a number that no volume can have")
            return nil
        }
        var new = described(
            mode: header.mode, userID: header.userID, groupID: header.groupID)
        new.modificationTime = header.modificationTime
        new.accessTime = header.accessTime
        new.changeTime = header.changeTime
        new.target = header.target
        new.device = header.device
        if let target = header.link {
            if try !addLink(header.path, to: target, &layer) {
                pending.append(PendingLink(path: header.path, target: target))
            }
            return nil
        }
        new.attributes = accepted(
            permitted(header.attributes, new.mode), of: new.mode.type, header.path)
        let described = new
        guard let name = path.names.last else {
            guard described.mode.type == .directory else { return nil }
            _ = try attempt(header.path) { () throws(Ext4Error) in
                try builder.set(.root, to: described)
            }
            return nil
        }
        guard
            let directory = try directory(path.names.dropLast(), makes: true, header.path)
        else { return nil }
        guard described.mode.type == .regular else {
            let before = builder.nodeCount
            let made = try attempt(header.path) { () throws(Ext4Error) in
                try builder.add(FileName(name), in: directory, described)
            }
            if let made, builder.nodeCount == before { layer?.touched.insert(made) }
            return nil
        }
        return try addFile(header, name, in: directory, described, reader)
    }

    private func addFile(
        _ header: TarReader.Header, _ name: [UInt8], in directory: ImageNode,
        _ new: NewImageNode, _ reader: TarReader
    ) throws(Failure) -> TarReader.Failure? {
        let skips = isSkipped?(builder.nextNode) ?? false
        let made = try attempt(header.path) { () throws(Ext4Error) in
            try builder.openFile(
                FileName(name), in: directory, new, size: skips ? 0 : header.size,
                hasHoles: header.isSparse)
        }
        guard made != nil else { return nil }
        var failure: TarReader.Failure?
        if !skips {
            failure = try unsafe reader.forEachPart { (bytes, offset) throws(Failure) in
                _ = try attempt(header.path) { () throws(Ext4Error) in
                    try builder.skip(to: offset)
                    try unsafe builder.write(bytes.bytes)
                }
                try showProgress(header.path)
            }
        }
        let closed: Void? = try attempt(header.path) { () throws(Ext4Error) in
            try builder.closeFile(size: skips ? 0 : header.size)
        }
        if closed == nil { builder.abandonFile() }
        return failure
    }

    /// Makes a hard link.
    ///
    /// - Returns: false when there is nothing at `target`.
    private func addLink(
        _ path: [UInt8], to target: [UInt8], _ layer: inout Layer?
    ) throws(Failure) -> Bool {
        let (from, to): (ImagePath, ImagePath)
        do throws(ImagePath.Problem) {
            (from, to) = (try ImagePath(path), try ImagePath(target))
        } catch {
            problem(path, error.words)
            return true
        }
        guard let name = from.names.last, let last = to.names.last,
            let source = try directory(to.names.dropLast(), makes: false, path),
            let found = try attempt(
                path,
                { () throws(Ext4Error) in
                    try builder.find(FileName(last), in: source)
                }), let node = found
        else { return false }
        guard let directory = try directory(from.names.dropLast(), makes: true, path) else {
            return true
        }
        let isMade = try attempt(path) { () throws(Ext4Error) -> Bool in
            try builder.addLink(FileName(name), in: directory, to: node)
            return true
        }
        if isMade == true {
            layer?.links.insert(LinkName(directory: directory, name: FileName(name)))
        }
        return true
    }
}
