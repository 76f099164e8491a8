internal import Glibc
internal import Synchronization

/// Ctrl-C and SIGTERM while a volume is open for writing: the command ends between two changes and
/// closes the volume. The second one ends the process where it is.
enum Interruption {
    private static let received = Atomic<Int32>(0)

    /// The signal that came.
    static var signal: Int32? {
        let value = received.load(ordering: .relaxed)
        return value == 0 ? nil : value
    }

    /// Whether one came.
    static var isThere: Bool { signal != nil }

    /// From now on signals are noted. System calls that wait are broken off by them.
    static func watch() {
        // What a handler uses must be there before: it is made at its first use.
        _ = signal
        for number in [SIGINT, SIGTERM] {
            var action = sigaction()
            unsafe action.__sigaction_handler.sa_handler = { number in
                Interruption.received.store(number, ordering: .relaxed)
            }
            action.sa_flags = Int32(truncatingIfNeeded: SA_RESETHAND)
            _ = unsafe sigaction(number, &action, nil)
        }
    }
}
