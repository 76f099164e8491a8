#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// Zeros, of which only those pages take memory that something was written to: the maps of a
/// volume that is mostly empty cost what is in use and not what is there.
@safe
final class ZeroedMemory: @unchecked Sendable {
    let byteCount: Int
    private let start: UnsafeMutableRawPointer

    /// Makes `byteCount` zero bytes; nil when the system has no room for them.
    init?(byteCount: Int) {
        guard let memory = unsafe calloc(max(byteCount, 1), 1) else { return nil }
        unsafe start = memory
        self.byteCount = byteCount
    }

    deinit { unsafe free(start) }

    /// The memory as values of a type for which zero bits are a value.
    func bound<Value: ~Copyable>(to type: Value.Type) -> UnsafeMutablePointer<Value> {
        unsafe start.assumingMemoryBound(to: Value.self)
    }
}
