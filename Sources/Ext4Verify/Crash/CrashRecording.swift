internal import Ext4

/// A workload on a device that records it, with what the volume showed after each operation.
struct CrashRecording {
    let volume: CrashVolume
    let image: DeviceImage
    let workload: CrashWorkload
    private(set) var events: [DeviceEvent] = []
    private(set) var oracle = CrashOracle()
    /// How many requests there were before each operation, and the close; and after it.
    private(set) var begins: [Int] = []
    private(set) var ends: [Int] = []
    /// Operations that the engine refused, as it may: the name is taken, the volume is full.
    private(set) var refusals = 0
    /// What went wrong before there was any crash.
    private(set) var failure: String?

    /// A promise: from that event on, nothing before that moment is to be found.
    private struct Promise {
        let event: Int
        let floor: Int
        var file: InodeNumber?
        var contents = 0
    }
    private var promises: [Promise] = []

    /// Runs `workload` on `image`.
    init(
        _ workload: CrashWorkload, on volume: CrashVolume, _ image: DeviceImage,
        _ mutant: CrashMutant?
    ) {
        self.volume = volume
        self.image = image
        self.workload = workload
        oracle.journalsContents = volume.dataMode == .journal
        let device = RecordingDevice(image)
        let clock = CrashClock()
        var options = volume.openOptions(clock)
        mutant?.switchOn(in: &options)
        do throws(Ext4Error) {
            try run(Volume.open(device, options: options), device, clock)
        } catch {
            failure = "\(error)"
        }
        events = device.events
    }

    private mutating func run(
        _ open: Volume, _ device: RecordingDevice, _ clock: CrashClock
    ) throws(Ext4Error) {
        oracle.moments.append(try TreeSnapshot(open))
        oracle.steps.append(false)
        oracle.moves.append(false)
        var actor = CrashActor(open)
        for operation in workload.operations {
            clock.advance()
            begins.append(device.events.count)
            do throws(Ext4Error) {
                try actor.run(operation)
            } catch {
                switch error {
                case .corrupt, .io, .readOnlyVolume: throw error
                default: refusals += 1
                }
            }
            ends.append(device.events.count)
            oracle.moments.append(
                operation.isPersistence
                    ? oracle.moments[oracle.moments.count - 1] : try TreeSnapshot(open))
            oracle.steps.append(operation.mayTakeSteps)
            oracle.moves.append(operation.movesContents)
            promise(operation, open)
        }
        begins.append(device.events.count)
        try open.close()
        ends.append(device.events.count)
        promises.append(
            Promise(event: device.events.count, floor: oracle.moments.count - 1))
    }

    /// Notes what a call that came back has promised.
    private mutating func promise(_ operation: CrashOperation, _ volume: Volume) {
        let now = oracle.moments.count - 1
        let event = ends[ends.count - 1]
        let path: String
        let isDataOnly: Bool
        switch operation {
        case .sync:
            promises.append(Promise(event: event, floor: now))
            return
        case .fsync(let name): (path, isDataOnly) = (name, false)
        case .fdatasync(let name): (path, isDataOnly) = (name, true)
        default: return
        }
        guard let number = try? volume.inode(atPath: path, followingSymlinks: false).number,
            let node = oracle.moments[now].nodes[number]
        else { return }
        // The moment from which on the file was what it is now.
        var floor = now
        while floor > 0, let before = oracle.moments[floor - 1].nodes[number],
            isDataOnly
                ? before.size == node.size && before.blocks512 == node.blocks512
                    && before.generation == node.generation && before.linkCount > 0
                : before == node
        {
            floor -= 1
        }
        var contents = now
        while contents > 0,
            oracle.moments[contents - 1].contents[number] == oracle.moments[now].contents[number]
        {
            contents -= 1
        }
        promises.append(
            Promise(event: event, floor: floor, file: number, contents: contents))
    }

    /// What a crash behind `cut` requests may leave.
    func window(at cut: Int) -> CrashWindow {
        var window = CrashWindow()
        let last = oracle.moments.count - 1
        for (index, begin) in begins.enumerated() where begin < cut {
            window.last = min(index + 1, last)
        }
        for promise in promises where promise.event <= cut {
            window.floor = max(window.floor, promise.floor)
            if let file = promise.file {
                window.contents[file] = max(window.contents[file] ?? 0, promise.contents)
            }
        }
        window.last = max(window.last, window.floor)
        return window
    }

    /// Whether all states behind `cut` requests are looked at, or only the one that has everything:
    /// before each flush, and between operations, when nothing after them was written yet.
    func isBoundary(_ cut: Int) -> Bool {
        guard cut < events.count else { return true }
        if case .flush = events[cut] { return true }
        return ends.contains(cut)
    }

    /// The operation that was under way, by its number from 1 on; nil before the first one and
    /// when the volume is being closed.
    func operation(at cut: Int) -> Int? {
        guard let index = begins.lastIndex(where: { $0 < cut }) else { return nil }
        return index < workload.numbers.count ? index + 1 : nil
    }
}
