import Testing

@testable import Ext4
import Ext4Verify

/// The volumes that everything else here damages are sound: what the tests see is the damage.
@Suite struct SoundImageTests {
    @Test(arguments: PackedImage.names) func isReadWhole(_ name: String) throws {
        let image = try PackedImage.bytes(name)
        var options = OpenOptions()
        // The fast commit of `fast` cannot be replayed; the volume below it can be read.
        if name == "fast" { options.journal = .ignore }
        let walk = VolumeWalk.read(MemoryDevice(image), options: options)
        for error in walk.errors {
            guard case .corrupt(let corruption) = error else { continue }
            // Flags were set by hand in `flags`, with no ciphertext behind them.
            if name == "flags", [.directoryBlock, .symlink].contains(corruption.structure) {
                continue
            }
            Issue.record("\(name): \(error)")
        }
        #expect(walk.inodeCount > 5)
        #expect(walk.entryCount > 10)
    }

    /// Sealing a sound volume changes nothing.
    @Test(arguments: PackedImage.names) func sealIsIdempotent(_ name: String) throws {
        let image = try PackedImage.bytes(name)
        var sealed = image
        ChecksumSeal.seal(&sealed)
        for i in 0..<image.count where image[i] != sealed[i] {
            Issue.record("byte \(i) (block \(i / 1024)) of \(name) differs")
            break
        }
    }
}
