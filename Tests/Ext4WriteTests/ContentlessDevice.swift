import Foundation

@testable import Ext4

// `SEEK_DATA` and `SEEK_HOLE` of Linux, which the Swift module leaves out.
private let seekData: Int32 = 3
private let seekHole: Int32 = 4

/// A device that has metadata only: what is written in pieces that begin with a mark is dropped.
final class ContentlessDevice: BlockDevice {
    static let mark: UInt64 = 0x0DA7_A0DA_7A0D_A7A0

    private let pages: Guarded<[UInt64: [UInt8]]>
    let byteCount: UInt64
    let isReadOnly = false
    private static let page: UInt64 = 4096

    /// Takes over the parts of an image file that are no holes.
    init(path: String) throws {
        let descriptor = unsafe open(path, O_RDONLY)
        guard descriptor >= 0 else { throw Failed(description: "open \(path)") }
        defer { close(descriptor) }
        byteCount = UInt64(lseek(descriptor, 0, SEEK_END))
        var pages: [UInt64: [UInt8]] = [:]
        var position = lseek(descriptor, 0, seekData)
        while position >= 0 {
            let end = lseek(descriptor, position, seekHole)
            for start in stride(from: position / 4096 * 4096, to: end, by: 4096) {
                var bytes = [UInt8](repeating: 0, count: 4096)
                _ = unsafe pread(descriptor, &bytes, 4096, start)
                pages[UInt64(start) / Self.page] = bytes
            }
            position = lseek(descriptor, end, seekData)
        }
        self.pages = Guarded(pages)
    }

    func read(at byteOffset: UInt64, into bytes: inout MutableRawSpan) throws(Ext4Error) {
        try checkBounds(.read, at: byteOffset, count: bytes.byteCount)
        var done = 0
        while done < bytes.byteCount {
            let position = byteOffset + UInt64(done)
            let within = Int(position % Self.page)
            let count = min(bytes.byteCount - done, Int(Self.page) - within)
            var part = bytes._mutatingExtracting(done..<done + count)
            if let page = pages.withLock({ $0[position / Self.page] }) {
                part.copy(from: unsafe page.span.bytes.extracting(within..<within + count))
            } else {
                part.clear()
            }
            done += count
        }
    }

    func write(_ bytes: RawSpan, at byteOffset: UInt64) throws(Ext4Error) {
        try checkBounds(.write, at: byteOffset, count: bytes.byteCount)
        if bytes.byteCount >= 8,
            unsafe bytes.unsafeLoadUnaligned(as: UInt64.self) == Self.mark
        {
            return
        }
        var done = 0
        while done < bytes.byteCount {
            let position = byteOffset + UInt64(done)
            let within = Int(position % Self.page)
            let count = min(bytes.byteCount - done, Int(Self.page) - within)
            let part = bytes.extracting(done..<done + count).copy()
            pages.withLock { pages in
                var page =
                    pages[position / Self.page]
                    ?? [UInt8](repeating: 0, count: Int(Self.page))
                page.replaceSubrange(within..<within + count, with: part)
                pages[position / Self.page] = page
            }
            done += count
        }
    }

    func flush() throws(Ext4Error) {}

    func save(to path: String) throws {
        let descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        guard descriptor >= 0 else { throw Failed(description: "create \(path)") }
        defer { close(descriptor) }
        ftruncate(descriptor, off_t(byteCount))
        for (number, bytes) in pages.withLock({ $0 }) {
            _ = unsafe pwrite(descriptor, bytes, bytes.count, off_t(number * Self.page))
        }
    }
}
