import Ext4
import Ext4Host
import Foundation
import Testing

extension FileDevice {
    fileprivate func write(_ bytes: [UInt8], at byteOffset: UInt64) throws(Ext4Error) {
        let span = bytes.span
        try write(unsafe span.bytes, at: byteOffset)
    }
}

@Suite struct FileDeviceTests {
    let scratch: ScratchDirectory

    init() throws { scratch = try ScratchDirectory() }

    @Test func readsWhatStandsThere() throws {
        let bytes = (0..<10_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        let path = try scratch.file("image", bytes)
        let device = try FileDevice(path: path)
        #expect(device.byteCount == 10_000)
        #expect(device.isReadOnly)
        #expect(!device.isBlockDevice)
        #expect(try device.read(at: 0, count: 10_000) == bytes)
        #expect(try device.read(at: 9_000, count: 1_000) == Array(bytes[9_000...]))
        #expect(try device.read(at: 10_000, count: 0) == [])
    }

    @Test func refusesWhatLiesBehindTheEnd() throws {
        let device = try FileDevice(path: scratch.file("image", [1, 2, 3, 4]))
        #expect(throws: Ext4Error.io(IOFailure(.read, at: 2, count: 3, errno: 0))) {
            try device.read(at: 2, count: 3)
        }
        #expect(throws: Ext4Error.io(IOFailure(.read, at: .max, count: 8, errno: 0))) {
            try device.read(at: .max, count: 8)
        }
    }

    @Test func noticesThatTheFileBecameShorter() throws {
        let path = try scratch.file("image", [UInt8](repeating: 1, count: 4_096))
        let device = try FileDevice(path: path)
        #expect(unsafe truncate(path, 1_000) == 0)
        #expect(throws: Ext4Error.io(IOFailure(.read, at: 512, count: 1_024, errno: 0))) {
            try device.read(at: 512, count: 1_024)
        }
    }

    @Test func writesAndFlushes() throws {
        let path = try scratch.file("image", [UInt8](repeating: 0, count: 2_048))
        do {
            let device = try FileDevice(path: path, access: .readWrite)
            #expect(!device.isReadOnly)
            let bytes = [UInt8](repeating: 9, count: 512)
            try device.write(bytes, at: 1_024)
            try device.flush()
            #expect(throws: Ext4Error.io(IOFailure(.write, at: 1_792, count: 512, errno: 0))) {
                try device.write(bytes, at: 1_792)
            }
        }
        let expected =
            [UInt8](repeating: 0, count: 1_024) + [UInt8](repeating: 9, count: 512)
            + [UInt8](repeating: 0, count: 512)
        #expect(try scratch.bytes("image") == expected)
    }

    @Test func readersDoNotWrite() throws {
        let device = try FileDevice(path: scratch.file("image", [0, 0]))
        let bytes: [UInt8] = [1]
        #expect(throws: Ext4Error.readOnlyVolume) { try device.write(bytes, at: 0) }
        try device.flush()
    }

    @Test func saysWhyItCannotBeOpened() throws {
        #expect(throws: Ext4Error.io(IOFailure(.open, at: 0, count: 0, errno: ENOENT))) {
            try FileDevice(path: scratch.path("nothing"))
        }
        #expect(throws: Ext4Error.isDirectory) { try FileDevice(path: scratch.root) }
        #expect(throws: Ext4Error.notSupported) { try FileDevice(path: "/dev/null") }
        #expect(unsafe mkfifo(scratch.path("fifo"), 0o600) == 0)
        #expect(throws: Ext4Error.notSupported) { try FileDevice(path: scratch.path("fifo")) }
        let path = try scratch.file("image", [0])
        #expect(throws: Ext4Error.invalidArgument) {
            try FileDevice(path: path, access: .readWrite, claim: .none)
        }
    }

    @Test func readersShareAndWritersDoNot() throws {
        let path = try scratch.file("image", [UInt8](repeating: 0, count: 512))
        do {
            let first = try FileDevice(path: path)
            let second = try FileDevice(path: path)
            #expect(throws: Ext4Error.busy) { try FileDevice(path: path, access: .readWrite) }
            withExtendedLifetime((first, second)) {}
        }
        do {
            let writer = try FileDevice(path: path, access: .readWrite)
            #expect(throws: Ext4Error.busy) { try FileDevice(path: path, access: .readWrite) }
            #expect(throws: Ext4Error.busy) { try FileDevice(path: path) }
            #expect(try FileDevice(path: path, claim: .none).byteCount == 512)
            withExtendedLifetime(writer) {}
        }
        #expect(try FileDevice(path: path, access: .readWrite).byteCount == 512)
    }
}

