import Ext4
import Ext4Check
import Ext4Verify

/// What is tried with each case.
struct Aspects: OptionSet, Sendable {
    let rawValue: Int
    /// Whether it is found, and the verdict is e2fsck's.
    static let find = Aspects(rawValue: 1)
    /// Whether it is repaired.
    static let repair = Aspects(rawValue: 2)
    /// Whether a repair that is cut off anywhere can be done again.
    static let cuts = Aspects(rawValue: 4)
}

/// One case on one worker.
struct Trial {
    /// A file of this worker's own, for e2fsck.
    let file: String
    let aspects: Aspects
    /// How many cuts of each repair are tried; 0 for all.
    var cutLimit = 3
    /// What went wrong.
    private(set) var problems: [String] = []
    /// What was found, by identifiers.
    private(set) var identifiers: Set<String> = []
    /// e2fsck's exit code for the damaged image.
    private(set) var code: Int32 = 0
    private(set) var output = ""
    /// The damaged image; of a repair that was cut off, as the cut left it.
    private(set) var damaged: [UInt8] = []
    private(set) var cutCount = 0

    init(file: String, aspects: Aspects, cutLimit: Int) {
        self.file = file
        self.aspects = aspects
        self.cutLimit = cutLimit
    }

    /// The time of all trials, a little after the images were made.
    static let options: CheckOptions = {
        var options = CheckOptions()
        options.threads = 1
        options.now = Timestamp(seconds: 1_795_400_000)
        return options
    }()

    /// Damages `image` as the case says, and tries it.
    mutating func run(_ damage: DamageCase, on image: [UInt8], sound: Volume) {
        var editor = ImageEditor(image, sound: sound)
        do {
            try damage.change(&editor)
        } catch {
            problems.append("the damage itself fails: \(error)")
            return
        }
        run(
            editor.bytes, name: damage.name,
            finds: damage.finds ?? Expected.identifiers[damage.name],
            before: image)
    }

    /// Tries a damaged image.
    mutating func run(_ damaged: [UInt8], name: String, finds: String?, before: [UInt8]?) {
        self.damaged = damaged
        do {
            (code, output) = try judge(damaged)
            let isClean = check(damaged)
            if aspects.contains(.find) {
                let isExplained = Differences.reasons[name] != nil
                if isClean != (code == 0), !isExplained {
                    problems.append(
                        "e2fsck says \(code), we say \(isClean ? "clean" : "damaged")")
                } else if isClean == (code == 0), isExplained {
                    problems.append("the verdicts are the same: no difference to explain")
                }
                if let finds, !identifiers.contains(finds) {
                    problems.append("it is not found as \(finds): \(identifiers.sorted())")
                }
            }
            if !aspects.isDisjoint(with: [.repair, .cuts]), !Differences.beyondRepair.contains(name)
            {
                try repair(damaged, before: before)
            }
        } catch {
            problems.append("\(error)")
        }
    }

    private func judge(_ image: [UInt8]) throws -> (Int32, String) {
        try SoundImages.write(image, toFile: file)
        return SoundImages.execute(["e2fsck", "-fn", file], output: file + ".output")
    }

    private mutating func check(_ image: [UInt8]) -> Bool {
        do throws(Ext4Error) {
            let report = try Check.run(MemoryDevice(image), options: Self.options).report
            identifiers = Set(report.findings.map(\.rule.rawValue))
            return report.isClean
        } catch {
            identifiers = ["error: \(error)"]
            return false
        }
    }

    // MARK: Repair

    private mutating func repair(_ damaged: [UInt8], before: [UInt8]?) throws {
        let device = RecordedMemory(damaged)
        let report: RepairReport
        do throws(Ext4Error) {
            report = try Repairer.repair(device, options: Self.options)
        } catch {
            // What has no superblock left is beyond e2fsck too.
            let (code, _) = try fix(damaged)
            if code & 8 == 0 {
                problems.append("repair gives up: \(error); e2fsck -y says \(code)")
            }
            return
        }
        let repaired = device.bytes
        if !report.isClean {
            problems.append(
                "left: \(report.left.prefix(4).map(\.description).joined(separator: " | "))")
        }
        let (code, output) = try judge(repaired)
        if code != 0 {
            problems.append("e2fsck -fn of the repaired image says \(code): \(Self.short(output))")
        }
        do throws(Ext4Error) {
            let second = try Check.run(MemoryDevice(repaired), options: Self.options).report
            if !second.isClean, report.isClean { problems.append("a second check finds more") }
        } catch {
            problems.append("a second check fails: \(error)")
        }
        if aspects.contains(.repair), let before {
            compare(before, damaged, repaired)
        }
        if aspects.contains(.cuts) { try cut(damaged, device.writes) }
    }

