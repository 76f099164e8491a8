internal import Ext4
internal import Synchronization

/// Something that is wrong after a crash.
package struct CrashFinding: Sendable {
    /// What shows it again.
    package var seed: CrashSeed
    /// What is wrong.
    package var complaint: String
}

/// What a run of the explorer gave.
package struct CrashReport: Sendable {
    /// What was looked at.
    package var counts = CrashCounts()
    /// What is wrong, in the order in which it was found.
    package var findings: [CrashFinding] = []
    /// How long it took.
    package var seconds = 0.0
    /// Workloads that were planned.
    package var planned = 0
}

/// A value that threads share.
private final class SharedState<Value: Sendable>: Sendable {
    let value: Mutex<Value>

    init(_ value: Value) { self.value = Mutex(value) }
}

/// Runs workloads and judges every state that crashes may leave of them, with several threads.
package final class CrashExplorer: Sendable {
    /// How far a run goes.
    package struct Limits: Sendable {
        /// As many states at the most; nil for all.
        package var states: Int?
        /// As long at the most.
        package var seconds: Double?
        /// After as many findings it ends.
        package var findings = 5
        /// Threads; nil for as many as there are processors.
        package var threads: Int?

        /// None but the number of findings.
        package init() {}
    }

    private struct State {
        var next = 0
        var counts = CrashCounts()
        var findings: [CrashFinding] = []
        var failure: CrashFailure?
    }

    private let images: [String: DeviceImage]
    private let shares: CrashShares
    private let mutant: CrashMutant?
    private let states = CrashStates()
    /// States that were judged already, with what they were judged by.
    private let seen: [SharedState<Set<UInt64>>]

    /// Makes the volumes.
    ///
    /// - Parameter mutant: a fault for the engine to have.
    package init(
        _ volumes: [CrashVolume], shares: CrashShares = .init(), mutant: CrashMutant? = nil
    ) throws(CrashFailure) {
        HostProgram.fixTime()
        var images: [String: DeviceImage] = [:]
        for volume in volumes { images[volume.name] = try volume.makeImage() }
        self.images = images
        self.shares = shares
        self.mutant = mutant
        seen = (0..<64).map { _ in SharedState([]) }
    }

    /// Runs `workloads`; `watch` is told now and then how far it is, and ends the run by `false`.
    package func run(
        _ workloads: [CrashWorkload], limits: Limits = .init(),
        watch: @escaping @Sendable (CrashReport) -> Bool = { _ in true }
    ) throws(CrashFailure) -> CrashReport {
        let start = CrashCrew.now
        let state = SharedState(State())
        @Sendable func report(_ state: State) -> CrashReport {
            CrashReport(
                counts: state.counts, findings: state.findings, seconds: CrashCrew.now - start,
                planned: workloads.count)
        }
        CrashCrew.run(limits.threads ?? CrashCrew.processorCount) { [self] thread in
            var judges: [String: CrashJudge] = [:]
            while true {
                let index: Int? = state.value.withLock { state in
                    guard state.next < workloads.count, state.failure == nil,
                        state.findings.count < limits.findings,
                        state.counts.states < limits.states ?? .max,
                        CrashCrew.now - start < limits.seconds ?? .infinity
                    else { return nil }
                    state.next += 1
                    return state.next - 1
                }
                guard let index else { return }
                let workload = workloads[index]
                do throws(CrashFailure) {
                    let judge: CrashJudge
                    if let known = judges[workload.volume] {
                        judge = known
                    } else {
                        judge = try makeJudge(workload.volume, shares)
                        judges[workload.volume] = judge
                    }
                    let finding = try explore(workload, judge)
                    let counts = judge.takeCounts()
                    state.value.withLock { state in
                        state.counts.add(counts)
                        if let finding { state.findings.append(finding) }
                    }
                } catch {
                    state.value.withLock { if $0.failure == nil { $0.failure = error } }
                }
                if thread == 0 {
                    let now = state.value.withLock { $0 }
                    if !watch(report(now)) { state.value.withLock { $0.next = workloads.count } }
                }
            }
        }
        let end = state.value.withLock { $0 }
        if let failure = end.failure { throw failure }
        return report(end)
    }

    private func makeJudge(
        _ name: String, _ shares: CrashShares
    ) throws(CrashFailure) -> CrashJudge {
        guard let volume = CrashVolume.named(name), let image = images[name] else {
            throw CrashFailure("there is no kind of volume \(name)")
        }
        return try CrashJudge(volume, image, shares)
    }

    // MARK: One workload

    /// The first thing that is wrong with a workload; nil for nothing.
    private func explore(
        _ workload: CrashWorkload, _ judge: CrashJudge
    ) throws(CrashFailure) -> CrashFinding? {
        judge.count { $0.workloads += 1 }
        let recording = CrashRecording(workload, on: judge.volume, judge.image, mutant)
        if let failure = recording.failure {
            return CrashFinding(seed: CrashSeed(workload), complaint: "without a crash: \(failure)")
        }
        // Workloads that start alike have the same states as long as they are alike.
        var history = UInt64(
            truncatingIfNeeded: workload.volume.utf8.reduce(0) { $0 &* 31 &+ Int($1) })
        let histories =
            [history]
            + workload.numbers.map {
                history = SeededRandom.mix(history, UInt64($0))
                return history
            }
        var walk = CrashWalk(judge.image)
        for cut in 0...recording.events.count {
            let window = recording.window(at: cut)
            let sectors = walk.sectors
            let choices =
                recording.isBoundary(cut)
                ? states.choices(sectors, seed: UInt64(cut))
                : [sectors.map { UInt16($0.versions.count) }]
            let past = SeededRandom.mix(histories[window.last], key(of: window))
            for (number, choice) in choices.enumerated() {
                let key = SeededRandom.mix(walk.hash(of: choice, sectors), past)
                guard isNew(key) else {
                    judge.count { $0.duplicates += 1 }
                    continue
                }
                let seed = CrashSeed(workload, at: .init(cut: cut, state: number))
                let make = { walk.device(choice, sectors) }
                if let complaint = try judge.complaint(
                    about: make, recording.oracle, window, key: key)
                {
                    return CrashFinding(seed: seed, complaint: complaint)
                }
                if judge.triesRecovery(key),
                    let finding = try exploreRecovery(make(), seed, recording, window, judge)
                {
                    return finding
                }
            }
            if cut < recording.events.count { walk.advance(over: recording.events[cut]) }
        }
        return nil
    }

    private func isNew(_ key: UInt64) -> Bool {
        seen[Int(key % UInt64(seen.count))].value.withLock { $0.insert(key).inserted }
    }

    private func key(of window: CrashWindow) -> UInt64 {
        window.contents.reduce(SeededRandom.mix(UInt64(window.floor), UInt64(window.last))) {
            $0 ^ SeededRandom.mix(UInt64($1.key.rawValue), UInt64($1.value))
        }
    }

    /// Crashes while `device` is recovered: in the replay, while orphans are freed, in the close.
    private func exploreRecovery(
        _ device: LayeredDevice, _ seed: CrashSeed, _ recording: CrashRecording,
        _ window: CrashWindow, _ judge: CrashJudge, only: CrashSeed.Place? = nil
    ) throws(CrashFailure) -> CrashFinding? {
        let base = device.flattened()
        let events = judge.recordRecovery(LayeredDevice(base))
        var few = CrashStates()
        few.randomCount = 3
        few.requestCount = 2
        var walk = CrashWalk(base)
        var random = SeededRandom(walk.durableHash ^ UInt64(events.count))
        for cut in 0...events.count {
            let isBoundary =
                if cut < events.count, case .flush = events[cut] { true } else {
                    cut == events.count
                }
            if isBoundary {
                let sectors = walk.sectors
                let all = few.choices(sectors, seed: UInt64(cut))
                var chosen = Array(all.indices)
                if chosen.count > 8 {
                    chosen = [0, 1] + (0..<6).map { _ in 2 + random.below(all.count - 2) }
                }
                for number in chosen where only == nil || only?.cut == cut {
                    let place = CrashSeed.Place(cut: cut, state: number)
                    if let only, only != place { continue }
                    judge.count { $0.recoveryStates += 1 }
                    let key = SeededRandom.mix(walk.hash(of: all[number], sectors), UInt64(cut))
                    if let complaint = try judge.complaint(
                        about: { walk.device(all[number], sectors) }, recording.oracle, window,
                        key: key)
                    {
                        var seed = seed
                        seed.recovery = place
                        return CrashFinding(
                            seed: seed, complaint: "second crash, in recovery: \(complaint)")
                    }
                }
            }
            if cut < events.count { walk.advance(over: events[cut]) }
        }
        return nil
    }

    // MARK: Again, and smaller

    /// Looks at one state again, with every examination.
    package func replay(_ seed: CrashSeed) throws(CrashFailure) -> CrashReplay {
        let judge = try makeJudge(seed.workload.volume, .all)
        let recording = CrashRecording(seed.workload, on: judge.volume, judge.image, mutant)
        var replay = CrashReplay(seed, recording)
        if let failure = recording.failure {
            replay.complaint = "without a crash: \(failure)"
            return replay
        }
        guard let place = seed.place else {
            let finding = try explore(seed.workload, judge)
            replay.complaint = finding.map { "\($0.seed): \($0.complaint)" }
            return replay
        }
        guard place.cut <= recording.events.count else {
            throw CrashFailure("the workload makes only \(recording.events.count) requests")
        }
        var walk = CrashWalk(judge.image)
        for event in recording.events[..<place.cut] { walk.advance(over: event) }
        let sectors = walk.sectors
        let choices =
            recording.isBoundary(place.cut)
            ? states.choices(sectors, seed: UInt64(place.cut))
            : [sectors.map { UInt16($0.versions.count) }]
        guard choices.indices.contains(place.state) else {
            throw CrashFailure("there are only \(choices.count) states at that place")
        }
        let choice = choices[place.state]
        replay.describe(sectors, choice)
        let window = recording.window(at: place.cut)
        let make = { walk.device(choice, sectors) }
        if let second = seed.recovery {
            let finding = try exploreRecovery(
                make(), seed, recording, window, judge, only: second)
            replay.complaint = finding?.complaint
        } else {
            replay.complaint = try judge.complaint(
                about: make, recording.oracle, window, key: 0)
        }
        replay.device = make()
        return replay
    }

    /// The same failure with as few operations as will do, for at most `seconds`.
    package func shrink(
        _ finding: CrashFinding, seconds: Double = 60
    ) throws(CrashFailure) -> CrashFinding {
        let end = CrashCrew.now + seconds
        var shares = shares
        if finding.complaint.contains("e2fsck") {
            shares.check = 1
            shares.replay = 4
            shares.foreignRecovery = 4
        }
        if finding.complaint.contains("afterwards") { shares.afterlife = 1 }
        if finding.seed.recovery != nil { shares.recovery = 2 }
        let judge = try makeJudge(finding.seed.workload.volume, shares)
        var best = finding
        var length = max(best.seed.workload.numbers.count / 2, 1)
        while CrashCrew.now < end {
            var hasShrunk = false
            var first = best.seed.workload.numbers.count - length
            while first >= 0, CrashCrew.now < end {
                var numbers = best.seed.workload.numbers
                numbers.removeSubrange(first..<min(first + length, numbers.count))
                let smaller = CrashWorkload(volume: best.seed.workload.volume, numbers: numbers)
                forget()
                if let found = try explore(smaller, judge) {
                    best = found
                    hasShrunk = true
                }
                first = min(first - length, best.seed.workload.numbers.count - length)
            }
            if !hasShrunk {
                if length == 1 { break }
                length /= 2
            }
        }
        return best
    }

    /// States count as new again.
    private func forget() {
        for part in seen { part.value.withLock { $0 = [] } }
    }
}
