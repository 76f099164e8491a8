internal import ArgumentParser
internal import Ext4
internal import Ext4Host
internal import Glibc

/// The options of all commands that change a volume, and how they open it.
struct ChangeOptions: ParsableArguments {
    @OptionGroup var log: LogOptions

    /// Opens a volume for writing, lets `body` change it, and closes it, whatever happens.
    ///
    /// - Throws: what keeps the volume from being opened or closed, what `body` throws, and a
    ///   failure that says no more when `body` told of failures of its own.
    func change(
        _ image: String, _ body: (inout VolumeChange) throws(CommandFailure) -> Void
    ) throws(CommandFailure) {
        var change = VolumeChange(volume: try open(image), image: image)
        Interruption.watch()
        var failure: CommandFailure?
        do throws(CommandFailure) {
            try body(&change)
        } catch {
            failure = error
        }
        ProgressLine.clear()
        do throws(Ext4Error) {
            try change.volume.close()
        } catch {
            let place = Quoted(image.utf8)
            let words = CommandFailure.words(for: error)
            Complaint.write("\(place): not closed cleanly, see to it with e2fsck: \(words)")
            failure = failure ?? CommandFailure(quiet: EXIT_FAILURE)
        }
        if let failure { throw failure }
        if let signal = Interruption.signal {
            throw CommandFailure(
                "interrupted; what was done so far is in \(Quoted(image.utf8))",
                status: 128 + signal)
        }
        if change.failures > 0 { throw CommandFailure(quiet: EXIT_FAILURE) }
    }

    private func open(_ image: String) throws(CommandFailure) -> Volume {
        let device: FileDevice
        do throws(Ext4Error) {
            device = try FileDevice(path: image, access: .readWrite)
        } catch {
            throw CommandFailure(opening: image, error)
        }
        var options = OpenOptions()
        options.access = .readWrite
        options.clock = { Timestamp.now }
        options.log = Log(log.logger)
        do throws(Ext4Error) {
            return try Volume.open(device, options: options)
        } catch {
            guard error != .busy else { throw .protected(image) }
            throw CommandFailure(opening: image, error)
        }
    }
}

/// A volume that a command changes, and what went wrong with it so far.
struct VolumeChange {
    let volume: Volume
    let image: String
    private(set) var failures: UInt64 = 0

    init(volume: Volume, image: String) {
        self.volume = volume
        self.image = image
    }

    /// Does what a command was given one path for. A failure is told, and the command goes on
    /// with the next path.
    mutating func attempt(_ path: [UInt8], _ part: (Volume) throws(Ext4Error) -> Void) {
        guard Interruption.signal == nil else { return }
        do throws(Ext4Error) {
            try part(volume)
        } catch {
            switch error {
            // What a path that has no last name is refused with.
            case .busy: complain(path, "this cannot be done to the root directory")
            default: complain(path, CommandFailure.words(for: error))
            }
        }
    }

    /// Tells of a failure at a path in the volume.
    mutating func complain(_ path: [UInt8], _ words: String) {
        failures += 1
        Complaint.write("\(Quoted(image.utf8)): \(Quoted(path)): \(words)")
    }

    /// Counts failures that were told already.
    mutating func count(_ more: UInt64) { failures += more }

    /// Where the sources of a command go that ends in a destination.
    mutating func destination(
        _ path: [UInt8], sources: Int, isName: Bool = false
    ) throws(CommandFailure) -> Destination {
        do throws(Ext4Error) {
            if !isName, let directory = try directory(at: path) {
                return .into(directory, path: path)
            }
            guard sources == 1 else { throw .notDirectory }
            return .place(try volume.place(atPath: path))
        } catch {
            throw CommandFailure(error, image: image, path: path)
        }
    }

    /// The directory that a path leads to; nil when it leads to anything else or nowhere.
    private func directory(at path: [UInt8]) throws(Ext4Error) -> Inode? {
        do throws(Ext4Error) {
            let inode = try volume.inode(atPath: path)
            return inode.isDirectory ? inode : nil
        } catch {
            guard error == .notFound || error == .notDirectory else { throw error }
            return nil
        }
    }
}

/// Where something goes: into a directory, under the name that it has, or to a name of its own.
enum Destination {
    case into(Inode, path: [UInt8])
    case place(VolumePlace)

    /// The place for something that is called so now.
    func place(for path: [UInt8]) throws(Ext4Error) -> VolumePlace {
        switch self {
        case .place(let place): return place
        case .into(let directory, _):
            guard let name = GetCommand.name(of: path) else { throw .invalidArgument }
            return VolumePlace(FileName(name), in: directory)
        }
    }
}
