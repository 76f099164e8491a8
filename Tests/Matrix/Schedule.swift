import CHostTree
import Glibc

/// Runs the trials, two at a time, and counts how they end.
struct Schedule {
    private struct Running {
        let recipe: Recipe
        let process: Int32
        let folder: String
        let started: Double
    }

    private let keeps: Bool
    private let base: String
    private var running: [Running] = []
    private var counts = (passed: 0, failed: 0, skipped: 0)
    /// The seconds after which a trial counts as hanging.
    private let timeLimit: Double = 300

    init(keeps: Bool) {
        self.keeps = keeps
        base = Self.folder() + "/ext4-matrix-\(getpid())"
    }

    /// Memory where there are 4 GiB of it to have: sparse images need it only for a moment.
    private static func folder() -> String {
        var status = statvfs()
        if unsafe statvfs("/dev/shm", &status) == 0,
            UInt64(status.f_bavail) * UInt64(status.f_frsize) >= 4 << 30
        {
            return "/dev/shm"
        }
        return unsafe getenv("TMPDIR").map { unsafe String(cString: $0) } ?? "/tmp"
    }

    /// Tries all and returns the exit code.
    mutating func run(_ recipes: [Recipe]) -> Int32 {
        linux_catch_signals()
        guard unsafe mkdir(base, 0o700) == 0 else {
            print("ext4-matrix: cannot make \(base): error \(lastError)")
            return 1
        }
        let started = now()
        var waiting = recipes[...]
        while !waiting.isEmpty || !running.isEmpty {
            guard linux_caught_signal() == 0 else { return stop() }
            while running.count < 2, let recipe = waiting.popFirst() { begin(recipe) }
            reap()
            usleep(10_000)
        }
        if !keeps { unsafe rmdir(base) }
        print("matrix: \(recipes.count) images in \(tenths(now() - started)) s")
        print("\(counts.passed) passed, \(counts.failed) failed, \(counts.skipped) skipped")
        return counts.failed == 0 ? 0 : 1
    }

    private mutating func begin(_ recipe: Recipe) {
        let folder = base + "/" + recipe.name
        unsafe mkdir(folder, 0o700)
        let process = start(
            ["/proc/self/exe", "--worker", recipe.name, folder], output: folder + ".log")
        guard process > 0 else {
            counts.failed += 1
            print("FAIL \(recipe.name): does not start: error \(-process)")
            return
        }
        running.append(
            Running(recipe: recipe, process: process, folder: folder, started: now()))
    }

    /// Takes note of the trials that have ended, and ends those that hang.
    private mutating func reap() {
        var left: [Running] = []
        for trial in running {
            let code = linux_wait(trial.process, 0)
            if code == -EAGAIN {
                if now() - trial.started > timeLimit { kill(-trial.process, SIGKILL) }
                left.append(trial)
            } else {
                report(trial, code)
                clear(trial)
            }
        }
        running = left
    }

    private mutating func report(_ trial: Running, _ code: Int32) {
        let text = String(decoding: contents(ofFile: trial.folder + ".log"), as: UTF8.self)
            .split(separator: "\n").joined(separator: "\n")
        let time = tenths(now() - trial.started)
        switch code {
        case 0:
            counts.passed += 1
            print("ok   \(trial.recipe.name): \(text), \(time) s")
        case 3:
            counts.skipped += 1
            print("skip \(trial.recipe.name): \(text)")
        default:
            counts.failed += 1
            let how = code > 128 ? " (signal \(code - 128))" : ""
            print("FAIL \(trial.recipe.name)\(how), \(time) s: \(text)")
        }
        fflush(nil)
    }

    private func clear(_ trial: Running) {
        guard !keeps else { return }
        Workbench(trial.folder).clear()
        unsafe unlink(trial.folder + ".log")
    }

    /// A signal came: nothing may stay mounted.
    private mutating func stop() -> Int32 {
        for trial in running {
            kill(-trial.process, SIGKILL)
            _ = linux_wait(trial.process, 1)
            clear(trial)
        }
        unsafe rmdir(base)
        print("ext4-matrix: stopped by signal \(linux_caught_signal())")
        return 128 + linux_caught_signal()
    }

    private func now() -> Double {
        var time = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    private func tenths(_ seconds: Double) -> String {
        let whole = Int((seconds * 10).rounded())
        return "\(whole / 10).\(whole % 10)"
    }
}