/// What the kernel has mounted. These need root and a loop device.
@Suite(.serialized, .enabled(if: isRoot, "mounting needs root"))
struct DeviceUseTests {
    let scratch: ScratchDirectory
    let image: String
    let mountPoint: String

    init() throws {
        scratch = try ScratchDirectory()
        image = scratch.path("disk with blanks.img")
        mountPoint = scratch.path("mount point")
        try Tool.shell(
            "truncate -s 8M \"$1\"; mke2fs -q -t ext4 \"$1\"; mkdir \"$2\"", image, mountPoint)
    }

    @Test func imageMountedByTheKernelIsNotWritten() throws {
        #expect(DeviceUse.find(path: image) == nil)
        let before = try FileDevice(path: image, access: .readWrite).byteCount
        #expect(before == 8 << 20)
        try Tool.shell("mount -o loop \"$1\" \"$2\"", image, mountPoint)
        defer { _ = try? Tool.shell("umount \"$1\"", mountPoint) }
        #expect(throws: Ext4Error.busy) { try FileDevice(path: image, access: .readWrite) }
        #expect(try FileDevice(path: image).byteCount == 8 << 20)
        let use = try #require(DeviceUse.find(path: image))
        #expect(use.mountPoint == mountPoint)
        #expect(use.device?.hasPrefix("/dev/loop") == true)
        // Another name of the same file is the same volume.
        try FileManager.default.linkItem(atPath: image, toPath: scratch.path("other"))
        #expect(throws: Ext4Error.busy) {
            try FileDevice(path: scratch.path("other"), access: .readWrite)
        }
    }

    @Test func deviceMountedByTheKernelIsNotWritten() throws {
        let device = try Tool.shell("losetup -f --show \"$1\"", image).text
            .trimmingCharacters(in: .whitespacesAndNewlines)
        defer { _ = try? Tool.shell("losetup -d \"$1\"", device) }
        do {
            let free = try FileDevice(path: device, access: .readWrite)
            #expect(free.byteCount == 8 << 20)
            #expect(free.isBlockDevice)
        }
        #expect(DeviceUse.find(path: device) == nil)
        try Tool.shell("mount \"$1\" \"$2\"", device, mountPoint)
        defer { _ = try? Tool.shell("umount \"$1\"", mountPoint) }
        #expect(throws: Ext4Error.busy) { try FileDevice(path: device, access: .readWrite) }
        #expect(DeviceUse.find(path: device)?.mountPoint == mountPoint)
        #expect(try FileDevice(path: device).byteCount == 8 << 20)
    }

    @Test func mountInAnotherNamespaceIsSeenByItsDevice() throws {
        let device = try Tool.shell("losetup -f --show \"$1\"", image).text
            .trimmingCharacters(in: .whitespacesAndNewlines)
        defer { _ = try? Tool.shell("losetup -d \"$1\"", device) }
        // `unshare` holds the mount in a namespace of its own until its input ends.
        let holder = Process()
        holder.executableURL = URL(fileURLWithPath: "/usr/bin/unshare")
        holder.arguments = [
            "-m", "sh", "-c", "mount \"$1\" \"$2\" && echo ready && cat", "sh", device, mountPoint,
        ]
        let (input, output) = (Pipe(), Pipe())
        holder.standardInput = input
        holder.standardOutput = output
        try holder.run()
        #expect(output.fileHandleForReading.availableData == Data("ready\n".utf8))
        #expect(throws: Ext4Error.busy) { try FileDevice(path: device, access: .readWrite) }
        #expect(throws: Ext4Error.busy) { try FileDevice(path: image, access: .readWrite) }
        let use = try #require(DeviceUse.find(path: image))
        #expect(use.mountPoint == nil)
        #expect(use.device == device)
        try input.fileHandleForWriting.close()
        holder.waitUntilExit()
    }
}
