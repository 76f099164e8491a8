internal import Ext4

/// One state that a crash leaves, looked at again.
package struct CrashReplay {
    /// What shows it.
    package let seed: CrashSeed
    /// What is wrong; nil for nothing.
    package internal(set) var complaint: String?
    /// The device in that state, before anybody recovers it.
    package internal(set) var device: LayeredDevice?
    /// The operations with what is known of them, a line each.
    package private(set) var operations: [String] = []
    /// The cut in words.
    package private(set) var cut = ""
    /// Sectors that are not what was written last, a line each.
    package private(set) var sectors: [String] = []

    private let map: BlockMap

    init(_ seed: CrashSeed, _ recording: CrashRecording) {
        self.seed = seed
        map = BlockMap(recording.image, recording.volume)
        for (index, operation) in recording.workload.operations.enumerated() {
            guard index < recording.ends.count else { break }
            let count = recording.ends[index] - recording.begins[index]
            operations.append(
                "\(index + 1). \(operation)" + (count > 0 ? "  (\(count) requests)" : ""))
        }
        guard let place = seed.place, place.cut <= recording.events.count else { return }
        let during = recording.operation(at: place.cut).map { "operation \($0)" } ?? "the mount"
        let isClosing = recording.begins.last.map { $0 < place.cut } ?? false
        cut =
            "cut off behind request \(place.cut) of \(recording.events.count), in "
            + (isClosing ? "the unmount" : during)
        if place.cut > 0 { cut += "; the last one: \(words(recording.events[place.cut - 1]))" }
        let window = recording.window(at: place.cut)
        cut += "\nmay be as after operation \(window.floor) to \(window.last)"
    }

    private func words(_ event: DeviceEvent) -> String {
        switch event {
        case .flush: "a flush"
        case .write(let write, let isForced):
            "a \(isForced ? "forced " : "")write of \(write.sectorCount) sectors from "
                + "\(write.firstSector) on (\(map.words(forSector: write.firstSector)))"
        case .discard(let write): "a discard of \(write.sectorCount) sectors"
        }
    }

    /// Tells which sectors are old.
    mutating func describe(_ pending: [PendingSector], _ choice: CrashChoice) {
        for (sector, version) in zip(pending, choice) where version < sector.versions.count {
            let state =
                version == 0
                ? "what was durable" : "version \(version) of \(sector.versions.count)"
            sectors.append(
                "sector \(sector.sector) (\(map.words(forSector: sector.sector))): \(state)")
        }
    }
}

/// What the blocks of a volume are for, in words.
struct BlockMap {
    private var names: [UInt64: String] = [:]
    private var blockSize = 1024

    init(_ image: DeviceImage, _ kind: CrashVolume) {
        var options = OpenOptions()
        options.access = .readOnly
        guard let volume = try? Volume.open(LayeredDevice(image), options: options) else { return }
        blockSize = volume.blockSize
        let superblock = volume.superblock
        for value in 0..<superblock.groupCount {
            guard let group = try? volume.groupDescriptor(GroupNumber(value)) else { continue }
            names[group.blockBitmap.rawValue] = "block bitmap"
            names[group.inodeBitmap.rawValue] = "inode bitmap"
            let perBlock = UInt64(blockSize / superblock.inodeSize)
            let count = UInt64(superblock.inodesPerGroup) / perBlock
            for index in 0..<count {
                let first = UInt64(value) * UInt64(superblock.inodesPerGroup) + index * perBlock + 1
                names[group.inodeTable.rawValue + index] =
                    "inodes \(first) to \(first + perBlock - 1)"
            }
        }
        guard let journal = try? volume.inode(superblock.journalInode),
            let runs = try? volume.mappings(of: journal)
        else { return }
        for run in runs {
            guard case .mapped(let start) = run.state else { continue }
            for index in 0..<run.count {
                let logical = run.logical.rawValue + index
                names[start.rawValue + index] =
                    logical == 0 ? "journal superblock" : "journal block \(logical)"
            }
        }
    }

    func words(forSector sector: Int) -> String {
        let byte = sector * DeviceImage.sectorSize
        if byte >= 1024, byte < 2048 { return "superblock" }
        let block = UInt64(byte / blockSize)
        if block == UInt64(1024 / blockSize) + 1, blockSize == 1024 { return "group descriptors" }
        return "block \(block)" + (names[block].map { ", \($0)" } ?? "")
    }
}
