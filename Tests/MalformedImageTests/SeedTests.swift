import Foundation
import Testing

@testable import Ext4

/// The fuzzer's seeds: what it found once, and the smallest inputs that reach what it has seen.
@Suite struct SeedTests {
    private static var seeds: [URL] {
        get throws {
            try FileManager.default.contentsOfDirectory(
                at: PackedImage.folder.appending(path: "Seeds"), includingPropertiesForKeys: nil
            ).sorted { $0.path < $1.path }
        }
    }

    @Test(arguments: FuzzCase.Mode.allCases)
    func everySeedIsRead(_ mode: FuzzCase.Mode) throws {
        let bases = try PackedImage.names.map { FuzzInput.Base(try PackedImage.bytes($0)) }
        let seeds = try Self.seeds
        #expect(seeds.count > 10)
        for seed in seeds {
            let input = [UInt8](try Data(contentsOf: seed))
            let start = ContinuousClock.now
            FuzzCase.run(input, bases: bases, mode: mode)
            if ContinuousClock.now - start > .seconds(20) {
                Issue.record("\(seed.lastPathComponent) takes too long")
            }
        }
    }
}
