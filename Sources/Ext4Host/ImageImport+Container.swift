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
        guard let name = path.names.last, name.starts(with: Self.whiteout), let state = layer else {
            return false
        }
        let isOpaque = name == Self.opaque
        guard isOpaque || !name.starts(with: Self.reserved) else { return true }
        guard
            let directory = try directory(path.names.dropLast(), makes: false, shown)
        else { return true }
        if isOpaque {
            try removeBelow(directory, state, shown)
            return true
        }
        let hidden = FileName(Array(name.dropFirst(Self.whiteout.count)))
        let found = try attempt(shown) { () throws(Ext4Error) in
            try builder.find(hidden, in: directory)
        }
        if let node = found ?? nil { try remove(hidden, node, in: directory, state, shown) }
        return true
    }

    /// Takes what the layers below have in a directory away.
    private func removeBelow(
        _ directory: ImageNode, _ layer: Layer, _ shown: [UInt8]
    ) throws(Failure) {
        let entries = try attempt(shown) { () throws(Ext4Error) in
            try builder.entries(of: directory)
        }
        for (name, node) in entries ?? [] where node != .lostAndFound {
            try remove(name, node, in: directory, layer, shown)
        }
    }

    /// Takes a name away if a layer below has it; a directory that this layer has too stays, with
    /// what this layer has in it.
    private func remove(
        _ name: FileName, _ node: ImageNode, in directory: ImageNode, _ layer: Layer,
        _ shown: [UInt8]
    ) throws(Failure) {
        guard !builder.isNode(node, addedSince: layer.nodeCount) else { return }
        if layer.touched.contains(node) { return try removeBelow(node, layer, shown) }
        _ = try attempt(shown) { () throws(Ext4Error) in
            try builder.remove(name, in: directory)
        }
    }
}
