public import Ext4
internal import Glibc

/// A name in a directory of a volume, whether or not anything has it: where something is made,
/// moved to, or taken from.
public struct VolumePlace: Sendable {
    /// The directory.
    public let directory: Inode
    /// The name in it; never `.` or `..`.
    public let name: FileName
    /// Whether the path said, by a slash at its end, that it leads to a directory.
    public let isDirectory: Bool

    /// The place of a name in a directory.
    public init(_ name: FileName, in directory: Inode, isDirectory: Bool = false) {
        self.directory = directory
        self.name = name
        self.isDirectory = isDirectory
    }
}

extension Volume {
    /// The place that `path` names. Symbolic links on the way are followed, one at its end is not.
    ///
    /// - Throws: `.busy` for the root directory, which has no name; `.invalidArgument` for a path
    ///   that ends in `.` or `..`; and what `inode(atPath:followingSymlinks:)` throws for the
    ///   directory.
    public func place(atPath path: [UInt8]) throws(Ext4Error) -> VolumePlace {
        let slash = UInt8(ascii: "/")
        let parts = path.split(separator: slash)
        guard let last = parts.last else { throw path.isEmpty ? .notFound : .busy }
        guard !last.elementsEqual([0x2E]), !last.elementsEqual([0x2E, 0x2E]) else {
            throw .invalidArgument
        }
        let directory = try inode(atPath: Array(path[..<last.startIndex]) + [slash])
        return VolumePlace(
            FileName(Array(last)), in: directory, isDirectory: path.last == slash)
    }

    /// What is at a place; nil for nothing.
    public func find(_ place: VolumePlace) throws(Ext4Error) -> Inode? {
        do throws(Ext4Error) {
            return try lookup(place.name, in: place.directory)
        } catch {
            guard error == .notFound else { throw error }
            return nil
        }
    }

    /// Puts something new at a place where something else may be.
    ///
    /// When the name is taken, `make` is given another one, and what it made is then moved: so
    /// there is always something at the place, the old or the new.
    ///
    /// - Parameter make: makes it in the place's directory, under the name that it is given.
    /// - Throws: `.exists` when the name is taken and `replaces` is false; what `make` and a
    ///   rename throw.
    public func occupy(
        _ place: VolumePlace, replaces: Bool, _ make: (FileName) throws(Ext4Error) -> Void
    ) throws(Ext4Error) {
        guard try find(place) != nil else { return try make(place.name) }
        guard replaces else { throw .exists }
        // No name of a person's looks like that; one that an earlier run left is passed by.
        for attempt in 0..<1_000 {
            let name = FileName(".ext4-new-\(getpid())-\(attempt)")
            do throws(Ext4Error) {
                try make(name)
            } catch {
                guard error == .exists else { throw error }
                continue
            }
            do throws(Ext4Error) {
                return try rename(name, in: place.directory, to: place.name, in: place.directory)
            } catch {
                try? unlink(name, in: place.directory)
                throw error
            }
        }
        throw .exists
    }
}
