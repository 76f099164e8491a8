import CHostTree
import Ext4Verify
import Glibc
import Synchronization

/// Kills the process behind a mount, or the power, at random moments under writers, and holds what
/// the next mount shows against what they were told is durable.
@main
struct Soak {
    private static let usage = """
        usage: ext4-soak COMMAND [--kills N] [--cuts N] [--recorder LIBRARY] [--seed N]

          COMMAND             the command `ext4`
          --kills N           so often the process behind the mount is killed (20)
          --cuts N            so often the power fails (20)
          --recorder LIBRARY  what notes the writes of that process, for --cuts

        Writers append, make, replace, overwrite, move and remove, and keep a ledger of every
        fsync that succeeded. After each failure the volume is mounted again (now and then killed
        while it recovers), the ledger is compared, and e2fsck -fn must find nothing. Needs root.
        """

    static func main() {
        var kills = 20
        var cuts = 20
        var chosen: UInt64?
        var recorder: String?
        var command: String?
        var rest = CommandLine.arguments.dropFirst()
        while let argument = rest.popFirst() {
            switch argument {
            case "--kills": kills = rest.popFirst().flatMap { Int($0) } ?? -1
            case "--cuts": cuts = rest.popFirst().flatMap { Int($0) } ?? -1
            case "--seed": chosen = rest.popFirst().flatMap { UInt64($0) }
            case "--recorder": recorder = rest.popFirst()
            default: command = argument
            }
        }
        guard let command, kills >= 0, cuts >= 0, cuts == 0 || recorder != nil else {
            print(usage)
            exit(2)
        }
        guard geteuid() == 0, unsafe access("/dev/fuse", R_OK | W_OK) == 0 else {
            print("ext4-soak: needs root and /dev/fuse")
            print("0 passed, 0 failed, 2 skipped")
            return
        }
        linux_catch_signals()
        var status: Int32 = 0
        let seed = chosen ?? UInt64(getpid())
        var passed = 0
        for (name, count, library) in [("kills", kills, nil), ("power failures", cuts, recorder)]
        where count > 0 {
            var hasFailed = false
            var series = Series(command, recorder: library, seed: seed)
            do throws(Failure) {
                let start = secondsNow()
                try series.run(count)
                passed += 1
                print("\(count) \(name) in \(Int(secondsNow() - start)) s: \(series.summary)")
            } catch {
                status = 1
                hasFailed = true
                print("FAIL \(name), seed \(seed), \(series.place): \(error)")
            }
            series.clear(keeping: hasFailed)
            if linux_caught_signal() != 0 { break }
        }
        print("\(passed) passed, \(status) failed")
        exit(status)
    }
}
