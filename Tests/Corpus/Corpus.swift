import Dispatch
import Ext4
import Ext4Check
import Ext4Verify
import Glibc
import Synchronization

/// `ext4-corpus [--only PREFIX] [--find] [--cuts N] [--random N] [--seed N] [--verbose]`: damages
/// sound images, and holds what the checker finds and what the repair leaves against e2fsck.
@main
struct Corpus {
    var prefix = ""
    var aspects: Aspects = [.find, .repair, .cuts]
    var cutLimit = 2
    var randomCount = 300
    var seed: UInt64 = 1
    var isVerbose = false
    var listsOnly = false

    static func main() throws {
        var corpus = Corpus()
        var arguments = CommandLine.arguments.dropFirst()
        while let argument = arguments.popFirst() {
            switch argument {
            case "--only": corpus.prefix = arguments.popFirst() ?? ""
            case "--find": corpus.aspects = .find
            case "--no-cuts": corpus.aspects.remove(.cuts)
            case "--cuts": corpus.cutLimit = Int(arguments.popFirst() ?? "") ?? 0
            case "--random": corpus.randomCount = Int(arguments.popFirst() ?? "") ?? 0
            case "--seed": corpus.seed = UInt64(arguments.popFirst() ?? "") ?? 1
            case "--verbose": corpus.isVerbose = true
            case "--list": corpus.listsOnly = true
            default: throw CorpusError("what is \(argument)?")
            }
        }
        exit(try corpus.run() ? 0 : 1)
    }

    private struct Sound: Sendable {
        let bytes: [UInt8]
        let volume: Volume
    }

    private struct Tally {
        var next = 0
        var failed: [String] = []
        var passed = 0
        var cuts = 0
        var agreed = 0
    }

    /// Tries everything.
    ///
    /// - Returns: whether all went well.
    func run() throws -> Bool {
        let cases = CaseList.all().filter { $0.name.hasPrefix(prefix) }
        if listsOnly {
            for damage in cases { print(damage.name, damage.finds ?? "-") }
            return true
        }
        let folder = "/dev/shm/ext4-corpus.\(getpid())"
        guard unsafe mkdir(folder, 0o700) == 0 else { throw CorpusError("cannot make \(folder)") }
        defer { _ = SoundImages.execute(["rm", "-rf", folder], output: "/dev/null") }
        var names = Set(cases.map(\.image))
        if prefix.isEmpty { names = Set(SoundImages.recipes.map(\.name)) }
        let images = try SoundImages.make(names, in: folder)
        var sounds: [String: Sound] = [:]
        for (name, bytes) in images {
            var options = OpenOptions()
            options.journal = .ignore
            sounds[name] = Sound(
                bytes: bytes, volume: try Volume.open(MemoryDevice(bytes), options: options))
        }
        let tally = Mutex(Tally())
        try checkSound(images, tally)
        let work = cases.compactMap { damage in sounds[damage.image].map { (damage, $0) } }
        // Not of names that ignore case: their hashes take tables of Unicode, so that e2fsck sees
        // damage there that nothing here can. Nor of clusters, where a lost+found that got lost
        // itself is still left with its old `..` (docs/CHECK.md).
        let randomNames =
            prefix.isEmpty || prefix == "random"
            ? sounds.keys.sorted().filter { !["casefold", "bigalloc"].contains($0) } : []
        let all = sounds
        let randomCount = randomNames.isEmpty ? 0 : self.randomCount
        let workers = max(1, min(Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))), 8))
        DispatchQueue.concurrentPerform(iterations: workers) { worker in
            while true {
                let index = tally.withLock { tally in
                    tally.next += 1
                    return tally.next - 1
                }
                guard index < work.count + randomCount else { return }
                var trial = Trial(
                    file: "\(folder)/worker-\(worker)", aspects: aspects, cutLimit: cutLimit)
                let name: String
                if index < work.count {
                    let (damage, sound) = work[index]
                    name = damage.name
                    trial.run(damage, on: sound.bytes, sound: sound.volume)
                } else {
                    let seed = seed &* 1_000_003 &+ UInt64(index - work.count)
                    let image = randomNames[Int(seed % UInt64(randomNames.count))]
                    name = "random/\(seed)@\(image)"
                    guard let sound = all[image] else { continue }
                    trial = Trial(
                        file: "\(folder)/worker-\(worker)", aspects: .repair, cutLimit: 0)
                    let damaged = RandomDamage.apply(
                        seed: seed, to: ImageEditor(sound.bytes, sound: sound.volume))
                    trial.run(damaged, name: name, finds: nil, before: nil)
                }
                report(name, trial, tally)
            }
        }
        return tally.withLock { tally in
            for line in tally.failed.sorted() { print(line) }
            print("cuts of repairs: \(tally.cuts)")
            print("\(tally.passed) passed, \(tally.failed.count) failed")
            return tally.failed.isEmpty
        }
    }

    private func report(_ name: String, _ trial: Trial, _ tally: borrowing Mutex<Tally>) {
        if isVerbose {
            print(
                name, "e2fsck", trial.code, "finds",
                trial.identifiers.sorted().joined(separator: ","),
                "|", Trial.short(trial.output))
        }
        tally.withLock { tally in
            tally.cuts += trial.cutCount
            if trial.problems.isEmpty {
                tally.passed += 1
            } else {
                tally.failed.append("\(name): \(trial.problems.joined(separator: "; "))")
            }
        }
    }

    /// Every image is sound before it is damaged.
    private func checkSound(
        _ images: [String: [UInt8]], _ tally: borrowing Mutex<Tally>
    ) throws {
        for (name, bytes) in images.sorted(by: { $0.key < $1.key }) {
            let report = try Check.run(MemoryDevice(bytes), options: Trial.options).report
            guard report.isClean || name == "dirty" else {
                let first = report.findings.prefix(5).map(\.description).joined(separator: " | ")
                tally.withLock { $0.failed.append("sound image \(name): \(first)") }
                continue
            }
            tally.withLock { $0.passed += 1 }
        }
    }
}
