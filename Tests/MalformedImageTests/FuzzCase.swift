@testable import Ext4

#if canImport(Ext4Verify)
    import Ext4Verify
#endif

/// What is done with one input of the fuzzer, there and in the tests that repeat its finds.
enum FuzzCase {
    /// Which of the two ways checksums are dealt with.
    enum Mode: String, CaseIterable {
        /// They are wrong and nobody looks.
        case ignoringChecksums = "ignore"
        /// They are made right after the change, and verified.
        case fixingChecksums = "fix"
    }

    /// Reads all of the volume that the input describes; nil when it describes none.
    @discardableResult
    static func run(_ input: [UInt8], bases: [FuzzInput.Base], mode: Mode) -> VolumeWalk? {
        guard let input = FuzzInput(input, bases: bases) else { return nil }
        var image = input.image
        var options = OpenOptions()
        options.cacheBytes = 1 << 20
        if input.opening.contains(.ignoresJournal) { options.journal = .ignore }
        if !input.opening.contains(.triesBackups) { options.superblock = .primary }
        switch mode {
        case .ignoringChecksums: options.verifiesChecksums = false
        case .fixingChecksums: ChecksumSeal.seal(&image)
        }
        input.deed?.run(image, options)
        if input.opening.contains(.replays) {
            // Whatever that did, what lies there then is read.
            let device = MemoryDevice(image)
            _ = try? Volume.replayJournal(on: device, options: options)
            options.journal = .ignore
            return VolumeWalk.read(device, options: options, limits: limits)
        }
        return VolumeWalk.read(MemoryDevice(image), options: options, limits: limits)
    }

    /// Small enough for hundreds of inputs a second.
    private static var limits: VolumeWalk.Limits {
        var limits = VolumeWalk.Limits()
        limits.inodes = 160
        limits.groups = 64
        limits.entries = 256
        limits.lookups = 24
        limits.fileBytes = 16 << 10
        limits.allBytes = 1 << 20
        limits.seeks = 8
        return limits
    }
}
