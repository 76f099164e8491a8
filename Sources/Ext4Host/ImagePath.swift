internal import Ext4

// Paths inside an image, as archives and tables have them. They come from strangers: nothing leads
// out of the image, whatever links it has.

/// A path inside an image, taken apart.
struct ImagePath {
    /// Why a path is none, in words.
    struct Problem: Error {
        let words: String
    }

    /// The names on the way; none for the root.
    let names: [[UInt8]]

    /// Takes a path apart. It may begin with `/` or `./`, both of which mean nothing here.
    init(_ path: [UInt8]) throws(Problem) {
        var names: [[UInt8]] = []
        for part in path.split(separator: 0x2F) where part != [0x2E] {
            guard part != [0x2E, 0x2E] else {
                throw Problem(words: "the path leads up by \"..\": left out")
            }
            guard part.count <= FileName.maximumLength else {
                throw Problem(words: "a name has more than 255 bytes: left out")
            }
            names.append(Array(part))
        }
        self.names = names
    }
}

extension ImageImport {
    /// How many links are followed on the way to a directory.
    private static let mostLinks = 40

    /// The directory at a path, through links that stay inside the image.
    ///
    /// - Parameter makes: whether directories that are missing are made, owned by root.
    /// - Returns: nil after a problem, or where there is none and none is to be made.
    func directory(
        _ names: ArraySlice<[UInt8]>, makes: Bool, _ path: [UInt8]
    ) throws(Failure) -> ImageNode? {
        var pending = Array(names.reversed())
        var trail: [ImageNode] = [.root]
        var links = 0
        while let name = pending.popLast() {
            guard let here = trail.last else { return nil }
            if name == [0x2E, 0x2E] {
                if trail.count > 1 { trail.removeLast() }
                continue
            }
            let found = try attempt(path) { () throws(Ext4Error) in
                try builder.find(FileName(name), in: here)
            }
            guard let found else { return nil }
            guard let node = found else {
                guard makes else { return nil }
                let made = try attempt(path) { () throws(Ext4Error) in
                    try builder.add(
                        FileName(name), in: here, described(mode: 0o040755, userID: 0, groupID: 0))
                }
                guard let made else { return nil }
                trail.append(made)
                continue
            }
            switch builder.type(of: node) {
            case .directory: trail.append(node)
            case .symlink:
                links += 1
                guard links <= Self.mostLinks, let target = try? builder.target(of: node) else {
                    problem(path, "too many symbolic links on the way: left out")
                    return nil
                }
                if target.first == 0x2F { trail = [.root] }
                for part in target.split(separator: 0x2F).reversed() where part != [0x2E] {
                    pending.append(Array(part))
                }
            default:
                // Below what is no directory there is nothing to be found.
                if makes { problem(path, "a part of the path is no directory: left out") }
                return nil
            }
        }
        return trail.last
    }
}
