internal import Ext4
internal import Ext4Host
internal import Glibc

/// Why a command ends: a line for the person, and the status for the shell.
struct CommandFailure: Error, Equatable {
    /// What is said, if anything is left to say.
    let message: String?
    let status: Int32

    init(_ message: String, status: Int32 = EXIT_FAILURE) {
        self.message = message
        self.status = status
    }

    /// An end with nothing said.
    init(quiet status: Int32) {
        message = nil
        self.status = status
    }

    /// An error of the engine at a path inside an image, with what to do about it where we know.
    init(_ error: Ext4Error, image: String, path: [UInt8]? = nil) {
        var place = Quoted(image.utf8).description
        if let path { place += ": \(Quoted(path))" }
        self.init("\(place): \(Self.words(for: error))\(Self.advice(on: error))")
    }

    /// An error at opening an image.
    init(opening image: String, _ error: Ext4Error) {
        let place = Quoted(image.utf8).description
        switch error {
        case .busy:
            let use = DeviceUse.find(path: image)
            let words =
                if let point = use?.mountPoint {
                    "it is mounted on \(Quoted(point.utf8)); unmount it first"
                } else if let device = use?.device {
                    "it is mounted, as \(device), where it cannot be seen from here"
                } else {
                    "another process has it open, for writing or where this would write"
                }
            self.init("\(place): \(words)")
        case .notSupported: self.init("\(place): neither an image file nor a block device")
        case .isDirectory:
            self.init("\(place): is a directory; what is wanted is an image file or block device")
        case .corrupt(let corruption)
        where corruption.structure == .superblock && Self.isMagic(corruption.rule):
            self.init("\(place): no ext2, ext3 or ext4 file system\(Self.otherContents(image))")
        default: self.init(error, image: image)
        }
    }

    /// A volume that is not opened for writing because another machine may have it.
    static func protected(_ image: String) -> CommandFailure {
        CommandFailure(
            """
            \(Quoted(image.utf8)): multi-mount protection says that a machine has it open or \
            crashed with it; mount it there, or see to it with e2fsck
            """)
    }

    private static func isMagic(_ rule: Corruption.Rule) -> Bool {
        switch rule {
        case .magic, .truncated: true
        default: false
        }
    }

    static func words(for error: Ext4Error) -> String {
        guard case .io(let failure) = error, failure.errno != 0 else { return error.description }
        let reason = SystemFailure.words(for: failure.errno)
        return switch failure.operation {
        case .open: reason
        case .read: "reading at byte \(failure.byteOffset) failed: \(reason)"
        case .write: "writing at byte \(failure.byteOffset) failed: \(reason)"
        case .flush: "flushing failed: \(reason)"
        case .discard: "discarding at byte \(failure.byteOffset) failed: \(reason)"
        }
    }

    private static func advice(on error: Ext4Error) -> String {
        guard case .corrupt(let corruption) = error else { return "" }
        switch corruption.structure {
        case .journal, .journalSuperblock:
            return " (--no-replay reads the volume without its journal)"
        default: break
        }
        if case .checksum = corruption.rule {
            return " (--ignore-checksums reads it all the same)"
        }
        return ""
    }

    /// What else an image may be that people take for a volume.
    private static func otherContents(_ image: String) -> String {
        guard let device = try? FileDevice(path: image, claim: .none),
            let start = try? device.read(at: 0, count: Int(min(device.byteCount, 4_096)))
        else { return "" }
        let formats: [(offset: Int, bytes: [UInt8], words: String)] = [
            (0, [0x1F, 0x8B], "it is compressed by gzip; unpack it first"),
            (0, [0x28, 0xB5, 0x2F, 0xFD], "it is compressed by zstd; unpack it first"),
            (0, [0xFD, 0x37, 0x7A, 0x58, 0x5A], "it is compressed by xz; unpack it first"),
            (0, Array("QFI".utf8) + [0xFB], "it is a qcow2 image; qemu-img convert makes it raw"),
            (0, [0x3A, 0xFF, 0x26, 0xED], "it is an Android sparse image; simg2img makes it raw"),
            (0, Array("XFSB".utf8), "it is XFS"),
            (
                512, Array("EFI PART".utf8),
                "it is a disk with partitions; give one of them, as losetup -P makes them"
            ),
            (
                510, [0x55, 0xAA],
                "it may be a disk with partitions; give one of them, as losetup -P makes them"
            ),
        ]
        for format in formats where start.dropFirst(format.offset).starts(with: format.bytes) {
            return ": \(format.words)"
        }
        return ""
    }
}
