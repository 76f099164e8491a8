internal import Glibc

// Going to the background, with the caller told how it went.
//
// The process forks before it has any thread, and the child does everything: so a lock, a thread
// or a descriptor never has to survive a fork. The parent waits for one byte from the child, its
// exit status. Until then the child has the caller's terminal and writes its own errors there.

/// A process in the background whose parent still waits for news.
public struct Background {
    private let pipe: Int32

    /// Forks, and returns in the child. The parent leaves with the status that the child reports.
    ///
    /// Must be called while the process has one thread.
    public static func detach() throws(MountFailure) -> Background {
        var ends: [Int32] = [-1, -1]
        guard unsafe Glibc.pipe(&ends) == 0 else {
            throw MountFailure("no pipe: \(String(systemError: errno))")
        }
        fflush(nil)
        let child = fork()
        guard child >= 0 else {
            throw MountFailure("no process: \(String(systemError: errno))")
        }
        guard child == 0 else {
            close(ends[1])
            _exit(waitForReport(of: child, from: ends[0]))
        }
        // A descriptor that the caller passed on unknowingly, say the end of a pipe that somebody
        // reads to its end, must not stay open for as long as the volume is mounted.
        let kept = STDERR_FILENO + 1
        if ends[1] != kept { dup2(ends[1], kept) }
        closefrom(kept + 1)
        _ = fcntl(kept, F_SETFD, FD_CLOEXEC)
        setsid()
        return Background(pipe: kept)
    }

    /// Tells the parent that all went well, and leaves the terminal alone from now on.
    public func reportReady() {
        _ = unsafe chdir("/")
        let null = unsafe open("/dev/null", O_RDWR)
        if null >= 0 {
            for standard in Int32(0)...2 { dup2(null, standard) }
            if null > 2 { close(null) }
        }
        Self.send(0, to: pipe)
    }

    private static func send(_ status: UInt8, to pipe: Int32) {
        var status = status
        _ = unsafe write(pipe, &status, 1)
        close(pipe)
    }

    /// The child's status: what it wrote, or how it ended without a word.
    private static func waitForReport(of child: pid_t, from pipe: Int32) -> Int32 {
        var status: UInt8 = 1
        var count = 0
        repeat { count = unsafe read(pipe, &status, 1) } while count < 0 && errno == EINTR
        guard count != 1 else { return Int32(status) }
        var ending: Int32 = 0
        while unsafe waitpid(child, &ending, 0) < 0, errno == EINTR {}
        let signal = ending & 0x7f
        return signal == 0 ? (ending >> 8) & 0xff : 128 + signal
    }
}
