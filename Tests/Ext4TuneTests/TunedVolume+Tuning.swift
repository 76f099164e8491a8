import Ext4Check
import Ext4Host
import Ext4Verify
import Foundation
import Testing

@testable import Ext4

extension TunedVolume {
    static var tuneOptions: TuneOptions {
        var options = TuneOptions()
        options.clock = { Timestamp.now }
        return options
    }

    /// Changes the volume, as the library does: what is to be repaired is left.
    @discardableResult
    func tuneOnly(
        isForced: Bool = false, _ change: (inout TuneChanges) -> Void
    ) throws -> TuneReport {
        var changes = TuneChanges()
        change(&changes)
        var options = Self.tuneOptions
        options.isForced = isForced
        return try Tuner.tune(open(), changes, options: options)
    }

    /// Changes the volume, and repairs what the change calls for, as the command does.
    func tuneAndRepair(_ change: (inout TuneChanges) -> Void) throws {
        guard try tuneOnly(change).needsRepair else { return }
        var options = CheckOptions()
        options.now = Timestamp.now
        #expect(try Repairer.repair(open(), options: options, mode: .all).isClean)
    }

    var bytes: Data {
        get throws { try Data(contentsOf: URL(fileURLWithPath: path)) }
    }

    /// Why a change is refused, after which the volume is what it was.
    func refusal(_ change: (inout TuneChanges) -> Void) throws -> String {
        let before = try bytes
        var words = ""
        do {
            try tuneOnly(change)
        } catch let failure as TuneFailure {
            words = failure.description
        }
        #expect(!words.isEmpty, "it was not refused")
        let isSame = try bytes == before
        #expect(isSame, "\(words): the volume was changed")
        return words
    }

    var isMarkedSound: Bool {
        get throws { try superblock().state & Superblock.validState != 0 }
    }
}
