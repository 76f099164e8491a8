import Ext4Check
import Foundation
import Testing

@testable import Ext4

/// The check on volumes that are sound, and on volumes that are damaged in every way there is: it
/// finds something or nothing, in time, and never stops at a trap.
@Suite struct CheckTests {
    private static func check(_ image: [UInt8], threads: Int = 1) throws -> CheckReport {
        var options = CheckOptions()
        options.threads = threads
        return try Check.run(MemoryDevice(image, isReadOnly: true), options: options).report
    }

    /// `flags` has flags that were set by hand, with nothing behind them.
    @Test(arguments: PackedImage.names.filter { $0 != "flags" })
    func soundVolumesAreClean(_ name: String) throws {
        let report = try Self.check(PackedImage.bytes(name))
        let errors = report.findings.filter { $0.rule.severity == .error }
        // The logs of these were left full, and what is in them is not in its place.
        if ["journal", "fast"].contains(name) { return }
        #expect(errors.isEmpty, "\(errors.map(\.description).joined(separator: "\n"))")
    }

    @Test func everySeedIsChecked() throws {
        let bases = try PackedImage.names.map { FuzzInput.Base(try PackedImage.bytes($0)) }
        let seeds = try FileManager.default.contentsOfDirectory(
            at: PackedImage.folder.appending(path: "Seeds"), includingPropertiesForKeys: nil
        ).sorted { $0.path < $1.path }
        for seed in seeds {
            guard let input = FuzzInput([UInt8](try Data(contentsOf: seed)), bases: bases) else {
                continue
            }
            var sealed = input.image
            ChecksumSeal.seal(&sealed)
            timed(#_sourceLocation) {
                _ = try? Self.check(input.image)
                _ = try? Self.check(sealed)
            }
        }
    }

    /// Each block with metadata as zeros, as ones, and as a copy of another, with its checksums as
    /// they then are and made right.
    @Test(arguments: PackedImage.names) func lostBlocksAreChecked(_ name: String) throws {
        let sound = try PackedImage.bytes(name)
        var copy = sound
        let size = try VolumeFixture(name).blockSize
        let blocks = Set(ChecksumSeal.seal(&copy).map { $0.lowerBound / size }).sorted()
        for (index, block) in blocks.prefix(64).enumerated() {
            let other = blocks[(index + 5) % blocks.count] * size
            for kind in 0..<3 {
                var image = sound
                for i in 0..<size {
                    image[block * size + i] = [0, 0xFF, sound[other + i]][kind]
                }
                timed(#_sourceLocation) { _ = try? Self.check(image) }
                ChecksumSeal.seal(&image)
                timed(#_sourceLocation) { _ = try? Self.check(image) }
            }
        }
    }

    /// Whatever bit of what has a checksum is turned, it is found.
    @Test func turnedBitsAreFound() throws {
        let sound = try PackedImage.bytes("full")
        let volume = try VolumeFixture("full")
        var copy = sound
        var missed = 0
        var turned = 0
        // The log is its own business: an empty one holds nothing that counts.
        var log: [BlockRun] = []
        if volume.sound.superblock.journalInode.rawValue != 0 {
            let journal = try volume.sound.inode(volume.sound.superblock.journalInode)
            log = try volume.sound.map(of: journal).runs(
                to: LogicalBlock(1 << 20), volumeBlocks: 1 << 20)
        }
        for range in ChecksumSeal.seal(&copy) where range.lowerBound > 4096 {
            let block = BlockNumber(UInt64(range.lowerBound / volume.blockSize))
            let isLogged = log.contains { run in
                guard let start = run.start else { return false }
                return start <= block && block < start.advanced(by: run.count)
            }
            if isLogged { continue }
            for offset in stride(from: range.lowerBound, to: range.upperBound, by: 61) {
                var image = sound
                image[offset] ^= 0x10
                turned += 1
                if try Self.check(image).findings.isEmpty { missed += 1 }
            }
        }
        #expect(turned > 100)
        #expect(missed * 20 < turned, "\(missed) of \(turned) turned bits were not found")
    }

    @Test func threadsAgree() throws {
        let sound = try PackedImage.bytes("full")
        for offset in stride(from: 1024, to: sound.count - 64, by: 4099) {
            var image = sound
            for i in 0..<32 { image[offset + i] ^= 0x5A }
            let one = try? Self.check(image)
            let four = try? Self.check(image, threads: 4)
            #expect(one == four)
        }
    }
}