    private func fix(_ image: [UInt8]) throws -> (Int32, String) {
        try SoundImages.write(image, toFile: file)
        return SoundImages.execute(["e2fsck", "-fy", file], output: file + ".output")
    }

    static func short(_ output: String) -> String {
        let lines = output.split(separator: "\n").filter {
            !$0.hasPrefix("e2fsck 1.") && !$0.hasPrefix("Pass ")
        }
        return lines.prefix(6).joined(separator: " / ")
    }

    /// The contents of every file that could be read in spite of the damage must be what they were.
    private mutating func compare(_ sound: [UInt8], _ damaged: [UInt8], _ repaired: [UInt8]) {
        var lenient = OpenOptions()
        lenient.verifiesChecksums = false
        lenient.journal = .ignore
        guard
            let before = try? Volume.open(MemoryDevice(sound), options: lenient),
            let during = try? Volume.open(MemoryDevice(damaged), options: lenient)
        else { return }
        let after: Volume
        do throws(Ext4Error) {
            after = try Volume.open(MemoryDevice(repaired))
        } catch {
            problems.append("the repaired volume does not open: \(error)")
            return
        }
        for number in before.superblock.firstInode.rawValue...before.superblock.inodesCount {
            let number = InodeNumber(number)
            guard number != before.superblock.projectQuotaInode,
                let contents = Self.contents(of: number, in: before), !contents.isEmpty,
                Self.contents(of: number, in: during) == contents
            else { continue }
            if Self.contents(of: number, in: after) != contents {
                problems.append("the contents of inode \(number) are others now")
            }
        }
    }

    /// The contents of a file; nil for what is none or cannot be read.
    private static func contents(of number: InodeNumber, in volume: Volume) -> [UInt8]? {
        guard let inode = try? volume.inode(number), inode.type == .regular, inode.linkCount > 0,
            inode.size < 80 << 20, !inode.flags.contains(.attributeInode)
        else { return nil }
        var result = [UInt8](repeating: 0, count: Int(min(inode.size, 4 << 20)))
        var span = result.mutableSpan
        var raw = unsafe span.mutableBytes
        guard (try? volume.read(inode, at: 0, into: &raw)) != nil else { return nil }
        return result
    }

    // MARK: Cuts

    /// Cuts the repair off behind some of its writes, and in the middle of one: it must come to an
    /// end when it is done again.
    private mutating func cut(_ damaged: [UInt8], _ writes: [RecordedMemory.Write]) throws {
        let total = writes.count
        var cuts = Array(0..<max(total, 1))
        if cutLimit > 0, cuts.count > cutLimit {
            let step = max(1, total / cutLimit)
            cuts = Array(stride(from: 0, to: total, by: step))
        }
        for cut in cuts where cut < total {
            var image = damaged
            for write in writes[..<cut] {
                image.replaceSubrange(
                    write.start..<write.start + write.bytes.count, with: write.bytes)
            }
            // Half of the write that was under way, in whole sectors.
            let write = writes[cut]
            let half = write.bytes.count / 1024 * 512
            image.replaceSubrange(write.start..<write.start + half, with: write.bytes[..<half])
            cutCount += 1
            let device = RecordedMemory(image)
            do throws(Ext4Error) {
                let report = try Repairer.repair(device, options: Self.options)
                if !report.isClean {
                    problems.append("cut \(cut) of \(total): not clean again")
                    self.damaged = image
                }
            } catch {
                problems.append("cut \(cut) of \(total): \(error)")
                self.damaged = image
                continue
            }
            let (code, output) = try judge(device.bytes)
            if code != 0 {
                problems.append(
                    "cut \(cut) of \(total): e2fsck says \(code): \(Self.short(output))")
                self.damaged = image
            }
        }
    }
}
