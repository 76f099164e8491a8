import Dispatch
import Ext4
import Ext4Check
import Ext4Verify
import Glibc
import Synchronization

/// Damages sound images, and holds what the checker finds and what the repair leaves against
/// e2fsck.
@main
struct Corpus {
    private static let usage = """
        usage: ext4-corpus [--only PREFIX] [--find] [--no-cuts] [--cuts N] [--random N] [--seed N]
                           [--keep FOLDER] [--verbose] [--list]

          --only PREFIX   Only the cases whose names begin with it; "random" for the random damage,
                          "random/SEED@IMAGE", as a failure names it, for one of these.
          --find          Only check; repair nothing.
          --no-cuts       Do not cut repairs off in their middle.
          --cuts N        Cut each repair at N places (2); 0: at every one.
          --random N      How many images to damage at random (300).
          --seed N        What the random damage begins with (1).
          --keep FOLDER   Write the image of each failure there, as it was damaged.
          --verbose       Say of each case what both checkers say.
          --list          Print the names of the cases, and what each is found by.
        """

    var prefix = ""
    var aspects: Aspects = [.find, .repair, .cuts]
    var cutLimit = 2
    var randomCount = 300
    var seed: UInt64 = 1
    var isVerbose = false
    var listsOnly = false
    var keepFolder: String?

    static func main() {
        var corpus = Corpus()
        do {
            guard try corpus.take(CommandLine.arguments.dropFirst()) else {
                print(usage)
                return
            }
            exit(try corpus.run() ? 0 : 1)
        } catch {
            print("ext4-corpus: \(error)\n\(usage)")
            exit(2)
        }
    }

    /// Takes the arguments.
    ///
    /// - Returns: false when help is asked for.
    private mutating func take(_ given: ArraySlice<String>) throws -> Bool {
        var arguments = given
        while let argument = arguments.popFirst() {
            func value() throws -> String {
                guard let value = arguments.popFirst() else {
                    throw CorpusError("\(argument) needs a value")
                }
                return value
            }
            func number<Number: FixedWidthInteger>(_: Number.Type) throws -> Number {
                let text = try value()
                guard let number = Number(text), number >= 0 else {
                    throw CorpusError("\(argument): \(text) is no count")
                }
                return number
            }
            switch argument {
            case "--only": prefix = try value()
            case "--find": aspects = .find
            case "--no-cuts": aspects.remove(.cuts)
            case "--cuts": cutLimit = try number(Int.self)
            case "--random": randomCount = try number(Int.self)
            case "--seed": seed = try number(UInt64.self)
            case "--keep": keepFolder = try value()
            case "--verbose": isVerbose = true
            case "--list": listsOnly = true
            case "--help", "-h": return false
            default: throw CorpusError("there is no option \(argument)")
            }
        }
        return true
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
        if prefix.isEmpty || prefix.hasPrefix("random") {
            names = Set(SoundImages.recipes.map(\.name))
        }
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
        let all = sounds
        let randomDamages = randomDamages(of: sounds.keys.sorted())
        let workers = max(1, min(Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))), 8))
        DispatchQueue.concurrentPerform(iterations: workers) { worker in
            while true {
                let index = tally.withLock { tally in
                    tally.next += 1
                    return tally.next - 1
                }
                guard index < work.count + randomDamages.count else { return }
                var trial = Trial(
                    file: "\(folder)/worker-\(worker)", aspects: aspects, cutLimit: cutLimit)
                let name: String
                if index < work.count {
                    let (damage, sound) = work[index]
                    name = damage.name
                    trial.run(damage, on: sound.bytes, sound: sound.volume)
                } else {
                    let (seed, image) = randomDamages[index - work.count]
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

    /// Which images are damaged at random, by which seeds.
    private func randomDamages(of images: [String]) -> [(seed: UInt64, image: String)] {
        if prefix.hasPrefix("random/") {
            let parts = prefix.dropFirst("random/".count).split(separator: "@")
            guard parts.count == 2, let seed = UInt64(parts[0]) else { return [] }
            return [(seed, String(parts[1]))]
        }
        guard prefix.isEmpty || prefix == "random" else { return [] }
        // Not of names that ignore case: their hashes take tables of Unicode, so that e2fsck sees
        // damage there that nothing here can.
        let images = images.filter { $0 != "casefold" }
        guard !images.isEmpty else { return [] }
        return (0..<randomCount).map { number in
            let seed = seed &* 1_000_003 &+ UInt64(number)
            return (seed, images[Int(seed % UInt64(images.count))])
        }
    }

    private func report(_ name: String, _ trial: Trial, _ tally: borrowing Mutex<Tally>) {
        if isVerbose {
            print(
                name, "e2fsck", trial.code, "finds",
                trial.identifiers.sorted().joined(separator: ","),
                "|", Trial.short(trial.output))
        }
        if let keepFolder, !trial.problems.isEmpty {
            let file = keepFolder + "/" + name.replacing("/", with: "-") + ".img"
            do {
                try SoundImages.write(trial.damaged, toFile: file)
            } catch {
                print("\(file): \(error)")
            }
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
