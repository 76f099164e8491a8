internal import Ext4
internal import Glibc

// The layers of a container image, as the OCI has them: tar archives one on top of the other, in
// which names that begin with `.wh.` take something of the layers below away. They apply to those
// below only, wherever in the archive they stand.

extension ImageImport {
    /// The beginning of a name that takes something away (`.wh.`).
    private static let whiteout = Array(".wh.".utf8)
    /// The name that takes away all that the layers below have in its directory.
    private static let opaque = Array(".wh..wh..opq".utf8)
    /// The beginning of names that mean nothing to us: what aufs kept for itself.
    private static let reserved = Array(".wh..wh.".utf8)

    /// Takes over the layers of a container image.
    ///
    /// Of a file that a later layer replaces or removes nothing is written: with more than one
    /// layer, the names of all of them are read first.
    ///
    /// - Throws: when the image is damaged, or nothing can be written any more.
    public func addContainer(_ image: ContainerImage) throws(Failure) {
        if image.layers.count > 1 {
            let kept = try names(of: image)
            isSkipped = { node in !kept.contains(node) }
        }
        defer { isSkipped = nil }
        for layer in image.layers { try add(layer, of: image) }
    }

    /// Which nodes have a name when all layers are there.
    private func names(of image: ContainerImage) throws(Failure) -> Set<ImageNode> {
        let trial: ImageBuilder
        do throws(FormatProblem) {
            trial = try builder.trial()
        } catch {
            throw Failure(error.description)
        }
        // What is wrong is told when it is really done.
        let names = ImageImport(trial, options) { _ in }
        names.isSkipped = { _ in true }
        for layer in image.layers { try names.add(layer, of: image) }
        var kept: Set<ImageNode> = []
        for node in trial.namedNodes { kept.insert(node) }
        return kept
    }

    private func add(_ layer: ContainerImage.Blob, of image: ContainerImage) throws(Failure) {
        let path = image.path(of: layer)
        guard let name = CPath(path) else { throw Failure("no such layer") }
        let descriptor = unsafe open(name.bytes, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw Failure("cannot open \(Quoted(path)): \(SystemFailure.words(for: errno))")
        }
        defer { close(descriptor) }
        var state: Layer? = Layer(nodeCount: builder.nodeCount)
        try addTar(descriptor, path: path, &state)
    }

    /// Does what a name of a layer says that is no file of its own.
    ///
    /// - Returns: whether it was such a name.
    func removeByName(
        _ path: ImagePath, _ shown: [UInt8], _ layer: inout Layer?
    ) throws(Failure) -> Bool {
        guard let name = path.names.last, let state = layer else { return false }
        let isReserved = path.names.dropLast().contains { $0.starts(with: Self.reserved) }
        guard !isReserved else { return true }
        guard name.starts(with: Self.whiteout) else { return false }
        let isOpaque = name == Self.opaque
        guard isOpaque || !name.starts(with: Self.reserved) else { return true }
        guard
            let directory = try directory(path.names.dropLast(), makes: false, shown)
        else { return true }
        if isOpaque {
            try remove(try entries(of: directory, shown), state, shown)
            return true
        }
        let hidden = FileName(Array(name.dropFirst(Self.whiteout.count)))
        let found = try attempt(shown) { () throws(Ext4Error) in
            try builder.find(hidden, in: directory)
        }
        if let node = found ?? nil {
            try remove([Named(name: hidden, directory: directory, node: node)], state, shown)
        }
        return true
    }

    /// A name in a directory.
    private struct Named {
        let name: FileName
        let directory: ImageNode
        let node: ImageNode
    }

    private func entries(of directory: ImageNode, _ shown: [UInt8]) throws(Failure) -> [Named] {
        let entries = try attempt(shown) { () throws(Ext4Error) in
            try builder.entries(of: directory)
        }
        return (entries ?? []).map { Named(name: $0.name, directory: directory, node: $0.node) }
    }

    /// Whether a name is of a layer below, and not of this one: a hard link of this layer may lead to
    /// what is of one below.
    private func isLower(_ named: Named, _ layer: Layer) -> Bool {
        !builder.isNode(named.node, addedSince: layer.nodeCount)
            && !layer.links.contains(LinkName(directory: named.directory, name: named.name))
    }

    /// Takes names away, with what is below them, as far as the layers below have them. Directories
    /// stay that this layer has too, or has something in.
    private func remove(
        _ names: [Named], _ layer: Layer, _ shown: [UInt8]
    ) throws(Failure) {
        // Each behind the one that it is in.
        var below = names.filter { isLower($0, layer) }
        var next = 0
        while next < below.count {
            if builder.type(of: below[next].node) == .directory {
                below += try entries(of: below[next].node, shown).filter { isLower($0, layer) }
            }
            next += 1
        }
        for named in below.reversed() {
            if builder.type(of: named.node) == .directory {
                guard named.node != .lostAndFound, !layer.touched.contains(named.node) else {
                    continue
                }
                guard try entries(of: named.node, shown).isEmpty else { continue }
            }
            _ = try attempt(shown) { () throws(Ext4Error) in
                try builder.remove(named.name, in: named.directory)
            }
        }
    }
}
